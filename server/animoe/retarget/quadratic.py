"""Quaternion products as one matrix product each: what the per-frame path of the solver is made of.

A product of small arrays in numpy costs its calls, not its arithmetic. With the outer product of two
quaternions flattened to 16 numbers, every bilinear map of them (a product, a rotated constant vector) is one
matmul.
"""

from __future__ import annotations

import numpy as np

from animoe.rig.rotations import Array, inverse, multiply

_BASIS = np.eye(4)
_HAMILTON: Array = np.stack([multiply(_BASIS[i], _BASIS[j]) for i in range(4) for j in range(4)])  # (16, 4)


def fast_multiply(a: Array, b: Array) -> Array:
    """Hamilton product of (..., 4) arrays of one shape, float64."""
    product: Array = _outer(a, b) @ _HAMILTON
    return product


def squares(q: Array) -> Array:
    """(..., 4) -> (..., 16): what `rotated_constant` matrices multiply."""
    return _outer(q, q)


def _turned_axis(axis: Array) -> Array:
    """(16, 3) what `rotated_constant` gives for a unit axis, by its definition."""
    pure = np.append(axis, 0.0)
    rows = [multiply(multiply(_BASIS[i], pure), inverse(_BASIS[j]))[:3] for i in range(4) for j in range(4)]
    return np.stack(rows)


_TURNED: Array = np.stack([_turned_axis(axis) for axis in np.eye(3)], axis=-1)  # (16, 3, 3)
_MATRICES: Array = _TURNED.reshape(16, 9)
_LEFT: Array = np.stack([_HAMILTON[i::4].T for i in range(4)], axis=1)  # (4, 4, 4)
_RIGHT: Array = np.stack([_HAMILTON[4 * i : 4 * i + 4].T for i in range(4)], axis=1)


def rotated_constant(v: Array) -> Array:
    """(16, 3) matrix K for a constant vector v (3,): squares(q) @ K = v rotated by q."""
    constant: Array = _TURNED @ v
    return constant


def fast_rotate(q: Array, v: Array) -> Array:
    """Vectors (..., 3) turned by unit quaternions (..., 4) of the same shape, float64."""
    matrices = (squares(q) @ _MATRICES).reshape(*v.shape, 3)
    turned: Array = np.matmul(matrices, v[..., None])[..., 0]
    return turned


def left_matrix(q: Array) -> Array:
    """(4, 4) L with L @ p = q * p."""
    matrix: Array = _LEFT @ q
    return matrix


def right_matrix(q: Array) -> Array:
    """(4, 4) R with R @ p = p * q."""
    matrix: Array = _RIGHT @ q
    return matrix


def power(q: Array, exponents: Array) -> Array:
    """Unit quaternions (..., F, 4) to the powers (F,), along the shorter arc: -1 inverts, 0.5 halves."""
    q = np.where(q[..., 3:] < 0, -q, q)
    sin = np.sqrt(np.sum(q[..., :3] ** 2, axis=-1))
    half = np.arctan2(sin, q[..., 3]) * exponents
    # sin(x e) / sin(x) -> e as x -> 0, so small turns need no axis.
    scale = np.where(sin > 1e-9, np.sin(half) / np.maximum(sin, 1e-9), exponents)
    return np.concatenate([q[..., :3] * scale[..., None], np.cos(half)[..., None]], axis=-1)


def _outer(a: Array, b: Array) -> Array:
    product: Array = (a[..., :, None] * b[..., None, :]).reshape(*a.shape[:-1], 16)
    return product
