"""The canonical skeleton: the 22 SMPL body joints with a fixed neutral rest pose.

Names and hierarchy are SMPL's; the rest pose is our own: a T-pose of an adult 1.72 m high, proportions rounded
from anthropometric tables, identity rest rotations, feet flat on the floor, palms down.
"""

from __future__ import annotations

from functools import cache

from animoe.rig.skeleton import Skeleton

# name, parent, offset from the parent in metres (left = +X, up = +Y, forward = +Z)
_TABLE: tuple[tuple[str, str | None, tuple[float, float, float]], ...] = (
    ("pelvis", None, (0.0, 0.97, 0.0)),
    ("left_hip", "pelvis", (0.09, -0.07, 0.0)),
    ("right_hip", "pelvis", (-0.09, -0.07, 0.0)),
    ("spine1", "pelvis", (0.0, 0.10, -0.01)),
    ("left_knee", "left_hip", (0.0, -0.42, 0.0)),
    ("right_knee", "right_hip", (0.0, -0.42, 0.0)),
    ("spine2", "spine1", (0.0, 0.12, 0.0)),
    ("left_ankle", "left_knee", (0.0, -0.40, 0.0)),
    ("right_ankle", "right_knee", (0.0, -0.40, 0.0)),
    ("spine3", "spine2", (0.0, 0.10, 0.0)),
    ("left_foot", "left_ankle", (0.0, -0.06, 0.13)),
    ("right_foot", "right_ankle", (0.0, -0.06, 0.13)),
    ("neck", "spine3", (0.0, 0.19, -0.02)),
    ("left_collar", "spine3", (0.06, 0.12, -0.01)),
    ("right_collar", "spine3", (-0.06, 0.12, -0.01)),
    ("head", "neck", (0.0, 0.09, 0.04)),
    ("left_shoulder", "left_collar", (0.12, 0.03, -0.01)),
    ("right_shoulder", "right_collar", (-0.12, 0.03, -0.01)),
    ("left_elbow", "left_shoulder", (0.27, 0.0, 0.0)),
    ("right_elbow", "right_shoulder", (-0.27, 0.0, 0.0)),
    ("left_wrist", "left_elbow", (0.25, 0.0, 0.0)),
    ("right_wrist", "right_elbow", (-0.25, 0.0, 0.0)),
)

CANONICAL_JOINTS: tuple[str, ...] = tuple(name for name, _, _ in _TABLE)
FRAME_RATE_HZ = 30.0
"""Frame rate of everything inside AniMoE."""


@cache
def canonical_skeleton() -> Skeleton:
    """The one canonical skeleton (J = 22)."""
    parents = [-1 if parent is None else CANONICAL_JOINTS.index(parent) for _, parent, _ in _TABLE]
    return Skeleton.build(CANONICAL_JOINTS, parents, [offset for _, _, offset in _TABLE])
