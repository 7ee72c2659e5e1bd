"""A Blender that answers questions, and rigs in motion to ask it about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.errors import FileError
from animoe.formats.blender import require_blender, run_in_blender
from animoe.motion.clip import Clip
from animoe.retarget.frames import EngineFrame, positions_from_frame
from animoe.retarget.profiles import rig_profile
from animoe.rig.rotations import Array, from_axis_angle, multiply, normalize
from animoe.rig.skeleton import Skeleton

PROFILES = ("ue5_manny", "mixamo", "smplx", "kaykit_medium")
RIGS = (*PROFILES, "odd", "one_joint")


@dataclass(frozen=True)
class Blender:
    """Runs jobs of `inside_blender.py`, a process per call."""

    folder: Path

    def run(self, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
        (self.folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
        script = Path(__file__).with_name("inside_blender.py")
        run_in_blender(script, self.folder, wanted=self.folder / "results.json", timeout_s=300)
        results: list[dict[str, Any]] = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))
        return results

    def measure(self, file: Path, clip: Clip, *exports: str, action: str = "") -> dict[str, Any]:
        """Has Blender import a file and evaluate it on the clip's frames, then export it as other files."""
        (result,) = self.run(
            {
                "do": "measure",
                "file": str(file),
                "frames": clip.frame_count,
                "frame_rate_hz": clip.frame_rate_hz,
                "out": "positions.npy",
                "exports": list(exports),
                "action": action,
            }
        )
        return result

    def positions(self, result: dict[str, Any], names: tuple[str, ...]) -> Array:
        """(T, J, 3) positions of `names` in our axes, metres."""
        at = [result["bones"].index(name) for name in names]
        return positions_from_frame(np.load(self.folder / result["positions"])[:, at], EngineFrame.BLENDER)


@pytest.fixture
def blender(tmp_path: Path) -> Blender:
    try:
        require_blender(tmp_path / "results.json")
    except FileError as error:
        pytest.skip(str(error))
    return Blender(tmp_path)


def lively_clip(skeleton: Skeleton, frame_rate_hz: float = 30.0, frame_count: int = 45) -> Clip:
    """Every joint turns, through more than half a circle; the root travels and two joints stretch."""
    random = np.random.default_rng(5)
    joints = skeleton.joint_count
    time_s = np.arange(frame_count)[:, None] / frame_rate_hz
    swing = 2.2 * np.sin(4 * time_s + random.uniform(0, 6, joints)) * random.uniform(0.2, 1, joints)
    turns = from_axis_angle(random.normal(size=(joints, 3)), swing)
    translations = np.tile(skeleton.rest_translations, (frame_count, 1, 1))
    translations[:, 0] += time_s * [1.2, 0.1, -0.7]
    translations[:, joints // 2 :: 7] *= 1 + 0.2 * np.sin(5 * time_s)[..., None]
    return Clip(skeleton, frame_rate_hz, multiply(skeleton.rest_rotations, turns), translations, "lively")


def odd_skeleton() -> Skeleton:
    """Rest rotations that point anywhere; bones without length, straight down, of five metres; names to be quoted."""
    random = np.random.default_rng(3)
    names = ("root", 'hip"s"', "left[0]", "räght", "a\\b", "a.001", "a", "a.002", "bones", "tip'", "far")
    parents = (-1, 0, 1, 1, 2, 3, 1, 6, 6, 8, 8)
    offsets = random.uniform(-0.4, 0.4, (11, 3))
    offsets[4], offsets[7], offsets[9], offsets[10] = 0.0, (0, -0.3, 0), 1e-6, (0, 5, 0)
    rotations = normalize(random.normal(size=(11, 4)))
    rotations[6], rotations[7] = (1, 0, 0, 0), (0, 0, 1, 0)
    return Skeleton.build(names, parents, offsets, rotations)


def rig(name: str) -> Skeleton:
    if name == "odd":
        return odd_skeleton()
    if name == "one_joint":
        return Skeleton.build(["only"], [-1], [[0.1, 0.9, 0.2]], [[0.5, 0.5, 0.5, 0.5]])
    return rig_profile(name).skeleton


@pytest.fixture(params=RIGS)
def clip(request: pytest.FixtureRequest) -> Clip:
    return lively_clip(rig(request.param))
