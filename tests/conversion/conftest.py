"""Small motion files made here: a walker on the canonical skeleton."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from animoe.formats import write_clip, write_clips
from animoe.motion.clip import Clip
from animoe.rig import CANONICAL_JOINTS, canonical_skeleton
from animoe.rig.rotations import IDENTITY, from_axis_angle


def walking_clip(name: str = "walk", frame_count: int = 45, frame_rate_hz: float = 30.0) -> Clip:
    """Walks along +Z at 1.2 m/s, the right arm (and only it) swings."""
    time_s = np.arange(frame_count) / frame_rate_hz
    swing = np.sin(2 * np.pi * time_s)
    rotations = np.tile(IDENTITY, (frame_count, 22, 1))
    turns = {
        "left_hip": ([1, 0, 0], -0.4 * swing),
        "right_hip": ([1, 0, 0], 0.4 * swing),
        "left_knee": ([1, 0, 0], 0.3 + 0.2 * swing),
        "right_knee": ([1, 0, 0], 0.3 - 0.2 * swing),
        "left_shoulder": ([0, 0, 1], np.full(frame_count, -1.2)),
        "right_shoulder": ([0, 0, 1], 1.2 + 0.5 * swing),
    }
    for joint, (axis, angle) in turns.items():
        rotations[:, CANONICAL_JOINTS.index(joint)] = from_axis_angle(axis, angle)
    root = np.tile(canonical_skeleton().rest_translations[0], (frame_count, 1))
    root[:, 2] += 1.2 * time_s
    return Clip.from_root(canonical_skeleton(), frame_rate_hz, rotations, root, name)


@pytest.fixture
def walk() -> Clip:
    return walking_clip()


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writes walkers below the test's folder: put("a/b.bvh"), put("pack.glb", clips=["idle", "run"])."""

    def write(name: str, clips: list[str] | None = None, clip: Clip | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if clips is None:
            write_clip(path, clip or walking_clip(path.stem))
        else:
            write_clips(path, [replace(walking_clip(), name=title) for title in clips])
        return path

    return write
