"""Unreal's IK bones go where feet and hands go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from animoe.motion.pose_block import PoseBlock
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.root_motion import RootMotion
from animoe.retarget.solver import Retargeter, RetargetOptions
from animoe.rig import Skeleton
from animoe.rig.rotations import IDENTITY, angle, from_axis_angle, inverse, multiply, rotate

FOLLOWS = {
    "ik_foot_l": "foot_l",
    "ik_foot_r": "foot_r",
    "ik_hand_gun": "hand_r",
    "ik_hand_l": "hand_l",
    "ik_hand_r": "hand_r",
}
PARENTS = {"ik_foot_l": "ik_foot_root", "ik_foot_r": "ik_foot_root", "ik_hand_gun": "ik_hand_root"}


def with_ik_bones(
    prefix: str = "", roots: str = "root", offset: np.ndarray | None = None, turn: np.ndarray = IDENTITY
) -> Rig:
    """UE5 Manny with the IK bones of the engine's skeleton, `offset` (of their own axes) away from feet and hands."""
    skeleton = rig_profile("ue5_manny").skeleton
    turns, places = (list(part) for part in skeleton.rest_model)
    names, parents = list(skeleton.joint_names), skeleton.parents.tolist()
    for name in ("ik_foot_root", "ik_hand_root", *FOLLOWS):
        above = names.index(roots if name.endswith("root") else PARENTS.get(name, "ik_hand_gun"))
        at = names.index(FOLLOWS.get(name, roots))
        own = turn if name in FOLLOWS else IDENTITY
        names.append(name)
        parents.append(above)
        turns.append(multiply(turns[at], own))
        places.append(places[at] + (0 if offset is None or name not in FOLLOWS else rotate(turns[-1], offset)))
    q = [t if p < 0 else multiply(inverse(turns[p]), t) for t, p in zip(turns, parents, strict=True)]
    at_parent = [
        place if p < 0 else rotate(inverse(turns[p]), place - places[p])
        for place, p in zip(places, parents, strict=True)
    ]
    named = [prefix + name if name.startswith("ik_") else name for name in names]
    return rig_from_skeleton(Skeleton.build(named, parents, np.stack(at_parent), np.stack(q)))


def world_of(rig: Rig, block: PoseBlock, frame: EngineFrame, options: RetargetOptions) -> tuple[np.ndarray, np.ndarray]:
    retargeter = Retargeter(rig, frame, options)
    return retargeter.to_clip([retargeter.apply(block)]).world()


@pytest.mark.parametrize("frame", list(EngineFrame))
@pytest.mark.parametrize("mode", list(RootMotion))
def test_they_are_where_feet_and_hands_are(
    mode: RootMotion, frame: EngineFrame, stride: Callable[..., PoseBlock]
) -> None:
    rig = with_ik_bones()
    turns, places = world_of(rig, stride(), frame, RetargetOptions(mode, foot_lock=True, reach=0.5, ik_bones=True))
    for bone, joint in ((rig.skeleton.index[a], rig.skeleton.index[b]) for a, b in FOLLOWS.items()):
        np.testing.assert_allclose(places[:, bone], places[:, joint], atol=1e-9)
        assert angle(multiply(inverse(turns[:, bone]), turns[:, joint])).max() < 1e-6


def test_they_keep_the_offset_and_the_turn_they_have_at_rest(walk: PoseBlock) -> None:
    offset, turn = np.array([0.02, -0.03, 0.01]), from_axis_angle([0, 1, 0], 0.7)
    rig = with_ik_bones(offset=offset, turn=turn)
    turns, places = world_of(rig, walk, EngineFrame.UNREAL, RetargetOptions(ik_bones=True))
    for bone, joint in ((rig.skeleton.index[a], rig.skeleton.index[b]) for a, b in FOLLOWS.items()):
        assert angle(multiply(inverse(turns[:, bone]), multiply(turns[:, joint], np.tile(turn, (60, 1))))).max() < 1e-6
        np.testing.assert_allclose(places[:, bone] - places[:, joint], rotate(turns[:, bone], offset), atol=1e-9)


def test_bones_that_were_never_posed_take_the_joints_own_transform(walk: PoseBlock) -> None:
    rig = with_ik_bones(offset=np.array([0.0, 1.0, 0.0]), turn=from_axis_angle([1, 0, 0], 1.0))
    turns, places = world_of(rig, walk, EngineFrame.GLTF, RetargetOptions(ik_bones=True))
    bone, joint = rig.skeleton.index["ik_foot_l"], rig.skeleton.index["foot_l"]
    np.testing.assert_allclose(places[:, bone], places[:, joint], atol=1e-9)
    assert angle(multiply(inverse(turns[:, bone]), turns[:, joint])).max() < 1e-6


def test_only_what_moves_is_streamed(walk: PoseBlock) -> None:
    """`ik_hand_r` rests on `ik_hand_gun`, which follows the same hand."""
    rig = with_ik_bones(prefix="Armature:")
    streamed = [
        rig.skeleton.joint_names[j] for j in Retargeter(rig, options=RetargetOptions(ik_bones=True)).translated_joints
    ]
    assert streamed == ["pelvis", *("Armature:" + name for name in FOLLOWS if name != "ik_hand_r")]
    assert Retargeter(rig, options=RetargetOptions(ik_bones=True)).apply(walk).local_translations.shape == (60, 5, 3)


def test_bones_below_the_body_are_left_alone(walk: PoseBlock) -> None:
    rig = with_ik_bones(roots="pelvis")
    retargeter = Retargeter(rig, options=RetargetOptions(ik_bones=True))
    assert [rig.skeleton.joint_names[j] for j in retargeter.translated_joints] == ["pelvis"]
    bone = rig.skeleton.index["ik_foot_l"]
    np.testing.assert_allclose(
        retargeter.apply(walk).local_rotations[:, bone], np.tile(retargeter.rest_rotations[bone], (60, 1)), atol=1e-12
    )


def test_the_body_moves_as_without_them(walk: PoseBlock) -> None:
    plain, rig = rig_profile("ue5_manny"), with_ik_bones()
    count = plain.skeleton.joint_count
    without, found = (world_of(r, walk, EngineFrame.GLTF, RetargetOptions(ik_bones=True)) for r in (plain, rig))
    np.testing.assert_allclose(found[1][:, :count], without[1], atol=1e-12)


def test_they_stay_at_rest_unless_asked_for(walk: PoseBlock) -> None:
    rig = with_ik_bones()
    retargeter = Retargeter(rig)
    assert [rig.skeleton.joint_names[j] for j in retargeter.translated_joints] == ["pelvis"]
    bone = rig.skeleton.index["ik_hand_gun"]
    found = retargeter.apply(walk).local_rotations[:, bone]
    np.testing.assert_allclose(found, np.tile(retargeter.rest_rotations[bone], (60, 1)), atol=1e-12)
