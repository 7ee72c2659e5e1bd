// Where a standing foot has to stay, frame by frame: `retarget/foot_lock.py` and `Stance` of `retarget/planting.py`, which
// say why. On the floor: x, z in metres.
#pragma once

#include <cmath>

namespace animoe {

constexpr double FRAMES_PER_S = 30.0, LANDING_PER_S = 80.0, RELEASE_PER_S = 12.0;
constexpr double ON = 0.6, OFF = 0.35, JUMP = 0.6, MAX_SPEED = 2.5, BACK = 0.03, CALM = 0.25;
constexpr int NONE = -1, ANKLE = 0, TOES = 1;

struct Point {
  double x, z;
};

inline Point operator+(Point a, Point b) { return {a.x + b.x, a.z + b.z}; }
inline Point operator-(Point a, Point b) { return {a.x - b.x, a.z - b.z}; }
inline Point operator*(Point a, double s) { return {a.x * s, a.z * s}; }
inline double length(Point a) { return std::hypot(a.x, a.z); }

// What one foot remembers: doubles only, so that Python keeps it as a row of numbers.
struct Foot {
  double standing, banned, begun;  // joint that is held, or NONE; yes or no
  Point point, offset, speed;      // where it is held; how far and how fast the foot is off its source
  Point held[2], speeds[2];        // ankle and toes as they were put out

  // What to add to the foot's place in the next frame, in which its source has ankle and toes at `place`.
  Point advance(const Point* place, const double* contact, double leg, double farthest) {
    if (begun == 0.0 || length(place[ANKLE] - held[ANKLE] + offset) > JUMP * leg) {
      *this = Foot{NONE, 0.0, 1.0, {}, {}, {}, {place[ANKLE], place[TOES]}, {}};
    }
    if (banned != 0.0 && calmed(place[TOES], leg)) banned = 0.0;
    const int joint = wanted(contact);
    if (joint != NONE && joint != int(standing)) point = held[joint] + speeds[joint] * (1.0 / LANDING_PER_S);
    Point found;
    if (joint != NONE && hold(held[joint], place[joint], leg, farthest, &found)) {
      standing = joint;
    } else {
      standing = NONE;
      found = back();
    }
    for (int i = 0; i < 2; ++i) {
      speeds[i] = (place[i] + found - held[i]) * FRAMES_PER_S;
      held[i] = place[i] + found;
    }
    offset = found;
    return found;
  }

 private:
  bool calmed(Point toes, double leg) const {
    return length(offset) < BACK * leg && length(toes - held[TOES] + offset) < CALM * leg / FRAMES_PER_S;
  }

  int wanted(const double* contact) {
    const double limit = int(standing) == NONE ? ON : OFF;
    const int joint = contact[TOES] > limit ? TOES : contact[ANKLE] > limit ? ANKLE : NONE;
    if (joint == NONE) banned = 0.0;
    return banned != 0.0 ? NONE : joint;
  }

  // False when the source went too far away.
  bool hold(Point from, Point place, double leg, double farthest, Point* found) {
    static const double landing = std::exp(-LANDING_PER_S / FRAMES_PER_S);
    *found = point + (from - point) * landing - place;
    if (length(*found) > farthest) {
      banned = 1.0;
      return false;
    }
    const double limit = MAX_SPEED * leg;
    const Point moved = (*found - offset) * FRAMES_PER_S;
    speed = {std::fmax(-limit, std::fmin(limit, moved.x)), std::fmax(-limit, std::fmin(limit, moved.z))};
    return true;
  }

  // The offset on its way to zero, critically damped.
  Point back() {
    static const double free = std::exp(-RELEASE_PER_S / FRAMES_PER_S);
    const Point pull = speed + offset * RELEASE_PER_S;
    speed = (speed - pull * (RELEASE_PER_S / FRAMES_PER_S)) * free;
    return (offset + pull * (1.0 / FRAMES_PER_S)) * free;
  }
};

// The feet of a character, and how far its body has left the source's path to stay over them.
struct Stance {
  Foot feet[2];
  Point path;
};

}  // namespace animoe
