// Canonical motion onto one rig, frame by frame: `retarget/solver.py` and what it calls, which say why.
#include <cstdint>

#include "foot_lock.h"
#include "legs.h"

namespace animoe {

constexpr int JOINTS = 22, PELVIS = 0, SIDES = 2;
constexpr double LARGEST_DROP = 0.08, STILL_M = 1e-5, FADE = 0.2;
constexpr Vector KNEE_HINGE{1.0, 0.0, 0.0};
enum { HIP, KNEE, FOOT, LEG };  // bones of a leg begin at hip centre, hip, knee, ankle: HIP is the end of the first

// Mirrored in retarget/native.py, field by field. Matrices are row by row.
struct Rig {
  int32_t joints, driven, translated, twists;
  int32_t planted, world, root_bone;
  const int32_t *begins, *source;   // of each driven joint's factors: canonical joints
  const double* exponent;           // and the powers of their local rotations
  const int32_t* joint;             // (driven)
  const double* outer;              // (driven, 4, 4)
  const Quaternion* rest;           // (joints)
  const int32_t *twist_joint, *twist_source;
  const Vector* twist_axis;
  const double* twist_share;
  const Quaternion *twist_before, *twist_after, *twist_rest;
  const Vector *hip_centre, *arms;  // from the pelvis; from the hip centre to each translated joint, in the pelvis' space
  const double* into;               // (translated, 3, 3)
  const Vector* base;               // (translated)
  const int32_t* legs;              // (3, SIDES) canonical hip, knee, ankle
  const Vector *own_bones, *bones;  // (4, SIDES) hip centre, hip, knee, ankle, toes: canonical and the rig's
  const double* rest_heights;       // (2, SIDES, 2) of ankles and toes, canonical and the rig's
  const double* reach;              // (SIDES)
  const double *place, *heading, *root_turn, *root_place, *root_into;
  const Vector* root_rest;
  double ratio, leg_m, farthest_m, follow;
};

struct Motion {
  int32_t blocks, frames;
  const Quaternion* local;  // (blocks, frames, JOINTS)
  const Vector* root;       // (blocks, frames)
  const double *contacts, *headings;
  Stance** stances;         // (blocks), moved on; of planted rigs
  Quaternion* rotations;    // (blocks, frames, joints)
  Vector* translations;     // (blocks, frames, translated + root_bone)
  Vector* places;           // (blocks, frames)
  Quaternion* turns;        // (blocks, frames)
};

namespace {

// Model rotations of pelvis, hip, knee and ankle of both legs.
struct Turns {
  Quaternion of[4][SIDES];

