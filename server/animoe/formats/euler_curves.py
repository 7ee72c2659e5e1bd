"""Euler angles over time without jumps, for formats that interpolate each angle by itself (BVH, FBX).

A rotation has two Tait-Bryan triples, (a, b, c) and (a + 180, 180 - b, c + 180) degrees, each plus full turns.
A joint whose middle angle stays clear of 90 degrees keeps to the first; unwrapping is all it needs. The others are
followed frame by frame: whichever triple lies nearest to the frame before is taken.
"""

from __future__ import annotations

import numpy as np

from animoe.rig.rotations import Array, normalize, to_matrix

_CLEAR = np.radians(60.0)
"""A joint whose middle angle never gets past this would need 60 degrees in one frame to go through the pole."""
_POLE = 1e-7
"""Cosine of the middle angle below which first and third angle can no longer be told apart in float64."""


def continuous_euler(rotations: Array, order: str) -> Array:
    """Intrinsic Tait-Bryan angles (T, J, 3) in radians of unit quaternions (T, J, 4), continuous along T.

    Angles run on past 180 degrees. At the pole, where only the sum or the difference of the outer angles counts, the
    third keeps its value of the frame before.

    Args:
        rotations: (T, J, 4) xyzw.
        order: three different axes, as in "ZXY".

    Source: the two solutions follow from R(a)R(b)R(c) by pulling a half turn through the middle angle.
    """
    angles, combined, pole = _principal(normalize(np.asarray(rotations, dtype=np.float64)), order)
    winding = pole.any(axis=0) | (np.abs(angles[..., 1]).max(axis=0, initial=0.0) > _CLEAR)
    angles[:, ~winding] = np.unwrap(angles[:, ~winding], axis=0)
    if winding.any():
        _follow(angles, combined, pole, np.flatnonzero(winding), _handedness(order))
    return angles


def _handedness(order: str) -> float:
    """1 for XYZ, YZX, ZXY; -1 for the others."""
    i, j = "XYZ".index(order[0]), "XYZ".index(order[1])
    return 1.0 if (j - i) % 3 == 1 else -1.0


def _principal(q: Array, order: str) -> tuple[Array, Array, Array]:
    """Angles (T, J, 3) with the middle one in [-90, 90] degrees; the first angle at the pole if the third were zero
    (T, J); whether it is at the pole (T, J)."""
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = _handedness(order)
    m = to_matrix(q)
    cosine = np.hypot(m[..., j, k], m[..., k, k])
    first = np.arctan2(-sign * m[..., j, k], m[..., k, k])
    middle = np.arctan2(sign * m[..., i, k], cosine)
    third = np.arctan2(-sign * m[..., i, j], m[..., i, i])
    combined = np.arctan2(sign * m[..., k, j], m[..., j, j])
    return np.stack([first, middle, third], axis=-1), combined, cosine < _POLE


def _follow(angles: Array, combined: Array, pole: Array, joints: Array, sign: float) -> None:
    """Rewrites the columns `joints` of `angles` (T, J, 3) so that each frame lies nearest to the one before."""
    principal, combined, pole = angles[:, joints], combined[:, joints], pole[:, joints]
    # At +90 degrees the matrix holds first + sign * third, at -90 first - sign * third.
    share = sign * np.sign(principal[..., 1])
    flipped = principal * [1.0, -1.0, 1.0] + np.pi
    before = np.where(pole[0, :, None], np.stack([combined[0], principal[0, :, 1], 0 * combined[0]], -1), principal[0])
    angles[0, joints] = before
    for frame in range(1, len(angles)):
        a = _nearest(principal[frame], before)
        b = _nearest(flipped[frame], before)
        nearer = np.abs(a - before).sum(axis=-1) <= np.abs(b - before).sum(axis=-1)
        row = np.where(nearer[:, None], a, b)
        if pole[frame].any():
            row = np.where(pole[frame, :, None], _at_pole(combined[frame], share[frame], row, before), row)
        angles[frame, joints] = before = row


def _nearest(row: Array, before: Array) -> Array:
    """Angles shifted by whole turns to within half a turn of `before`."""
    shifted: Array = row - 2 * np.pi * np.round((row - before) / (2 * np.pi))
    return shifted


def _at_pole(combined: Array, share: Array, row: Array, before: Array) -> Array:
    """(W, 3) angles at the pole with the third of the frame before."""
    first = _nearest(combined - share * before[:, 2], before[:, 0])
    return np.stack([first, row[:, 1], before[:, 2]], axis=-1)
