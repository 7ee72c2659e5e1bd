"""Twist joints on a rig that has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from animoe.motion.pose_block import PoseBlock
from animoe.retarget.alignment import match_rest
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.solver import Retargeter
from animoe.retarget.twist import TwistJoints
from animoe.rig import CANONICAL_JOINTS, Skeleton
from animoe.rig.rotations import angle, from_axis_angle, inverse, multiply


@pytest.fixture(scope="module")
def rig() -> Rig:
    """UE4 mannequin with a twist joint a third along the left forearm, one halfway up the upper arm."""
    base = rig_profile("ue4_mannequin").skeleton
    names, parents = list(base.joint_names), list(base.parents)
    translations, rotations = list(base.rest_translations), list(base.rest_rotations)
    for name, parent, child, part in (
        ("lowerarm_twist_01_l", "lowerarm_l", "hand_l", 1 / 3),
        ("upperarm_twist_01_l", "upperarm_l", "lowerarm_l", 1 / 2),
        ("lowerarm_socket_l", "lowerarm_l", "hand_l", 1 / 3),
    ):
        names.append(name)
        parents.append(base.index[parent])
        translations.append(base.rest_translations[base.index[child]] * part)
        rotations.append(from_axis_angle([1, 0, 0], 0.2))
    return rig_from_skeleton(Skeleton.build(names, parents, np.array(translations), np.array(rotations)))


def turned(rig: Rig, block: PoseBlock, frame: EngineFrame, role: str, turn: np.ndarray) -> dict[str, float]:
    """Degrees that each helper turns more when a canonical joint is at `turn` instead."""
    rotations = block.local_rotations.copy()
    rotations[:, CANONICAL_JOINTS.index(role)] = turn
    retargeter = Retargeter(rig, frame)
    before = retargeter.apply(block).local_rotations[0]
    after = retargeter.apply(replace(block, local_rotations=rotations)).local_rotations[0]
    change = np.degrees(angle(multiply(after, inverse(before))))
    return {name: change[i] for i, name in enumerate(rig.skeleton.joint_names) if "twist" in name or "socket" in name}


@pytest.mark.parametrize("frame", list(EngineFrame))
def test_a_third_along_the_forearm_takes_a_third_of_the_hands_twist(
    rig: Rig, t_pose: PoseBlock, frame: EngineFrame
) -> None:
    got = turned(rig, t_pose, frame, "left_wrist", from_axis_angle([1, 0, 0], np.radians(60)))
    assert got["lowerarm_twist_01_l"] == pytest.approx(20, abs=1e-4)
    assert got["upperarm_twist_01_l"] == pytest.approx(0, abs=1e-4)
    assert got["lowerarm_socket_l"] == pytest.approx(0, abs=1e-4)  # a helper of another kind stays


def test_bending_the_wrist_twists_nothing(rig: Rig, t_pose: PoseBlock) -> None:
    got = turned(rig, t_pose, EngineFrame.UNREAL, "left_wrist", from_axis_angle([0, 0, 1], np.radians(60)))
    assert got["lowerarm_twist_01_l"] == pytest.approx(0, abs=1e-4)


def test_halfway_along_the_upper_arm_undoes_half_of_its_twist(rig: Rig) -> None:
    match = match_rest(rig.skeleton, rig.roles)
    arm = rig.skeleton.index["upperarm_l"]
    local = rig.skeleton.rest_rotations[None].copy()
    local[0, arm] = multiply(local[0, arm], from_axis_angle([1, 0, 0], np.radians(40)))
    TwistJoints(rig, match, EngineFrame.GLTF, rig.skeleton.rest_rotations).apply(local)
    helper = rig.skeleton.index["upperarm_twist_01_l"]
    undone = multiply(local[0, helper], inverse(rig.skeleton.rest_rotations[helper]))
    np.testing.assert_allclose(undone, from_axis_angle([1, 0, 0], np.radians(-20)), atol=1e-9)


def test_a_limb_swung_all_the_way_round_does_not_make_twist_jump(rig: Rig, t_pose: PoseBlock) -> None:
    sweep = np.linspace(0, 2 * np.pi, 361)
    rotations = np.tile(t_pose.local_rotations[:1], (361, 1, 1))
    rotations[:, CANONICAL_JOINTS.index("left_shoulder")] = from_axis_angle([0.1, 0.3, 1.0], sweep)
    block = PoseBlock(0, rotations, np.tile(t_pose.root_positions[:1], (361, 1)), np.zeros((361, 4)))
    out = Retargeter(rig).apply(block).local_rotations[:, rig.skeleton.index["upperarm_twist_01_l"]]
    steps = np.degrees(angle(multiply(out[1:], inverse(out[:-1]))))
    assert steps.max() < 10
