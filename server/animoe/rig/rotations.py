"""Vectorised rotations: unit quaternions (x, y, z, w), 3x3 matrices, 6D, Euler angles in radians.

Every function takes arrays with any leading shape and broadcasts. Matrices act on column vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

IDENTITY: Array = np.array([0.0, 0.0, 0.0, 1.0])
_AXES = {"X": 0, "Y": 1, "Z": 2}


def normalize(q: ArrayLike) -> Array:
    """Scales quaternions (..., 4) to unit length; a zero quaternion becomes the identity."""
    q = np.asarray(q)
    q = q.astype(np.result_type(q, np.float32), copy=False)
    norm = np.linalg.norm(q, axis=-1, keepdims=True)
    safe: Array = np.where(norm > 1e-12, q / np.maximum(norm, 1e-12), IDENTITY.astype(q.dtype))
    return safe


def multiply(a: Array, b: Array) -> Array:
    """Hamilton product a*b (..., 4): the rotation that applies b first, then a."""
    ax, ay, az, aw = np.moveaxis(a, -1, 0)
    bx, by, bz, bw = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        axis=-1,
    )


def inverse(q: Array) -> Array:
    """Inverse of unit quaternions (..., 4): negates x, y, z."""
    conjugate: Array = q * np.array([-1.0, -1.0, -1.0, 1.0], dtype=q.dtype)
    return conjugate


def rotate(q: Array, v: Array) -> Array:
    """Rotates vectors v (..., 3) by unit quaternions q (..., 4)."""
    xyz, w = q[..., :3], q[..., 3:]
    t = 2.0 * np.cross(xyz, v)
    rotated: Array = v + w * t + np.cross(xyz, t)
    return rotated


def to_matrix(q: Array) -> Array:
    """Unit quaternions (..., 4) -> rotation matrices (..., 3, 3)."""
    x, y, z, w = np.moveaxis(q, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def from_matrix(m: Array) -> Array:
    """Rotation matrices (..., 3, 3) -> unit quaternions (..., 4), w >= 0.

    Picks the best conditioned of the four square roots (Shepperd 1978), so it is stable at 180 degrees.
    """
    d = np.stack([m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]], axis=-1)
    trace = d.sum(-1)
    choice = np.argmax(np.concatenate([d, trace[..., None]], axis=-1), axis=-1)
    q = np.empty((*m.shape[:-2], 4), dtype=m.dtype)
    for c in range(4):
        at = choice == c
        n = m[at]
        if not len(n):
            continue
        if c == 3:
            parts = [n[:, 2, 1] - n[:, 1, 2], n[:, 0, 2] - n[:, 2, 0], n[:, 1, 0] - n[:, 0, 1], 1 + trace[at]]
        else:
            i, j, k = c, (c + 1) % 3, (c + 2) % 3
            parts = [np.empty(len(n))] * 4
            parts[i] = 1 - trace[at] + 2 * n[:, i, i]
            parts[j] = n[:, j, i] + n[:, i, j]
            parts[k] = n[:, k, i] + n[:, i, k]
            parts[3] = n[:, k, j] - n[:, j, k]
        q[at] = np.stack(parts, axis=-1)
    q = normalize(q)
    return np.where(q[..., 3:] < 0, -q, q)


def to_6d(q: Array) -> Array:
    """Unit quaternions (..., 4) -> first two matrix columns (..., 6) (Zhou et al. 2019, arXiv 1812.07035)."""
    m = to_matrix(q)
    return np.concatenate([m[..., :, 0], m[..., :, 1]], axis=-1)


def from_6d(r: Array) -> Array:
    """6D rotations (..., 6), not necessarily orthonormal, -> unit quaternions (..., 4) by Gram-Schmidt."""
    x = _unit(r[..., :3])
    z = _unit(np.cross(x, r[..., 3:]))
    return from_matrix(np.stack([x, np.cross(z, x), z], axis=-1))


def from_axis_angle(axis: ArrayLike, angle: ArrayLike) -> Array:
    """Axes (..., 3), need not be unit, and angles (...) in radians -> quaternions (..., 4)."""
    unit = _unit(np.asarray(axis, dtype=np.float64))
    half = np.asarray(angle, dtype=np.float64)[..., None] / 2
    sin, cos = np.broadcast_arrays(np.sin(half) * unit, np.cos(half))
    return np.concatenate([sin, cos[..., :1]], axis=-1)


def from_yaw(angle: ArrayLike) -> Array:
    """Rotations about +Y by angles (...) in radians -> quaternions (..., 4)."""
    half = np.asarray(angle) / 2
    zero = np.zeros_like(half)
    return np.stack([zero, np.sin(half), zero, np.cos(half)], axis=-1)


def from_euler(angles: Array, order: str) -> Array:
    """Intrinsic Euler angles (..., len(order)) in radians, applied left to right as BVH lists them."""
    if len(order) == 3 and len(set(order)) == 3:
        return _from_three_axes(angles, *(_AXES[axis] for axis in order))
    q = np.broadcast_to(IDENTITY, (*angles.shape[:-1], 4))
    for column, axis in enumerate(order):
        q = multiply(q, from_axis_angle(np.eye(3)[_AXES[axis]], angles[..., column]))
    return q


def _from_three_axes(angles: Array, i: int, j: int, k: int) -> Array:
    """The product of turns about three different axes, multiplied out: four times as fast as doing it in steps."""
    half = np.moveaxis(np.asarray(angles, dtype=np.float64), -1, 0) / 2
    (si, sj, sk), (ci, cj, ck) = np.sin(half), np.cos(half)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    q = np.empty((*half.shape[1:], 4))
    q[..., i] = si * cj * ck + sign * ci * sj * sk
    q[..., j] = ci * sj * ck - sign * si * cj * sk
    q[..., k] = ci * cj * sk + sign * si * sj * ck
    q[..., 3] = ci * cj * ck - sign * si * sj * sk
    return q


def to_euler(q: Array, order: str) -> Array:
    """Quaternions (..., 4) -> intrinsic Euler angles (..., 3) in radians for a Tait-Bryan order such as "ZXY".

    The middle angle lies in [-pi/2, pi/2]. At the pole the third angle is 0.
    """
    i, j, k = (_AXES[a] for a in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    m = to_matrix(q)
    sin_middle = np.clip(sign * m[..., i, k], -1.0, 1.0)
    middle = np.arcsin(sin_middle)
    pole = np.abs(sin_middle) > 1 - 1e-9
    first = np.where(
        pole, np.arctan2(sign * m[..., k, j], m[..., j, j]), np.arctan2(-sign * m[..., j, k], m[..., k, k])
    )
    third = np.where(pole, 0.0, np.arctan2(-sign * m[..., i, j], m[..., i, i]))
    return np.stack([first, middle, third], axis=-1)


def between(a: Array, b: Array) -> Array:
    """The shortest rotation that takes direction a (..., 3) to direction b (..., 3).

    For opposite directions the axis is any normal of a.
    """
    a, b = _unit(a), _unit(b)
    dot = np.sum(a * b, axis=-1, keepdims=True)
    normal = np.cross(a, np.where(np.abs(a[..., :1]) < 0.9, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]))
    q = np.concatenate([np.cross(a, b), 1 + dot], axis=-1)
    opposite = np.concatenate([_unit(normal), np.zeros_like(dot)], axis=-1)
    return normalize(np.where(dot < -1 + 1e-9, opposite, q))


def slerp(a: Array, b: Array, t: ArrayLike) -> Array:
    """Spherical interpolation from a to b (..., 4) along the shorter arc; t (...) in [0, 1]."""
    t = np.asarray(t)[..., None]
    dot = np.sum(a * b, axis=-1, keepdims=True)
    b = np.where(dot < 0, -b, b)
    theta = np.arccos(np.clip(np.abs(dot), 0.0, 1.0))
    sin = np.sin(theta)
    near = sin < 1e-6
    safe = np.where(near, 1.0, sin)
    wa = np.where(near, 1 - t, np.sin((1 - t) * theta) / safe)
    wb = np.where(near, t, np.sin(t * theta) / safe)
    return normalize(wa * a + wb * b)


def angle(q: Array) -> Array:
    """Rotation angle of unit quaternions (..., 4) in radians, in [0, pi]."""
    radians: Array = 2 * np.arctan2(np.linalg.norm(q[..., :3], axis=-1), np.abs(q[..., 3]))
    return radians


def unroll(q: Array) -> Array:
    """Flips signs along axis 0 so that neighbouring frames of (T, ..., 4) lie on the same half sphere."""
    dots = np.einsum("...c,...c->...", q[1:], q[:-1])
    flips = np.cumprod(np.where(dots < 0, -1.0, 1.0), axis=0)
    unrolled = q.copy()
    unrolled[1:] *= flips[..., None].astype(q.dtype)
    return unrolled


def _unit(v: Array) -> Array:
    unit: Array = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
    return unit
