"""What is measured on a canonical clip, real or generated alike. World space, metres, seconds, floor at y = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.motion.clip import Clip
from animoe.motion.contacts import CONTACT_INDICES, foot_contacts
from animoe.motion.features import heading
from animoe.rig.canonical import CANONICAL_JOINTS
from animoe.rig.rotations import Array

_PLANAR = [0, 2]
_HEAD = CANONICAL_JOINTS.index("head")
_WRISTS = [CANONICAL_JOINTS.index("left_wrist"), CANONICAL_JOINTS.index("right_wrist")]


@dataclass(frozen=True)
class QualityFigures:
    """Whether a clip moves like a body.

    max_jump_m: largest way of any joint between neighbouring frames. foot_slide_mps: mean speed along the floor of
    the contact joints while they stand, None when none ever stands. contact_share: share of frames and contact joints
    that stand. jerk_mps3: mean length of the third derivative of joint positions.
    """

    max_jump_m: float
    foot_slide_mps: float | None
    contact_share: float
    jerk_mps3: float


@dataclass(frozen=True)
class StyleFigures:
    """How a body carries itself, means over the clip.

    speed_mps: of the pelvis along the floor. head_height_m: of the head joint. head_forward_m: head joint ahead of the
    pelvis in the heading. wrist_speed_mps: of both wrists relative to the pelvis.
    """

    speed_mps: float
    head_height_m: float
    head_forward_m: float
    wrist_speed_mps: float


def is_finite(clip: Clip) -> bool:
    """Whether no number of the clip is NaN or infinite."""
    return bool(np.isfinite(clip.local_rotations).all() and np.isfinite(clip.local_translations).all())


def quality_figures(clip: Clip) -> QualityFigures:
    """Needs 4 frames or more."""
    positions, rate = clip.world()[1], clip.frame_rate_hz
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=-1)
    contacts = foot_contacts(positions, rate)
    feet = positions[:, CONTACT_INDICES][..., _PLANAR]
    speeds = np.linalg.norm(np.diff(feet, axis=0), axis=-1) * rate
    standing = speeds[contacts[1:] & contacts[:-1]]
    return QualityFigures(
        max_jump_m=float(steps.max()),
        foot_slide_mps=float(standing.mean()) if standing.size else None,
        contact_share=float(contacts.mean()),
        jerk_mps3=mean_jerk_mps3(positions, rate),
    )


def mean_jerk_mps3(positions: Array, rate: float) -> float:
    """Mean length of the third derivative of joint positions (T, J, 3), m/s^3; 0 below 4 frames."""
    if len(positions) < 4:
        return 0.0
    return float((np.linalg.norm(np.diff(positions, n=3, axis=0), axis=-1) * rate**3).mean())


def style_figures(clip: Clip) -> StyleFigures:
    """Needs 2 frames or more."""
    positions, rate = clip.world()[1], clip.frame_rate_hz
    pelvis, head = positions[:, 0], positions[:, _HEAD]
    yaw = heading(clip.local_rotations[:, 0])
    forward = np.stack([np.sin(yaw), np.cos(yaw)], axis=-1)
    wrists = positions[:, _WRISTS] - pelvis[:, None]
    return StyleFigures(
        speed_mps=_mean_speed(pelvis[:, _PLANAR], rate),
        head_height_m=float(head[:, 1].mean()),
        head_forward_m=float(((head - pelvis)[:, _PLANAR] * forward).sum(-1).mean()),
        wrist_speed_mps=_mean_speed(wrists, rate),
    )


def net_travel_m(clip: Clip) -> float:
    """Distance along the floor from the first to the last frame."""
    return float(_from_start(clip)[-1])


def farthest_m(clip: Clip) -> float:
    """Largest distance along the floor from the first frame."""
    return float(_from_start(clip).max())


def _from_start(clip: Clip) -> Array:
    planar = clip.root_positions[:, _PLANAR]
    return np.asarray(np.linalg.norm(planar - planar[0], axis=-1))


def _mean_speed(positions: Array, rate: float) -> float:
    return float(np.linalg.norm(np.diff(positions, axis=0), axis=-1).mean() * rate)
