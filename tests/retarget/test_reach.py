"""Reach: hands come to the place that they have on the source's body."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.errors import InvalidRequest
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.solver import Retargeter, RetargetOptions
from animoe.rig import CANONICAL_JOINTS, Skeleton, canonical_skeleton
from animoe.rig.rotations import IDENTITY, from_axis_angle, multiply

WRISTS = ("left_wrist", "right_wrist")
NAMES = [profile.name for profile in rig_profiles()]


def posed(elbow: float) -> PoseBlock:
    """Arms forwards, elbows bent inwards by `elbow` radians."""
    q = np.tile(IDENTITY, (4, 22, 1))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        down = from_axis_angle([0, 0, 1], -0.9 * sign)
        q[:, CANONICAL_JOINTS.index(f"{side}_shoulder")] = multiply(from_axis_angle([0, 1, 0], -1.3 * sign), down)
        q[:, CANONICAL_JOINTS.index(f"{side}_elbow")] = from_axis_angle([0, 1, 0], -elbow * sign)
        q[:, CANONICAL_JOINTS.index(f"{side}_wrist")] = from_axis_angle([1, 0, 0], 0.4)
    root = np.tile(canonical_skeleton().rest_translations[0], (4, 1))
    return PoseBlock(0, q, root, np.zeros((4, 4)))


def hands(rig: Rig, block: PoseBlock, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (2, 4) and positions (2, 3) of left and right hand, first frame."""
    retargeter = Retargeter(rig, options=RetargetOptions(reach=reach))
    rotations, positions = retargeter.to_clip([retargeter.apply(block)]).world()
    wrists = [rig.roles[role][0] for role in WRISTS]
    return rotations[0, wrists], positions[0, wrists]


def gap(places: np.ndarray) -> float:
    return float(np.linalg.norm(places[0] - places[1]))


@pytest.fixture(scope="module")
def touching() -> PoseBlock:
    """A pose in which the canonical hands meet before the chest: the elbow angle is found by halving."""
    rig, low, high = rig_from_skeleton(canonical_skeleton()), 0.2, 2.4
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if hands(rig, posed(middle), 0.0)[1][0, 0] > 0 else (low, middle)
    block = posed(low)
    assert gap(hands(rig, block, 0.0)[1]) < 1e-6
    return block


def long_arms(factor: float = 1.35) -> Rig:
    skeleton = canonical_skeleton()
    offsets = skeleton.rest_translations.copy()
    arms = [CANONICAL_JOINTS.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("elbow", "wrist")]
    offsets[arms] *= factor
    return rig_from_skeleton(Skeleton.build(skeleton.joint_names, skeleton.parents, offsets))


def test_hands_that_touch_on_the_source_touch_on_longer_arms(touching: PoseBlock) -> None:
    assert gap(hands(long_arms(), touching, 0.0)[1]) > 0.05
    assert gap(hands(long_arms(), touching, 1.0)[1]) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_hands_touch_on_every_rig(name: str, touching: PoseBlock) -> None:
    """Shoulders of another breadth and arms bent at rest included."""
    assert gap(hands(rig_profile(name), touching, 1.0)[1]) < 2e-3


def test_half_a_reach_lies_between(touching: PoseBlock) -> None:
    gaps = [gap(hands(long_arms(), touching, reach)[1]) for reach in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert gaps == sorted(gaps, reverse=True)
    none, half, full = (hands(long_arms(), touching, reach)[1] for reach in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(half, (none + full) / 2, atol=1e-6)


def test_hands_keep_their_orientation(touching: PoseBlock) -> None:
    without, with_reach = (hands(long_arms(), touching, reach)[0] for reach in (0.0, 1.0))
    np.testing.assert_allclose(np.abs(np.sum(without * with_reach, axis=-1)), 1.0, atol=1e-9)


def test_no_reach_is_off(touching: PoseBlock) -> None:
    for rig in (long_arms(), rig_profile("ue5_manny")):
        plain, none = Retargeter(rig), Retargeter(rig, options=RetargetOptions(reach=0.0))
        np.testing.assert_array_equal(plain.apply(touching).local_rotations, none.apply(touching).local_rotations)


def test_the_source_body_itself_needs_no_reaching(walk: PoseBlock) -> None:
    rig = rig_from_skeleton(canonical_skeleton())
    plain, full = (Retargeter(rig, options=RetargetOptions(reach=reach)).apply(walk) for reach in (0.0, 1.0))
    np.testing.assert_allclose(np.abs(np.sum(plain.local_rotations * full.local_rotations, axis=-1)), 1.0, atol=1e-9)


@pytest.mark.parametrize("reach", [-0.1, 1.01, float("nan"), float("inf")])
def test_reach_out_of_range_is_refused(reach: float) -> None:
    with pytest.raises(InvalidRequest, match="reach must be between 0 and 1"):
        RetargetOptions(reach=reach)
