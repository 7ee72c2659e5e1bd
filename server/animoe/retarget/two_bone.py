"""Two-bone inverse kinematics on whole batches: a limb's end moves to a target, its bend stays in its own plane.

The bend angle at the middle joint follows from the law of cosines; then the whole limb swings by the shortest turn. A
limb that was bent forwards stays bent forwards, and one that was straight bends about its hinge.
"""

from __future__ import annotations

import numpy as np

from animoe.retarget.quadratic import fast_multiply, fast_rotate
from animoe.rig.rotations import Array

STRAIGHT = 0.998
"""Share of its length beyond which a limb is not stretched unless its source already was."""
_BENT = 0.02  # sine of the bend below which the plane of a limb is taken from its hinge


def bend_to(
    upper: Array, lower: Array, bones: Array, hinges: Array, source: Array, target: Array
) -> tuple[Array, Array, Array]:
    """New model rotations of upper and lower bone.

    Args:
        upper, lower: (..., 4) model rotations of the first and second joint of the limb (hip and knee).
        bones: (..., 2, 3) both bones in the model pose now.
        hinges: (..., 3) unit axes, in the model pose, about which the middle joint bends further.
        source: (..., 3) from the limb's start to its end now. target: (..., 3) to where it shall be.

    Returns:
        upper and lower rotations (..., 4), and (...,) how far the end stays from the target, in the bones' unit.
    """
    first, second = bones[..., 0, :], bones[..., 1, :]
    a, b = _length(first), _length(second)
    now, wanted = _length(source), _length(target)
    reach = np.maximum(now, STRAIGHT * (a + b))
    reached = np.minimum(np.maximum(wanted, np.abs(a - b) + 1e-6), reach)
    products = _cross_and_dot(first, second)
    normal = products[..., :3]
    area, size = _length(normal), np.maximum(a * b, 1e-12)
    sine = area / size
    axis = np.where((sine > _BENT)[..., None], normal / np.maximum(area, 1e-12)[..., None], hinges)
    cosine = (reached**2 - a**2 - b**2) / (2 * size)
    bend = np.arccos(np.minimum(np.maximum(cosine, -1.0), 1.0)) - np.arctan2(area, products[..., 3])
    turn = _about(axis, bend)
    end = first + fast_rotate(turn, second)
    swing = _between(end, target)
    return fast_multiply(swing, upper), fast_multiply(swing, fast_multiply(turn, lower)), np.abs(wanted - reached)


def conjugate(q: Array) -> Array:
    """Inverse of unit quaternions (..., 4)."""
    result: Array = q * np.array([-1.0, -1.0, -1.0, 1.0])
    return result


def _about(axis: Array, angle: Array) -> Array:
    half = angle[..., None] / 2
    return np.concatenate([axis * np.sin(half), np.cos(half)], axis=-1)


def _between(a: Array, b: Array) -> Array:
    """Shortest turns from a to b (..., 3) of any length; none where they are opposite or of no length."""
    scale = np.sqrt(_dot(a, a) * _dot(b, b))
    q = _cross_and_dot(a, b)
    q[..., 3] += scale * (1 + 1e-12) + 1e-30
    result: Array = q / np.sqrt(_dot(q, q))[..., None]
    return result


_PRODUCTS = np.zeros((3, 3, 4))
for _i, _j, _k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    _PRODUCTS[_i, _j, _k], _PRODUCTS[_j, _i, _k], _PRODUCTS[_i, _i, 3] = 1.0, -1.0, 1.0
_CROSS_AND_DOT: Array = _PRODUCTS.reshape(9, 4)


def _cross_and_dot(a: Array, b: Array) -> Array:
    """(..., 4) cross product and dot product of (..., 3) in one matrix product: calls cost more than arithmetic."""
    outer = (a[..., :, None] * b[..., None, :]).reshape(*a.shape[:-1], 9)
    result: Array = outer @ _CROSS_AND_DOT
    return result


def _dot(a: Array, b: Array) -> Array:
    result: Array = np.einsum("...i,...i->...", a, b)
    return result


def _length(v: Array) -> Array:
    result: Array = np.sqrt(np.einsum("...i,...i->...", v, v))
    return result
