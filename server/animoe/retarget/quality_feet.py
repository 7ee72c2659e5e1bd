"""Feet on the floor: how fast those that stand slide, and how deep anything is below the floor."""

from __future__ import annotations

import numpy as np

from animoe.motion.contacts import low_and_slow
from animoe.retarget.quality_pose import FEET, BodyPose
from animoe.rig.rotations import Array

_PLANAR = [0, 2]


def detected_contacts(pose: BodyPose) -> Array:
    """(T, 4) bool: which of FEET stand because they are low and slow, for the rig's size."""
    return low_and_slow(pose.feet, pose.foot_heights, pose.frame_rate_hz, size=pose.size)


def foot_speeds(feet: Array, standing: Array, frame_rate_hz: float, *, scale: float) -> tuple[tuple[str, ...], Array]:
    """Speed along the floor of feet that stand.

    A foot slides as fast as the slower of its standing joints: one that rolls over its toes does not slide.

    Args:
        feet: (T, 4, 3) world positions of FEET, metres.
        standing: (T, 4) bool, per FEET.
        frame_rate_hz: frames per second.
        scale: figures per metre and second.

    Returns:
        Names of both feet and (T, 2) figures; NaN unless a joint of the foot stands in this frame and the one before.
    """
    speeds = np.full(standing.shape, np.inf)
    steps = np.linalg.norm(np.diff(feet[..., _PLANAR], axis=0), axis=-1) * frame_rate_hz * scale
    speeds[1:] = np.where(standing[1:] & standing[:-1], steps, np.inf)
    slowest = speeds.reshape(-1, 2, 2).min(axis=-1)
    return ("left foot", "right foot"), np.where(np.isinf(slowest), np.nan, slowest)


def floor_depths(pose: BodyPose, *, scale: float) -> tuple[tuple[str, ...], Array]:
    """Depth below y = 0 of soles (heel and ball of each foot) and of every joint with a role; 0 above it.

    Args:
        pose: T frames.
        scale: figures per metre.

    Returns:
        Names of the points and (T, points) figures.
    """
    names = [role.replace("ankle", "heel").replace("foot", "ball").replace("_", " ") for role in FEET]
    others = [role for role in pose.joints if role not in FEET]
    points = np.concatenate([pose.soles, pose.positions[:, [pose.joints[role] for role in others]]], axis=1)
    names += [role.replace("_", " ") for role in others]
    return tuple(names), np.maximum(-points[..., 1], 0.0) * scale
