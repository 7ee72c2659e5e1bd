// Decoded features to poses in the world: `motion/features.py: features_to_poses`, whose layout this is.
#include <cstdint>

#include "quaternion.h"

namespace animoe {

constexpr int FEATURES = 140, JOINTS = 22, CONTACTS = 4;
constexpr int YAW_RATE = 0, VELOCITY = 1, HEIGHT = 3, TILT = 4, LOCAL = 10, CONTACT = 136;
constexpr double FRAME_S = 1.0 / 30.0;

// Mirrored in motion/native_poses.py, field by field.
struct Poses {
  int32_t characters, frames;
  const float* features;  // (characters, frames, FEATURES)
  double* roots;          // (characters, 3) yaw and place on the floor, moved on
  Quaternion* rotations;  // (characters, frames, JOINTS)
  Vector* positions;      // (characters, frames)
  double* contacts;       // (characters, frames, CONTACTS)
  double* headings;       // (characters, frames)
};

namespace {

// Of an orthonormal matrix by its columns, w >= 0: the best conditioned of four square roots (Shepperd 1978).
Quaternion from_axes(Vector x, Vector y, Vector z) {
  const double m[3][3] = {{x.x, y.x, z.x}, {x.y, y.y, z.y}, {x.z, y.z, z.z}};
  const double trace = x.x + y.y + z.z, weight[4] = {x.x, y.y, z.z, trace};
  const int choice = int(std::max_element(weight, weight + 4) - weight);
  double q[4];
  if (choice == 3) {
    q[0] = m[2][1] - m[1][2], q[1] = m[0][2] - m[2][0], q[2] = m[1][0] - m[0][1], q[3] = 1 + trace;
  } else {
    const int i = choice, j = (choice + 1) % 3, k = (choice + 2) % 3;
    q[i] = 1 - trace + 2 * m[i][i], q[j] = m[j][i] + m[i][j], q[k] = m[k][i] + m[i][k], q[3] = m[k][j] - m[j][k];
  }
  const double size = std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const double scale = (q[3] < 0 ? -1.0 : 1.0) / size;
  return {q[0] * scale, q[1] * scale, q[2] * scale, q[3] * scale};
}

// Six numbers by Gram-Schmidt (Zhou et al. 2019).
Quaternion from_6d(const float* six) {
  const Vector x = unit({six[0], six[1], six[2]}), z = unit(cross(x, {six[3], six[4], six[5]}));
  return from_axes(x, cross(z, x), z);
}

}  // namespace
}  // namespace animoe

extern "C" void animoe_pose(const void*, const animoe::Poses* poses) {
  using namespace animoe;
  for (int character = 0; character < poses->characters; ++character) {
    double* root = poses->roots + 3 * character;
    for (int frame = 0; frame < poses->frames; ++frame) {
      const int64_t row = int64_t(character) * poses->frames + frame;
      const float* from = poses->features + row * FEATURES;
      const Vector step = rotate(yaw_turn(root[0]), {from[VELOCITY], 0.0, from[VELOCITY + 1]});
      root[0] += from[YAW_RATE] * FRAME_S, root[1] += step.x * FRAME_S, root[2] += step.z * FRAME_S;
      Quaternion* turns = poses->rotations + row * JOINTS;
      turns[0] = yaw_turn(root[0]) * from_6d(from + TILT);
      for (int joint = 1; joint < JOINTS; ++joint) turns[joint] = from_6d(from + LOCAL + 6 * (joint - 1));
      poses->positions[row] = {root[1], from[HEIGHT], root[2]};
      poses->headings[row] = root[0];
      for (int i = 0; i < CONTACTS; ++i)
        poses->contacts[row * CONTACTS + i] = std::min(std::max(double(from[CONTACT + i]), 0.0), 1.0);
    }
  }
}
