"""Small synthetic motions on the canonical skeleton."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from animoe.motion.clip import Clip
from animoe.motion.pose_block import PoseBlock
from animoe.rig import CANONICAL_JOINTS, canonical_skeleton
from animoe.rig.rotations import IDENTITY, from_axis_angle, from_yaw, multiply

_X, _Y, _Z = np.eye(3)
_FEET = [CANONICAL_JOINTS.index(name) for name in ("left_ankle", "left_foot", "right_ankle", "right_foot")]


def _grounded(rotations: np.ndarray, root: np.ndarray) -> PoseBlock:
    """Sets the lowest foot joint of every frame on its standing height."""
    skeleton = canonical_skeleton()
    positions = Clip.from_root(skeleton, 30.0, rotations, root).world()[1]
    root[:, 1] -= (positions[:, _FEET, 1] - skeleton.rest_model[1][_FEET, 1]).min(axis=1)
    return PoseBlock(0, rotations, root, np.zeros((len(root), 4)))


@pytest.fixture(scope="session")
def t_pose() -> PoseBlock:
    """Four frames of the canonical rest pose."""
    rest = canonical_skeleton().rest_translations[0]
    return PoseBlock(0, np.tile(IDENTITY, (4, 22, 1)), np.tile(rest, (4, 1)), np.ones((4, 4)))


@pytest.fixture(scope="session")
def walk() -> PoseBlock:
    """Two seconds of walking with a turn to the left, arms swinging, elbows and knees bending."""
    time = np.arange(60) / 30
    phase = 2 * np.pi * time
    turn = 0.6 * time
    q = np.tile(IDENTITY, (60, 22, 1))

    def put(name: str, axis: np.ndarray, angle: np.ndarray) -> None:
        joint = CANONICAL_JOINTS.index(name)
        q[:, joint] = multiply(q[:, joint], from_axis_angle(axis, np.broadcast_to(angle, 60)))

    q[:, 0] = from_yaw(turn)
    put("pelvis", _Z, 0.05 * np.sin(phase))
    for spine in ("spine1", "spine2", "spine3"):
        put(spine, _Y, -0.06 * np.sin(phase))
        put(spine, _X, np.full(60, 0.05))
    put("neck", _X, np.full(60, 0.1))
    put("head", _Y, 0.3 * np.sin(phase / 2))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * np.sin(phase)
        bend = 0.15 + 0.9 * np.clip(sign * np.sin(phase + 0.9), 0, None)
        put(f"{side}_hip", _X, -0.5 * swing - 0.1)
        put(f"{side}_knee", _X, bend)
        put(f"{side}_ankle", _X, 0.5 * swing + 0.1 - bend + 0.25 * np.sin(phase + sign))
        put(f"{side}_collar", _Y, sign * 0.1 * swing)
        put(f"{side}_shoulder", _X, 0.4 * swing)
        put(f"{side}_shoulder", _Z, np.full(60, -1.2 * sign))
        put(f"{side}_elbow", _Y, -sign * (0.5 - 0.2 * swing))
        put(f"{side}_wrist", _X, 0.3 * swing)
    path = np.cumsum(np.stack([np.sin(turn), 0 * turn, np.cos(turn)], axis=-1) * 1.3 / 30, axis=0)
    return _grounded(q, path + [0.0, 0.95, 0.0])


@pytest.fixture(scope="session")
def stride() -> Callable[..., PoseBlock]:
    """Makes walks straight ahead at 0.8 m/s whose standing feet slide forwards by `slide` m/s; true contacts."""
    return _stride


def _stride(slide: float = 0.1, frames: int = 90, speed: float = 0.8) -> PoseBlock:
    period, stance = 30, 18
    length = (speed - slide) * stance / 30
    q = np.tile(IDENTITY, (frames, 22, 1))
    contacts = np.zeros((frames, 4))
    for side, (name, lag) in enumerate((("left", 0), ("right", period // 2))):
        phase = (np.arange(frames) + lag) % period
        stands = phase < stance
        s = np.clip((phase - stance) / (period - stance), 0, 1)
        tangent = -(speed - slide) * (period - stance) / 30
        swing = length * (3 * s**2 - 2 * s**3) + tangent * (s - 3 * s**2 + 2 * s**3)
        ahead = np.where(stands, length / 2 - (speed - slide) * phase / 30, swing - length / 2)
        _put_foot(q, name, ahead, 0.78 - np.where(stands, 0.0, 0.08 * np.sin(np.pi * s) ** 2))
        contacts[:, 2 * side : 2 * side + 2] = stands[:, None]
    root = np.zeros((frames, 3))
    root[:, 1], root[:, 2] = 0.07 + 0.08 + 0.78, speed * np.arange(frames) / 30
    return PoseBlock(0, q, root, contacts, np.zeros(frames))


def _put_foot(q: np.ndarray, side: str, ahead: np.ndarray, below: np.ndarray) -> None:
    """Bends a leg so that its ankle is `ahead` of and `below` its hip, the foot level."""
    thigh, shin = 0.42, 0.40
    reach = np.hypot(ahead, below)
    upper = np.arccos((thigh**2 + reach**2 - shin**2) / (2 * thigh * reach))
    lower = np.arccos((shin**2 + reach**2 - thigh**2) / (2 * shin * reach))
    hip = np.arctan2(-ahead, below) - upper
    for joint, angle in (("hip", hip), ("knee", upper + lower), ("ankle", -hip - upper - lower)):
        q[:, CANONICAL_JOINTS.index(f"{side}_{joint}")] = from_axis_angle(_X, angle)
