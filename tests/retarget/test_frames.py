"""Engine frames against hand-made cases and the formulas of each engine."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.errors import IncompatibleSkeleton, NotFound
from animoe.retarget.frames import (
    EngineFrame,
    locals_from_frame,
    locals_to_frame,
    positions_from_frame,
    positions_to_frame,
    rotations_from_frame,
    rotations_to_frame,
    skeleton_from_frame,
)
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import IDENTITY, from_axis_angle, multiply, normalize, rotate

ATOL = 1e-12  # sign flips, permutations and one quarter turn: rounding only
EVERY = list(EngineFrame)
UE, ACTOR = EngineFrame.UNREAL, EngineFrame.UNREAL_ACTOR
FORWARD, UP, LEFT = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])


def random_pose(joints: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return normalize(rng.normal(size=(joints, 4))), rng.normal(size=(joints, 3)), np.arange(joints) - 1


def test_unknown_frame_lists_the_choices() -> None:
    with pytest.raises(NotFound, match="'maya'.*gltf, unity, unreal, unreal_actor, blender"):
        EngineFrame.parse("maya")


def test_frame_names_are_read_in_any_case() -> None:
    assert EngineFrame.parse(" Unreal ") is UE


@pytest.mark.parametrize(
    ("frame", "forward", "up", "left"),
    [
        (EngineFrame.GLTF, [0, 0, 1], [0, 1, 0], [1, 0, 0]),
        (EngineFrame.UNITY, [0, 0, 1], [0, 1, 0], [-1, 0, 0]),
        (UE, [0, 100, 0], [0, 0, 100], [100, 0, 0]),
        (ACTOR, [100, 0, 0], [0, 0, 100], [0, -100, 0]),
        (EngineFrame.BLENDER, [0, -1, 0], [0, 0, 1], [1, 0, 0]),
    ],
)
def test_one_metre_forward_up_and_left(frame: EngineFrame, forward: list[int], up: list[int], left: list[int]) -> None:
    moved = positions_to_frame(np.stack([FORWARD, UP, LEFT]), frame)
    np.testing.assert_allclose(moved, [forward, up, left], atol=ATOL)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (EngineFrame.UNITY, [0.1, -0.2, -0.3]),
        (UE, [-0.1, -0.3, -0.2]),
        (ACTOR, [-0.3, 0.1, -0.2]),
        (EngineFrame.BLENDER, [0.1, -0.3, 0.2]),
    ],
)
def test_rotations_follow_the_formula_of_each_engine(frame: EngineFrame, expected: list[float]) -> None:
    q = normalize(np.array([0.1, 0.2, 0.3, 0.9]))
    np.testing.assert_allclose(rotations_to_frame(q, frame)[:3] * 0.1 / q[0], expected, atol=ATOL)
    assert rotations_to_frame(q, frame)[3] == q[3]


@pytest.mark.parametrize("frame", EVERY)
def test_rotating_then_moving_equals_moving_then_rotating(frame: EngineFrame) -> None:
    q, v, _ = random_pose()
    there = rotate(rotations_to_frame(q, frame), positions_to_frame(v, frame))
    np.testing.assert_allclose(there, positions_to_frame(rotate(q, v), frame), atol=1e-10)


@pytest.mark.parametrize("frame", EVERY)
def test_round_trips(frame: EngineFrame) -> None:
    q, v, _ = random_pose()
    np.testing.assert_allclose(rotations_from_frame(rotations_to_frame(q, frame), frame), q, atol=ATOL)
    np.testing.assert_allclose(positions_from_frame(positions_to_frame(v, frame), frame), v, atol=ATOL)
    back_q, back_v = locals_from_frame(*locals_to_frame(q, v, frame), frame)
    np.testing.assert_allclose(back_q, q, atol=ATOL)
    np.testing.assert_allclose(back_v, v, atol=ATOL)


@pytest.mark.parametrize("frame", EVERY)
def test_a_skeleton_posed_in_the_engine_stands_where_ours_does(frame: EngineFrame) -> None:
    q, v, parents = random_pose()
    ours = local_to_model(q, v, parents)[1]
    theirs = local_to_model(*locals_to_frame(q, v, frame), parents)[1]
    np.testing.assert_allclose(theirs, positions_to_frame(ours, frame), atol=1e-9)


def test_actor_space_turns_the_root_only() -> None:
    q, v, _ = random_pose()
    component, actor = locals_to_frame(q, v, UE), locals_to_frame(q, v, ACTOR)
    np.testing.assert_array_equal(actor[0][1:], component[0][1:])
    np.testing.assert_array_equal(actor[1][1:], component[1][1:])
    yaw = from_axis_angle([0, 0, 1], np.radians(-90))  # the mesh component of an Unreal character
    np.testing.assert_allclose(actor[0][0], multiply(yaw, component[0][0]), atol=ATOL)
    np.testing.assert_allclose(actor[1][0], rotate(yaw, component[1][0]), atol=ATOL)


def test_an_unreal_bone_keeps_x_along_the_bone() -> None:
    skeleton = skeleton_from_frame(
        ["root", "upperarm_l", "lowerarm_l"],
        [-1, 0, 1],
        [[0, 0, 0], [20, 0, 140], [30, 0, 0]],
        [
            IDENTITY,
            from_axis_angle([0, 1, 0], np.radians(90)),
            IDENTITY,
        ],  # pitch: X points down (left-handed, Z up)
        UE,
    )
    elbow = skeleton.rest_model[1][2]
    np.testing.assert_allclose(elbow, [0.2, 1.1, 0.0], atol=ATOL)


def test_quaternions_that_are_not_unit_name_the_joint() -> None:
    with pytest.raises(IncompatibleSkeleton, match="'knee' has length 0"):
        skeleton_from_frame(["hip", "knee"], [-1, 0], [[0, 0, 0]] * 2, [[0, 0, 0, 1], [0, 0, 0, 0]], UE)


def test_ragged_and_missing_rest_poses_are_refused() -> None:
    with pytest.raises(IncompatibleSkeleton, match="3 translation and 4 rotation"):
        skeleton_from_frame(["hip"], [-1], [[0, 0]], [[0, 0, 0, 1]], UE)
    with pytest.raises(IncompatibleSkeleton, match="2 joint names, 1 rest translations"):
        skeleton_from_frame(["hip", "knee"], [-1, 0], [[0, 0, 0]], [[0, 0, 0, 1]], UE)
    with pytest.raises(IncompatibleSkeleton, match="no joints"):
        skeleton_from_frame([], [], [], [], UE)
    with pytest.raises(IncompatibleSkeleton, match=r"NaN|length nan"):
        skeleton_from_frame(["hip"], [-1], [[0, 0, 0]], [[0, 0, np.nan, 1]], UE)
