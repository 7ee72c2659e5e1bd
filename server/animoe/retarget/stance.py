"""Canonical motion on its floor: where the floor is, nothing below it, and feet that stand as still as the rig's own.

Legs of other proportions put the canonical feet elsewhere than the rig's: with the pelvis on the rig's scaled path they
would slide under a walking person. So the path is corrected while a foot stands: the pelvis moves on by what the foot
moves too much. Rotations stay as they are. Metres, world space, Y up.
"""

from __future__ import annotations

import numpy as np

from animoe.motion.contacts import CONTACT_INDICES
from animoe.rig.canonical import CANONICAL_JOINTS, FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.rotations import Array, rotate

_FLOOR_PERCENTILE = 5.0
_PLANAR = [0, 2]
_STILL_MPS, _LOW_M = 0.6, 0.08
"""A foot carries no weight from this speed of its own, or this height above where it stands."""
_DOUBT = 0.05
"""Weight of the uncorrected path: the correction fades out with the feet's weights."""
_LIFT_FRAMES = 3
_MOST_LIFT_M = 0.1
# Flesh around joints that may lie on the floor, adult; feet have soles instead.
_FLESH_M = {"pelvis": 0.09, "spine": 0.09, "neck": 0.06, "head": 0.08, "hip": 0.08, "knee": 0.05}
_FLESH_M |= {"collar": 0.06, "shoulder": 0.06, "elbow": 0.035, "wrist": 0.03}


def body_clearance(rotations: Array, positions: Array) -> Array:
    """(T,) height over y = 0 of the lowest point of the body: soles, or the flesh of any other joint.

    Args:
        rotations, positions: (T, 22, 4) and (T, 22, 3) of the canonical joints in the world.
    """
    soles = CONTACT_INDICES
    down = -canonical_skeleton().rest_model[1][soles, 1]
    lowest = positions[:, soles, 1] + (rotate(rotations[:, soles], np.array([0.0, 1.0, 0.0])) * down[:, None])[..., 1]
    others = [i for i in range(len(CANONICAL_JOINTS)) if i not in soles]
    flesh = np.array([_FLESH_M[CANONICAL_JOINTS[i].split("_")[-1].rstrip("123")] for i in others])
    above: Array = np.minimum(lowest.min(axis=1), (positions[:, others, 1] - flesh).min(axis=1))
    return above


def floor_height(clearance: Array) -> float:
    """Height of the floor, from the (T,) lowest point of the body: a person touches it now and then."""
    return float(np.percentile(clearance, _FLOOR_PERCENTILE))


def lift(clearance: Array) -> Array:
    """(T,) smooth rise that brings a body of clearance (T,) out of the floor, up to a limit."""
    depth = np.clip(-clearance, 0.0, _MOST_LIFT_M)
    window = 2 * _LIFT_FRAMES + 1
    # The largest depth near a frame, then a mean over as many frames: nowhere less than the depth itself.
    around = np.lib.stride_tricks.sliding_window_view(np.pad(depth, 2 * _LIFT_FRAMES, mode="edge"), window)
    return np.convolve(around.max(axis=-1), np.full(window, 1 / window), "valid")


def stance_path(feet: Array, own_feet: Array, heights: Array) -> Array:
    """How the path of the pelvis must change so that standing feet move as the rig's own do.

    Args:
        feet: (T, P, 3) canonical foot joints on the floor y = 0.
        own_feet: (T, P, 3) the rig's joints for them, in canonical size; their height does not matter.
        heights: (P,) of the foot joints when they stand.

    Returns:
        (T, 3) offsets along the floor, 0 in the first frame.
    """
    path = np.zeros((len(feet), 3))
    if len(feet) < 2:
        return path
    own, ours = (np.diff(points[..., _PLANAR], axis=0) * FRAME_RATE_HZ for points in (own_feet, feet))
    clearance = np.maximum(feet[1:, :, 1], feet[:-1, :, 1]) - heights
    still = np.clip(1 - np.linalg.norm(own, axis=-1) / _STILL_MPS, 0.0, 1.0) ** 2
    weights = (still * np.clip(1 - clearance / _LOW_M, 0.0, 1.0))[..., None]
    velocity = (weights * (own - ours)).sum(axis=1) / (weights.sum(axis=1) + _DOUBT)
    velocity = np.pad(velocity, ((1, 1), (0, 0)), mode="edge")
    velocity = (velocity[:-2] + 2 * velocity[1:-1] + velocity[2:]) / 4
    path[1:, _PLANAR] = np.cumsum(velocity, axis=0) / FRAME_RATE_HZ
    return path
