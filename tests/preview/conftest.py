"""A procedural walk on the canonical skeleton, and the same body on other rigs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from animoe.motion.clip import Clip
from animoe.rig import canonical_skeleton
from animoe.rig.rotations import IDENTITY, from_axis_angle, from_yaw

MakeWalk = Callable[..., Clip]


@pytest.fixture(scope="session")
def make_walk() -> MakeWalk:
    """Makes a walk: arms hang, legs swing, one direction."""

    def make(seconds: float = 1.0, speed_mps: float = 1.2, yaw: float = 0.0, name: str = "walk") -> Clip:
        skeleton, rate = canonical_skeleton(), 30.0
        t = np.arange(max(round(seconds * rate), 1)) / rate
        rotations = np.tile(IDENTITY, (len(t), 22, 1))
        swing = 0.5 * np.sin(2 * np.pi * t)
        for side, sign in (("left", 1.0), ("right", -1.0)):
            rotations[:, skeleton.index[f"{side}_hip"]] = from_axis_angle([1, 0, 0], sign * swing)
            rotations[:, skeleton.index[f"{side}_shoulder"]] = from_axis_angle([0, 0, 1], -sign * 1.3)
        rotations[:, 0] = from_yaw(np.full(len(t), yaw))
        forward = np.array([np.sin(yaw), 0.0, np.cos(yaw)])
        root = np.array([0.0, 0.97, 0.0]) + t[:, None] * speed_mps * forward
        return Clip.from_root(skeleton, rate, rotations, root, name)

    return make