  Turns(const Rig& rig, const Quaternion* local) {
    for (int side = 0; side < SIDES; ++side) {
      of[0][side] = local[PELVIS];
      for (int k = 0; k < 3; ++k) of[k + 1][side] = of[k][side] * local[rig.legs[k * SIDES + side]];
    }
  }
};

// Height of the rig's hip centre at which its feet clear the floor as the canonical ones do.
double hip_height(const Rig& rig, const Turns& turns, double canonical) {
  double lowest[2] = {1e30, 1e30};
  for (int body = 0; body < 2; ++body)
    for (int side = 0; side < SIDES; ++side) {
      const Vector* bones = body ? rig.bones : rig.own_bones;
      double height = 0.0;
      for (int k = 0; k < 4; ++k) {
        height += rotate(turns.of[k][side], bones[k * SIDES + side]).y;
        if (k >= 2) lowest[body] = std::min(lowest[body], height - rig.rest_heights[((k - 2) * SIDES + side) * 2 + body]);
      }
    }
  return rig.ratio * (canonical + lowest[0]) - lowest[1];
}

// Holds standing feet in place; returns how far the path on the floor has left the source's.
Point plant(const Rig& rig, const Turns& turns, const double* contacts, Stance* stance, Quaternion* local,
            Vector* centre) {
  Vector arm[4][SIDES], leg[SIDES], target[SIDES];
  Point offset[SIDES], sum{0.0, 0.0};
  const Point path = stance->path;
  int standing = 0;
  bool moves = path.x != 0.0 || path.z != 0.0;
  for (int side = 0; side < SIDES; ++side) {
    for (int k = 0; k < 4; ++k) arm[k][side] = rotate(turns.of[k][side], rig.bones[k * SIDES + side]);
    leg[side] = arm[KNEE][side] + arm[FOOT][side];
    const Vector ankle = *centre + arm[HIP][side] + leg[side], toes = ankle + arm[LEG][side];
    const Point place[2] = {Point{ankle.x, ankle.z} + path, Point{toes.x, toes.z} + path};
    offset[side] = stance->feet[side].advance(place, contacts + 2 * side, rig.leg_m, rig.farthest_m);
    if (int(stance->feet[side].standing) != NONE) sum = sum + offset[side], ++standing;
    moves |= std::fabs(offset[side].x) >= STILL_M || std::fabs(offset[side].z) >= STILL_M;
    target[side] = leg[side] + Vector{offset[side].x, 0.0, offset[side].z};
  }
  if (standing && rig.follow > 0.0) stance->path = path + sum * (rig.follow / standing);
  if (!moves) return path;
  double drop = 0.0;
  for (int side = 0; side < SIDES; ++side) {
    const double reach = std::max(length(leg[side]), STRAIGHT * rig.reach[side]);
    const double level = target[side].x * target[side].x + target[side].z * target[side].z;
    drop = std::max(drop, -target[side].y - std::sqrt(std::max(reach * reach - level, 0.0)));
  }
  drop = std::min(drop, LARGEST_DROP * rig.leg_m);
  *centre = *centre + Vector{path.x, -drop, path.z};
  for (int side = 0; side < SIDES; ++side) {
    target[side].y += drop;
    Quaternion thigh = turns.of[1][side], shin = turns.of[2][side];
    const Vector hinge = rotate(thigh, KNEE_HINGE);
    bend_to(&thigh, &shin, arm[KNEE][side], arm[FOOT][side], hinge, leg[side], target[side]);
    local[rig.legs[side]] = conjugate(turns.of[0][side]) * thigh;
    local[rig.legs[SIDES + side]] = conjugate(thigh) * shin;
    local[rig.legs[2 * SIDES + side]] = conjugate(shin) * turns.of[3][side];
  }
  return path;
}

// Twist joints take their share of a limb's turn about its own axis.
void twist(const Rig& rig, Quaternion* rotations) {
  for (int i = 0; i < rig.twists; ++i) {
    const Quaternion change = rig.twist_before[i] * rotations[rig.twist_source[i]] * rig.twist_after[i];
    const Vector axis = rig.twist_axis[i];
    const double along = dot({change.x, change.y, change.z}, axis);
    const double certainty = along * along + change.w * change.w;
    const double scale = 1.0 / std::sqrt(std::max(certainty, 1e-12));
    const Vector turned = axis * (along * scale);
    const double share = rig.twist_share[i] * std::min(certainty / FADE, 1.0);
    rotations[rig.twist_joint[i]] =
        power({turned.x, turned.y, turned.z, change.w * scale}, share) * rig.twist_rest[i];
  }
}

void turn_joints(const Rig& rig, const Quaternion* local, Quaternion* rotations) {
  std::copy(rig.rest, rig.rest + rig.joints, rotations);
  for (int row = 0; row < rig.driven; ++row) {
    Quaternion turn = NO_TURN;
    for (int i = rig.begins[row]; i < rig.begins[row + 1]; ++i) {
      const Quaternion factor = local[rig.source[i]];
      turn = turn * (rig.exponent[i] == 1.0 ? factor : power(factor, rig.exponent[i]));
    }
    rotations[rig.joint[row]] = apply(rig.outer + 16 * row, turn);
  }
  twist(rig, rotations);
}

void put_frame(const Rig& rig, const Motion& m, int64_t row, Stance* stance) {
  Quaternion local[JOINTS];
  std::copy(m.local + row * JOINTS, m.local + (row + 1) * JOINTS, local);
  const Turns turns(rig, local);
  const Vector hips = m.root[row] + rotate(local[PELVIS], *rig.hip_centre);
  Vector centre = hips * rig.ratio;
  centre.y = hip_height(rig, turns, hips.y);
  Vector way{m.root[row].x * rig.ratio, 0.0, m.root[row].z * rig.ratio};
  if (rig.planted) {
    const Point path = plant(rig, turns, m.contacts + 4 * row, stance, local, &centre);
    way = way + Vector{path.x, 0.0, path.z};
  }
  const Quaternion yaw = yaw_turn(m.headings[row]);
  if (!rig.world) {
    local[PELVIS] = conjugate(yaw) * local[PELVIS];
    centre = rotate(conjugate(yaw), centre - way);
  }
  Quaternion* rotations = m.rotations + row * rig.joints;
  turn_joints(rig, local, rotations);
  Vector* translations = m.translations + row * (rig.translated + rig.root_bone);
  if (rig.root_bone) {
    rotations[0] = apply(rig.root_turn, yaw);
    *translations++ = apply(rig.root_place, way) + apply(rig.root_into, rotate(yaw, *rig.root_rest));
  }
  for (int k = 0; k < rig.translated; ++k)
    translations[k] = apply(rig.into + 9 * k, centre + rotate(local[PELVIS], rig.arms[k])) + rig.base[k];
  m.places[row] = apply(rig.place, way);
  m.turns[row] = apply(rig.heading, yaw);
}

}  // namespace
}  // namespace animoe

extern "C" void animoe_retarget(const animoe::Rig* rig, const animoe::Motion* motion) {
  for (int block = 0; block < motion->blocks; ++block)
    for (int frame = 0; frame < motion->frames; ++frame)
      animoe::put_frame(*rig, *motion, int64_t(block) * motion->frames + frame,
                        rig->planted ? motion->stances[block] : nullptr);
}
