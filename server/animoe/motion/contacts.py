"""Foot contacts of canonical motion: a joint stands when it is low and slow."""

from __future__ import annotations

import numpy as np

from animoe.motion.pose_block import CONTACT_JOINTS
from animoe.rig.canonical import CANONICAL_JOINTS, canonical_skeleton
from animoe.rig.rotations import Array

CONTACT_INDICES = [CANONICAL_JOINTS.index(name) for name in CONTACT_JOINTS]
MAX_CLEARANCE_M = 0.06
MAX_SPEED_MPS = 0.4


def foot_contacts(world_positions: Array, frame_rate_hz: float) -> Array:
    """(T, 22, 3) canonical joint positions in the world, metres -> (T, 4) bool contacts of CONTACT_JOINTS."""
    heights = canonical_skeleton().rest_model[1][CONTACT_INDICES, 1]
    return low_and_slow(world_positions[:, CONTACT_INDICES], heights, frame_rate_hz)


def low_and_slow(feet: Array, rest_heights: Array, frame_rate_hz: float, *, size: float = 1.0) -> Array:
    """Which points stand on the floor at y = 0.

    Args:
        feet: (T, P, 3) world positions, metres.
        rest_heights: (P,) heights above the floor of points that stand, metres.
        frame_rate_hz: frames per second.
        size: of the body; an adult's is 1. Both thresholds grow with it.

    Returns:
        (T, P) bool.
    """
    low = feet[..., 1] - rest_heights < MAX_CLEARANCE_M * size
    if len(feet) < 2:
        return np.asarray(low)
    step = np.linalg.norm(np.diff(feet, axis=0), axis=-1) * frame_rate_hz
    speed = np.minimum(np.concatenate([step[:1], step]), np.concatenate([step, step[-1:]]))
    return np.asarray(low & (speed < MAX_SPEED_MPS * size))
