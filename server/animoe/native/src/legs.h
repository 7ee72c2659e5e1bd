// Two-bone inverse kinematics: `retarget/two_bone.py`, for one limb.
#pragma once

#include "quaternion.h"

namespace animoe {

constexpr double STRAIGHT = 0.998, BENT = 0.02;

inline Quaternion about(Vector axis, double angle) {
  const double sine = std::sin(angle / 2);
  return {axis.x * sine, axis.y * sine, axis.z * sine, std::cos(angle / 2)};
}

// The shortest turn from a to b; none where they are opposite or of no length.
inline Quaternion between(Vector a, Vector b) {
  const Vector normal = cross(a, b);
  const double w = dot(a, b) + std::sqrt(dot(a, a) * dot(b, b)) * (1 + 1e-12) + 1e-30;
  const double scale = 1.0 / std::sqrt(dot(normal, normal) + w * w);
  return {normal.x * scale, normal.y * scale, normal.z * scale, w * scale};
}

// Turns upper and lower bone (first, second: as they lie in the model) so that the limb's end comes from `source` to
// `target`, both from its start. hinge: axis about which a straight limb bends.
inline void bend_to(Quaternion* upper, Quaternion* lower, Vector first, Vector second, Vector hinge, Vector source,
                    Vector target) {
  const double a = length(first), b = length(second);
  const double reach = std::max(length(source), STRAIGHT * (a + b));
  const double reached = std::min(std::max(length(target), std::fabs(a - b) + 1e-6), reach);
  const Vector normal = cross(first, second);
  const double area = length(normal), size = std::max(a * b, 1e-12);
  const Vector axis = area / size > BENT ? normal * (1.0 / std::max(area, 1e-12)) : hinge;
  const double cosine = (reached * reached - a * a - b * b) / (2 * size);
  const double bend = std::acos(std::min(std::max(cosine, -1.0), 1.0)) - std::atan2(area, dot(first, second));
  const Quaternion turn = about(axis, bend), swing = between(first + rotate(turn, second), target);
  *upper = swing * *upper;
  *lower = swing * (turn * *lower);
}

}  // namespace animoe
