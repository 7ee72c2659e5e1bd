// Unit quaternions (x, y, z, w) and vectors, as `rig/rotations.py` and `retarget/quadratic.py` have them.
#pragma once

#include <algorithm>
#include <cmath>

namespace animoe {

struct Vector {
  double x, y, z;
};

inline Vector operator+(Vector a, Vector b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vector operator-(Vector a, Vector b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vector operator*(Vector a, double s) { return {a.x * s, a.y * s, a.z * s}; }
inline double dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline double length(Vector a) { return std::sqrt(dot(a, a)); }
inline Vector cross(Vector a, Vector b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
inline Vector unit(Vector a) { return a * (1.0 / std::max(length(a), 1e-12)); }

struct Quaternion {
  double x, y, z, w;
};

constexpr Quaternion NO_TURN{0.0, 0.0, 0.0, 1.0};

// The turn by b first, then a.
inline Quaternion operator*(Quaternion a, Quaternion b) {
  return {a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y, a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
          a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w, a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z};
}
inline Quaternion conjugate(Quaternion q) { return {-q.x, -q.y, -q.z, q.w}; }
inline Quaternion yaw_turn(double angle) { return {0.0, std::sin(angle / 2), 0.0, std::cos(angle / 2)}; }

inline Vector rotate(Quaternion q, Vector v) {
  const Vector u{q.x, q.y, q.z};
  return v * (q.w * q.w - dot(u, u)) + u * (2 * dot(u, v)) + cross(u, v) * (2 * q.w);
}

// To a power, along the shorter arc: -1 inverts, 0.5 halves.
inline Quaternion power(Quaternion q, double exponent) {
  const double sign = q.w < 0 ? -1.0 : 1.0;
  const double sine = std::sqrt(q.x * q.x + q.y * q.y + q.z * q.z);
  const double half = std::atan2(sine, sign * q.w) * exponent;
  const double scale = sign * (sine > 1e-9 ? std::sin(half) / sine : exponent);  // small turns need no axis
  return {q.x * scale, q.y * scale, q.z * scale, std::cos(half)};
}

// A (3, 3) or (4, 4) matrix, row by row, times a column.
inline Vector apply(const double* m, Vector v) {
  return {m[0] * v.x + m[1] * v.y + m[2] * v.z, m[3] * v.x + m[4] * v.y + m[5] * v.z,
          m[6] * v.x + m[7] * v.y + m[8] * v.z};
}
inline Quaternion apply(const double* m, Quaternion q) {
  double found[4];
  for (int i = 0; i < 4; ++i) found[i] = m[4 * i] * q.x + m[4 * i + 1] * q.y + m[4 * i + 2] * q.z + m[4 * i + 3] * q.w;
  return {found[0], found[1], found[2], found[3]};
}

}  // namespace animoe
