"""Retargeting in C++ against numpy, block after block, on every rig profile; poses of a crowd likewise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from animoe.motion.features import FEATURE_COUNT, RootState, features_to_poses
from animoe.motion.native_poses import native_poses
from animoe.motion.pose_block import PoseBlock
from animoe.native.library import load_library
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.root_motion import RootMotion
from animoe.retarget.solver import Retargeter, RetargetOptions, RigBlock

pytestmark = pytest.mark.skipif(load_library() is None, reason="no C++ compiler here")
PARTS = ("local_rotations", "local_translations", "contacts", "root_positions", "root_rotations")
OPTIONS = {
    "world": RetargetOptions(),
    "locked": RetargetOptions(foot_lock=True),
    "in place": RetargetOptions(RootMotion.IN_PLACE, foot_lock=True),
    "root bone": RetargetOptions(RootMotion.ROOT_BONE, foot_lock=True, reach=0.6, ik_bones=True),
}
Stride = Callable[..., PoseBlock]


def blocks_of(motion: PoseBlock) -> list[PoseBlock]:
    """In blocks of 4 frames; a heading that turns on the way."""
    count = len(motion.local_rotations)
    headings = np.linspace(0.0, 4.0, count)
    parts = (motion.local_rotations, motion.root_positions, motion.contacts, headings)
    return [PoseBlock(start, *(part[start : start + 4] for part in parts)) for start in range(0, count - 3, 4)]


def performed(retargeter: Retargeter, crowd: list[list[PoseBlock]]) -> list[list[RigBlock]]:
    """The blocks of characters who share every call."""
    states = [retargeter.start() for _ in crowd]
    return [retargeter.apply_many(blocks, states) for blocks in map(list, zip(*crowd, strict=True))]


@pytest.fixture
def crowd(stride: Stride) -> list[list[PoseBlock]]:
    """Walkers whose feet slide more and less, one of them beyond what a lock holds."""
    return [blocks_of(stride(slide=slide)) for slide in (0.0, 0.1, 1.5)]


@pytest.mark.parametrize("name", [profile.name for profile in rig_profiles()])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_says_what_numpy_says(name: str, options: RetargetOptions, crowd: list[list[PoseBlock]]) -> None:
    rig = rig_profile(name)
    for frame in (EngineFrame.GLTF, EngineFrame.UNREAL):
        found = performed(Retargeter(rig, frame, options, library=load_library()), crowd)
        oracle = performed(Retargeter(rig, frame, options), crowd)
        for step, wanted in zip(found, oracle, strict=True):
            for block, other in zip(step, wanted, strict=True):
                for part in PARTS:
                    np.testing.assert_allclose(getattr(block, part), getattr(other, part), rtol=0, atol=1e-9)


def test_company_changes_nothing(crowd: list[list[PoseBlock]]) -> None:
    retargeter = Retargeter(rig_profile("ue5_manny"), options=OPTIONS["locked"], library=load_library())
    together, alone = performed(retargeter, crowd), [performed(retargeter, [blocks]) for blocks in crowd]
    for step, blocks in enumerate(together):
        for index, block in enumerate(blocks):
            for part in PARTS:
                np.testing.assert_array_equal(getattr(block, part), getattr(alone[index][step][0], part))


def test_a_character_can_go_back(crowd: list[list[PoseBlock]]) -> None:
    retargeter = Retargeter(rig_profile("smplx"), options=OPTIONS["locked"], library=load_library())
    state = retargeter.start()
    for block in crowd[1][:5]:
        retargeter.apply(block, state)
    before = state.copy()
    first = [retargeter.apply(block, state) for block in crowd[1][5:]]
    state.go_back(before)
    second = [retargeter.apply(block, state) for block in crowd[1][5:]]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.local_rotations, other.local_rotations)


def test_poses_are_those_of_numpy() -> None:
    features = np.random.default_rng(0).normal(size=(16, 3, 4, FEATURE_COUNT)).astype(np.float32)
    library = load_library()
    assert library is not None
    to_poses = native_poses(library)
    roots, others = ([RootState(0.3 * i, np.array([i, -2.0])) for i in range(3)] for _ in range(2))
    for step in features:
        for part, other in zip(to_poses(step, roots), features_to_poses(step, others), strict=True):
            np.testing.assert_allclose(part, other, rtol=0, atol=1e-12)
    for root, another in zip(roots, others, strict=True):
        np.testing.assert_allclose([root.yaw, *root.planar], [another.yaw, *another.planar], rtol=0, atol=1e-12)
