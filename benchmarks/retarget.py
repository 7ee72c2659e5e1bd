"""Speed of retargeting: one block of one character, 64 characters at once, and making a retargeter.

    python benchmarks/retarget.py [--rounds 60]

One thread, motion made here: a walk whose feet slide, so that the lock has work to do. In C++, as servers retarget, and
in numpy, its baseline, as everywhere without a compiler. Figures are medians with the middle half of all rounds, in
which everything is measured in turns.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import argparse
import time
from collections.abc import Callable
from ctypes import CDLL

import numpy as np

from animoe.motion.pose_block import PoseBlock
from animoe.native.library import load_library
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.solver import Retargeter, RetargetOptions
from animoe.rig import CANONICAL_JOINTS, Skeleton
from animoe.rig.rotations import IDENTITY, from_axis_angle, inverse, multiply, rotate

RIG = "ue5_manny"
CHARACTERS, FRAMES = 64, 4
BLOCK_MS, CHARACTER_FRAME_US = 0.5, 60.0
"""Budgets with foot lock."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    print(f"{RIG}, blocks of {FRAMES} frames; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for rig, title in ((rig_profile(RIG), "body"), (_with_ik_bones(rig_profile(RIG)), "body and IK bones")):
        for lock in (False, True):
            measure(
                rig, RetargetOptions(foot_lock=lock, ik_bones=True), f"{title}, {'lock' if lock else 'no lock'}", rounds
            )


def measure(rig: Rig, options: RetargetOptions, title: str, rounds: int) -> None:
    """Prints the figures of one rig and one set of options."""
    stages = [_Stage("numpy", rig, options, None)]
    if (library := load_library()) is not None:
        stages.insert(0, _Stage("C++", rig, options, library))
    for number in range(rounds):
        blocks = [_walk(FRAMES, number * FRAMES + lag) for lag in range(CHARACTERS)]
        for stage in stages:
            stage.perform(blocks)
    each = CHARACTERS * FRAMES / 1e6
    print(title)
    for stage in stages:
        print(
            f"  {stage.name:5s} made in {np.median(stage.build) * 1e3:.0f} ms; "
            f"one block of one character {_spread(stage.one, 1e-3)} ms{_budget(options, BLOCK_MS)}; "
            f"{CHARACTERS} at once, per character frame {_spread(stage.many, each)} us"
            f"{_budget(options, CHARACTER_FRAME_US)}, {np.median(stages[-1].many) / np.median(stage.many):.1f} x numpy"
        )


class _Stage:
    """A crowd on one rig; what everything took, seconds."""

    def __init__(self, name: str, rig: Rig, options: RetargetOptions, library: CDLL | None) -> None:
        def build() -> Retargeter:
            return Retargeter(rig, EngineFrame.UNREAL, options, library=library)

        self.name, self.build = name, [_seconds(build) for _ in range(5)]
        self._retargeter = build()
        self._alone, self._crowd = self._retargeter.start(), [self._retargeter.start() for _ in range(CHARACTERS)]
        self.one: list[float] = []
        self.many: list[float] = []

    def perform(self, blocks: list[PoseBlock]) -> None:
        self.one.append(_seconds(lambda: self._retargeter.apply(blocks[0], self._alone)))
        self.many.append(_seconds(lambda: self._retargeter.apply_many(blocks, self._crowd)))


def _budget(options: RetargetOptions, limit: float) -> str:
    return f" (budget {limit:g})" if options.foot_lock else ""


def _spread(seconds: list[float], unit_s: float) -> str:
    low, median, high = np.percentile(seconds, [25, 50, 75]) / unit_s
    return f"{median:.3g} [{low:.3g} to {high:.3g}]"


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _walk(count: int, start: int) -> PoseBlock:
    """Frames of a walk at 0.8 m/s whose steps are a little too short, so that standing feet slide."""
    frame = np.arange(start, start + count)
    phase = 2 * np.pi * frame / 30
    q = np.tile(IDENTITY, (count, 22, 1))
    contacts = np.zeros((count, 4))
    for side, (name, lag) in enumerate((("left", 0.0), ("right", np.pi))):
        swing, lift = 0.22 * np.cos(phase + lag), np.clip(-np.sin(phase + lag), 0, 1)
        angles = {"hip": -swing - 0.2 - 0.4 * lift, "knee": 0.3 + 0.9 * lift, "ankle": swing - 0.1 - 0.5 * lift}
        angles["shoulder"] = swing
        for joint, angle in angles.items():
            q[:, CANONICAL_JOINTS.index(f"{name}_{joint}")] = from_axis_angle([1.0, 0.0, 0.0], angle)
        contacts[:, 2 * side : 2 * side + 2] = (lift == 0.0)[:, None]
    root = np.stack([0 * phase, 0.95 + 0 * phase, 0.8 * frame / 30], axis=-1)
    return PoseBlock(start, q, root, contacts, np.zeros(count))


def _with_ik_bones(rig: Rig) -> Rig:
    """The IK helper bones that Unreal's own skeleton has."""
    skeleton = rig.skeleton
    turns, places = (list(part) for part in skeleton.rest_model)
    names, parents = list(skeleton.joint_names), skeleton.parents.tolist()
    q, t = list(skeleton.rest_rotations), list(skeleton.rest_translations)
    for name, above, at in (
        ("ik_foot_root", "root", "root"),
        ("ik_foot_l", "ik_foot_root", "foot_l"),
        ("ik_foot_r", "ik_foot_root", "foot_r"),
        ("ik_hand_root", "root", "root"),
        ("ik_hand_gun", "ik_hand_root", "hand_r"),
        ("ik_hand_l", "ik_hand_gun", "hand_l"),
        ("ik_hand_r", "ik_hand_gun", "hand_r"),
    ):
        parent, joint = names.index(above), names.index(at)
        names.append(name)
        parents.append(parent)
        turns.append(turns[joint])
        places.append(places[joint])
        q.append(multiply(inverse(turns[parent]), turns[joint]))
        t.append(rotate(inverse(turns[parent]), places[joint] - places[parent]))
    return rig_from_skeleton(Skeleton.build(names, parents, t, q))


if __name__ == "__main__":
    main()
