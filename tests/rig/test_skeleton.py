"""Skeletons: every refusal, then hierarchy, rest pose and digest."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.errors import IncompatibleSkeleton
from animoe.rig import CANONICAL_JOINTS, Skeleton, canonical_skeleton
from animoe.rig.rotations import from_axis_angle

NAMES, PARENTS = ["root", "hip", "knee"], [-1, 0, 1]
OFFSETS = [[0.0, 1, 0], [0.1, 0, 0], [0, -0.5, 0]]


@pytest.mark.parametrize(
    ("names", "parents", "offsets", "words"),
    [
        ([], [], np.zeros((0, 3)), "no joints"),
        (["a", "b", "a"], PARENTS, OFFSETS, "occur twice: a"),
        (NAMES, [-1, 0], OFFSETS, r"parents \(3,\)"),
        (NAMES, PARENTS, OFFSETS[:2], r"rest translations \(3, 3\)"),
        (NAMES, [0, 0, 1], OFFSETS, "joint 0 must be the root"),
        (NAMES, [-1, 2, 1], OFFSETS, "'hip' has parent 2: list parents before"),
        (NAMES, [-1, 0, -1], OFFSETS, "with one root"),
        (NAMES, [-1, 0, 7], OFFSETS, "'knee' has parent 7"),
        (NAMES, PARENTS, [[0, 1, 0], [np.nan, 0, 0], [0, 0, 0]], "NaN"),
        (NAMES, PARENTS, [[0, 1, 0], [np.inf, 0, 0], [0, 0, 0]], "infinite"),
    ],
)
def test_unusable_skeletons_are_refused_with_the_reason(names, parents, offsets, words) -> None:
    with pytest.raises(IncompatibleSkeleton, match=words):
        Skeleton.build(names, parents, offsets)


def test_rest_rotations_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(IncompatibleSkeleton, match=r"rest rotations \(3, 4\)"):
        Skeleton.build(NAMES, PARENTS, OFFSETS, np.zeros((3, 3)))


def test_rest_rotations_default_to_identity() -> None:
    np.testing.assert_array_equal(Skeleton.build(NAMES, PARENTS, OFFSETS).rest_rotations, [[0, 0, 0, 1]] * 3)


def test_index_and_children() -> None:
    skeleton = Skeleton.build(["a", "b", "c", "d"], [-1, 0, 0, 1], np.zeros((4, 3)))
    assert skeleton.index == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert skeleton.children == ((1, 2), (3,), (), ())


def test_rest_pose_by_hand() -> None:
    turned = [from_axis_angle([0, 0, 1], np.pi / 2), [0, 0, 0, 1], [0, 0, 0, 1]]
    positions = Skeleton.build(NAMES, PARENTS, OFFSETS, turned).rest_model[1]
    np.testing.assert_allclose(positions, [[0, 1, 0], [0, 1.1, 0], [0.5, 1.1, 0]], atol=1e-12)


def test_digest_is_stable_and_tells_rigs_apart() -> None:
    base = Skeleton.build(NAMES, PARENTS, OFFSETS)
    assert base.digest == Skeleton.build(NAMES, PARENTS, OFFSETS).digest
    others = [
        Skeleton.build(["root", "hip", "Knee"], PARENTS, OFFSETS),
        Skeleton.build(NAMES, [-1, 0, 0], OFFSETS),
        Skeleton.build(NAMES, PARENTS, np.array(OFFSETS) * 1.01),
        Skeleton.build(NAMES, PARENTS, OFFSETS, [from_axis_angle([1, 0, 0], 0.1)] * 3),
    ]
    assert len({s.digest for s in (base, *others)}) == 5


def test_digest_ignores_rounding_noise() -> None:
    noisy = np.array(OFFSETS) + 1e-9
    assert Skeleton.build(NAMES, PARENTS, noisy).digest == Skeleton.build(NAMES, PARENTS, OFFSETS).digest


def test_canonical_skeleton_is_a_standing_adult_facing_forward() -> None:
    skeleton = canonical_skeleton()
    at = dict(zip(CANONICAL_JOINTS, skeleton.rest_model[1], strict=True))
    assert skeleton.joint_names == CANONICAL_JOINTS and skeleton.joint_count == 22
    assert 0 <= min(p[1] for p in at.values()) < 0.03, "feet on the floor"
    assert at["head"][1] > at["neck"][1] > at["pelvis"][1] > at["left_knee"][1]
    assert at["left_foot"][2] > at["left_ankle"][2], "toes point to +Z"
    np.testing.assert_allclose(at["left_wrist"][1], at["left_shoulder"][1], err_msg="a T-pose")


def test_canonical_skeleton_is_symmetric_with_its_left_on_positive_x() -> None:
    at = dict(zip(CANONICAL_JOINTS, canonical_skeleton().rest_model[1], strict=True))
    for name in [n for n in CANONICAL_JOINTS if n.startswith("left_")]:
        assert at[name][0] > 0
        np.testing.assert_allclose(at[name] * [-1, 1, 1], at[name.replace("left", "right")], atol=1e-12)
