"""Joint limits: how far a rig's joints are turned beyond what a human body can do.

Measured on roles, so that it means the same on every rig: the turn of a canonical joint relative to one further in,
identity in the T-pose, is split into twist about the bone and swing of the bone. Swing limits are quarter ellipses
between the limits of both axes. The ranges are those of clinical tables for mobile adults with some 15 degrees added:
dancers and acrobats stay inside, a knee that bends forwards does not. Angles are for left limbs; the right are
mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.retarget.alignment import CANONICAL_INDEX
from animoe.retarget.quality_pose import BodyPose
from animoe.rig.rotations import Array, inverse, multiply

_Range = tuple[float, float]
_CERTAIN = 0.1
"""Below this cos^2(swing / 2) the bone points back along itself and twist has no meaning."""


@dataclass(frozen=True)
class Limit:
    """Range of one joint, degrees.

    Attributes:
        title: what people call the joint.
        above, role: the turn of `role` relative to `above`.
        bone: axis of the bone at rest, 0 to 2; the range of this axis is the twist's.
        x, y, z: least and largest turn about each axis (+X tilts forwards what points up, +Y turns to the left, +Z
            raises a left arm).
    """

    title: str
    above: str
    role: str
    bone: int
    x: _Range
    y: _Range
    z: _Range


_TRUNK = (
    Limit("spine", "pelvis", "spine3", 1, (-60, 110), (-75, 75), (-60, 60)),
    Limit("neck", "spine3", "head", 1, (-90, 85), (-105, 105), (-70, 70)),
)
_LEFT = (
    Limit("shoulder", "spine3", "left_shoulder", 0, (-150, 150), (-165, 95), (-130, 125)),
    Limit("elbow", "left_shoulder", "left_elbow", 0, (-150, 150), (-170, 20), (-70, 70)),
    Limit("wrist", "left_elbow", "left_wrist", 0, (-140, 140), (-70, 70), (-105, 105)),
    Limit("hip", "pelvis", "left_hip", 1, (-150, 55), (-80, 80), (-55, 95)),
    Limit("knee", "left_hip", "left_knee", 1, (-15, 170), (-60, 60), (-35, 35)),
    Limit("ankle", "left_knee", "left_ankle", 1, (-60, 80), (-65, 65), (-60, 60)),
)


def limit_excesses(pose: BodyPose) -> tuple[tuple[str, ...], Array]:
    """Degrees beyond the limits, 0 within.

    Returns:
        Names of the joints and (T, joints) figures.
    """
    names, excesses = [], []
    for limit in _TRUNK:
        names.append(limit.title)
        excesses.append(_excess(pose, limit, "left"))
    for side in ("left", "right"):
        for limit in _LEFT:
            names.append(f"{side} {limit.title}")
            excesses.append(_excess(pose, limit, side))
    return tuple(names), np.stack(excesses, axis=-1)


def _excess(pose: BodyPose, limit: Limit, side: str) -> Array:
    """(T,) degrees beyond one limit."""
    above, role = (CANONICAL_INDEX[name.replace("left", side)] for name in (limit.above, limit.role))
    turn = multiply(inverse(pose.turns[:, above]), pose.turns[:, role])
    if side == "right":
        turn = turn * np.array([1.0, -1.0, -1.0, 1.0])
    twist, certainty = _twist(turn, limit.bone)
    swing = _rotation_vector(multiply(turn, inverse(twist)))
    ranges = np.array([limit.x, limit.y, limit.z], dtype=float)
    reach = np.where(swing < 0, -ranges[:, 0], ranges[:, 1])
    reach[:, limit.bone] = np.inf
    outside = np.linalg.norm(swing / reach, axis=-1)
    size = np.linalg.norm(swing, axis=-1)
    beyond = np.where(outside > 1, size * (1 - 1 / np.maximum(outside, 1.0)), 0.0)
    angle = _rotation_vector(twist)[:, limit.bone]
    least, most = ranges[limit.bone]
    turned = np.maximum(np.maximum(least - angle, angle - most), 0.0)
    return np.maximum(beyond, np.where(certainty > _CERTAIN, turned, 0.0))


def _twist(turn: Array, axis: int) -> tuple[Array, Array]:
    """(T, 4) part of the turn about an axis, and (T,) how well it is known, 0 to 1."""
    twist = np.zeros_like(turn)
    twist[:, [axis, 3]] = turn[:, [axis, 3]]
    certainty = np.sum(twist**2, axis=-1)
    twist[certainty < 1e-12, 3] = 1.0
    return twist / np.linalg.norm(twist, axis=-1, keepdims=True), certainty


def _rotation_vector(q: Array) -> Array:
    """(T, 3) axis times angle in degrees, the shorter way."""
    q = np.where(q[:, 3:] < 0, -q, q)
    sine = np.linalg.norm(q[:, :3], axis=-1, keepdims=True)
    degrees = np.degrees(2 * np.arctan2(sine, q[:, 3:]))
    vector: Array = q[:, :3] / np.maximum(sine, 1e-12) * degrees
    return vector
