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


# A few joints of Unreal's Manny at rest, as the engine holds them: centimetres, parent-local, component space.
MANNY = {
    "root": (None, (0, 0, 0), (0, 0, 0, 1)),
    "pelvis": ("root", (0, 2.2809, 95.8968), (0.022415, -0.706751, -0.022415, 0.706751)),
    "thigh_l": ("pelvis", (-2.3657, 0.11, -9.9692), (-0.072405, -0.029462, 0.028969, 0.996519)),
    "calf_l": ("thigh_l", (-43.3413, 0, 0), (0, 0, 0.043662, 0.999046)),
    "foot_l": ("calf_l", (-42.2179, 0, 0), (0.000666, 0.026877, -0.023239, 0.999368)),
    "thigh_r": ("pelvis", (-2.3657, 0.1195, 9.9691), (-0.029462, 0.072405, -0.996519, 0.028969)),
    "calf_r": ("thigh_r", (43.3413, 0, 0), (0, 0, 0.043662, 0.999046)),
    "foot_r": ("calf_r", (42.2179, 0, 0), (0.000666, 0.026877, -0.023239, 0.999368)),
}


def turned(q: tuple[float, ...], v: np.ndarray) -> np.ndarray:
    """v turned by q, written out; Unreal's FQuat::RotateVector is the same formula in its left-handed axes."""
    x, y, z, w = q
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    product: np.ndarray = np.array(rows) @ v
    return product


def manny_place(name: str) -> np.ndarray:
    """Component-space position in centimetres, from the joint up to the root."""
    parent, place, _ = MANNY[name]
    at = np.array(place, dtype=float)
    while parent is not None:
        above, offset, turn = MANNY[parent]
        at, parent = turned(turn, at) + np.array(offset), above
    return at


def manny() -> tuple[list[str], list[int], np.ndarray, np.ndarray]:
    names = list(MANNY)
    parents = [-1 if above is None else names.index(above) for above, _, _ in MANNY.values()]
    places, turns = (np.array([row[k] for row in MANNY.values()], dtype=float) for k in (1, 2))
    return names, parents, places, turns


def test_manny_stands_in_our_axes_where_unreal_has_it() -> None:
    """Unreal component space (x, y, z) in cm is (x, z, y) / 100 of ours: left +X, forward +Z, up +Y."""
    names, *rest = manny()
    positions = skeleton_from_frame(names, *rest, UE).rest_model[1]
    for joint, name in enumerate(names):
        x, y, z = manny_place(name)
        np.testing.assert_allclose(positions[joint], [x / 100, z / 100, y / 100], atol=1e-5)
    heights = {"thigh_l": 0.935, "calf_l": 0.503, "foot_l": 0.082}
    for name, height in heights.items():
        assert positions[names.index(name), 1] == pytest.approx(height, abs=1e-3)
    assert positions[names.index("foot_l"), 0] > 0.1 > -0.1 > positions[names.index("foot_r"), 0]


def test_manny_in_actor_space_is_the_component_turned_by_its_yaw() -> None:
    """An actor faces +X: its point is (y, -x, z) of the component's."""
    names, parents, places, turns = manny()
    root_turn = (0.0, 0.0, -np.sqrt(0.5), np.sqrt(0.5))  # yaw of -90 degrees
    actor = turns.copy()
    actor[0] = root_turn
    ours = skeleton_from_frame(names, parents, places, turns, UE)
    theirs = skeleton_from_frame(names, parents, places, actor, ACTOR)
    np.testing.assert_allclose(theirs.rest_model[1], ours.rest_model[1], atol=1e-9)
    x, y, z = manny_place("foot_l")
    np.testing.assert_allclose(turned(root_turn, np.array([x, y, z])), [y, -x, z], atol=1e-9)
    there = positions_to_frame(ours.rest_model[1][names.index("foot_l")], ACTOR)
    np.testing.assert_allclose(there, [y, -x, z], atol=1e-3)


@pytest.mark.parametrize(
    ("frame", "point", "turn"),
    [
        # Each line is the engine's formula for p = (1, 2, 3) m and q = (.1, .2, .3, w), worked out by hand.
        (EngineFrame.UNITY, (-1, 2, 3), (0.1, -0.2, -0.3)),
        (UE, (100, 300, 200), (-0.1, -0.3, -0.2)),
        (ACTOR, (300, -100, 200), (-0.3, 0.1, -0.2)),
        (EngineFrame.BLENDER, (1, -3, 2), (0.1, -0.3, 0.2)),
        (EngineFrame.GLTF, (1, 2, 3), (0.1, 0.2, 0.3)),
    ],
)
def test_a_point_and_a_turn_in_every_frame(
    frame: EngineFrame, point: tuple[float, ...], turn: tuple[float, ...]
) -> None:
    np.testing.assert_allclose(positions_to_frame(np.array([1.0, 2.0, 3.0]), frame), point, atol=ATOL)
    w = np.sqrt(1 - 0.14)
    np.testing.assert_allclose(rotations_to_frame(np.array([0.1, 0.2, 0.3, w]), frame), [*turn, w], atol=ATOL)


@pytest.mark.parametrize("frame", EVERY)
def test_mirrored_axes_of_the_right_leg_bend_the_same_way(frame: EngineFrame) -> None:
    """Left and right calf of Manny have opposite X along the bone; the same local turn bends both knees backwards."""
    names, parents, places, turns = manny()
    skeleton = skeleton_from_frame(names, parents, places, turns, UE)
    bent = skeleton.rest_rotations.copy()
    bend = from_axis_angle([0, 0, 1], np.radians(-40))
    for name in ("calf_l", "calf_r"):
        joint = names.index(name)
        bent[joint] = multiply(bent[joint], rotations_from_frame(bend, UE))
    q, v = locals_to_frame(bent, skeleton.rest_translations, frame)
    positions = positions_from_frame(local_to_model(q, v, skeleton.parents)[1], frame)
    moved = positions - skeleton.rest_model[1]
    left, right = moved[names.index("foot_l")], moved[names.index("foot_r")]
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=5e-3)
    assert abs(left[2]) > 0.2
