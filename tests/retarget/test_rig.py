"""Which skeletons can be driven, and what the others are told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from animoe.errors import IncompatibleSkeleton
from animoe.retarget.frames import EngineFrame, locals_to_frame, skeleton_from_frame
from animoe.retarget.profiles import rig_profile
from animoe.retarget.rig import rig_from_skeleton
from animoe.rig import Skeleton, canonical_skeleton
from animoe.rig.rotations import from_axis_angle


def without(skeleton: Skeleton, dropped: Callable[[str], bool]) -> Skeleton:
    """The skeleton less the joints whose name is `dropped`; their children hang on the next joint above."""
    kept = [i for i, name in enumerate(skeleton.joint_names) if not dropped(name)]
    model = skeleton.rest_model[1]
    parents = []
    for joint in kept:
        parent = int(skeleton.parents[joint])
        while parent >= 0 and parent not in kept:
            parent = int(skeleton.parents[parent])
        parents.append(parent)
    offsets = [model[j] - (model[p] if p >= 0 else 0) for j, p in zip(kept, parents, strict=True)]
    return Skeleton.build(
        [skeleton.joint_names[i] for i in kept], [kept.index(p) if p >= 0 else -1 for p in parents], offsets
    )


def renamed(skeleton: Skeleton, name: Callable[[int], str]) -> Skeleton:
    names = [name(i) for i in range(skeleton.joint_count)]
    return Skeleton.build(names, skeleton.parents, skeleton.rest_translations, skeleton.rest_rotations)


def test_a_rig_without_legs_says_which_roles_are_missing() -> None:
    legless = without(canonical_skeleton(), lambda n: n.endswith(("hip", "knee", "ankle", "foot")))
    with pytest.raises(IncompatibleSkeleton, match="lacks left_hip, right_hip, left_knee.*roles"):
        rig_from_skeleton(legless)


def test_a_rig_without_arms_is_refused() -> None:
    armless = without(canonical_skeleton(), lambda n: n.endswith(("shoulder", "elbow", "wrist")))
    with pytest.raises(IncompatibleSkeleton, match="left_shoulder"):
        rig_from_skeleton(armless)


def test_meaningless_names_on_a_heap_of_joints_are_refused_and_shown() -> None:
    flat = canonical_skeleton().rest_translations * 0.0
    heap = Skeleton.build([f"thing_{i}" for i in range(22)], canonical_skeleton().parents, flat)
    with pytest.raises(IncompatibleSkeleton, match=r"22 joints \(thing_0, thing_1"):
        rig_from_skeleton(heap)


def test_meaningless_names_on_a_body_are_no_hindrance() -> None:
    rig = rig_from_skeleton(renamed(canonical_skeleton(), lambda i: f"thing_{i}"))
    assert {role: joints[0] for role, joints in rig.roles.items()} == dict(canonical_skeleton().index)


def test_named_roles_drive_a_rig_with_meaningless_names() -> None:
    canonical = canonical_skeleton()
    roles = {name: f"thing_{i}" for i, name in enumerate(canonical.joint_names)}
    rig = rig_from_skeleton(renamed(canonical, lambda i: f"thing_{i}"), roles=roles)
    assert {role: joints[0] for role, joints in rig.roles.items()} == dict(canonical.index)


def test_roles_that_do_not_exist_are_refused_with_a_suggestion() -> None:
    with pytest.raises(IncompatibleSkeleton, match="unknown role 'left_heap'; choose from left_hip"):
        rig_from_skeleton(canonical_skeleton(), roles={"left_heap": "left_hip"})
    with pytest.raises(IncompatibleSkeleton, match="'left_hipp', which the skeleton lacks; it has left_hip"):
        rig_from_skeleton(canonical_skeleton(), roles={"left_hip": "left_hipp"})


def test_roles_on_the_wrong_limb_are_refused() -> None:
    with pytest.raises(IncompatibleSkeleton, match=r"'right_knee' \(left_knee\) must hang below 'left_hip'"):
        rig_from_skeleton(canonical_skeleton(), roles={"left_knee": "right_knee", "right_knee": "left_knee"})


@pytest.mark.parametrize("name", ["neck", "left_collar", "left_foot", "spine1", "spine2", "spine3", "head"])
def test_one_minor_joint_may_be_missing(name: str) -> None:
    rig = rig_from_skeleton(without(canonical_skeleton(), lambda n: n == name))
    assert name not in rig.roles or name.startswith("spine")


def test_every_spine_joint_serves_whatever_its_name() -> None:
    names = ["root", *(f"spine_{i:02d}" for i in range(1, 6)), "neck_01", "neck_02"]
    rig = rig_profile("ue5_manny")
    chain = [j for role in ("spine1", "spine2", "spine3", "neck") for j in rig.roles[role]]
    assert [rig.skeleton.joint_names[j] for j in chain] == names[1:]


def test_centimetres_named_as_metres_are_noticed() -> None:
    canonical = canonical_skeleton()
    huge = Skeleton.build(canonical.joint_names, canonical.parents, canonical.rest_translations * 100)
    with pytest.raises(IncompatibleSkeleton, match="82 m long.*check the engine frame"):
        rig_from_skeleton(huge)


@pytest.mark.parametrize("frame", [EngineFrame.BLENDER, EngineFrame.UNREAL])
def test_a_z_up_rig_named_as_gltf_is_noticed(frame: EngineFrame) -> None:
    canonical = canonical_skeleton()
    rotations, translations = locals_to_frame(canonical.rest_rotations, canonical.rest_translations, frame)
    wrong = Skeleton.build(canonical.joint_names, canonical.parents, translations * frame.unit_m, rotations)
    with pytest.raises(IncompatibleSkeleton, match="does not stand upright in the engine frame"):
        rig_from_skeleton(wrong)


def test_a_unity_rig_named_as_gltf_is_noticed() -> None:
    canonical = canonical_skeleton()
    rotations, translations = locals_to_frame(canonical.rest_rotations, canonical.rest_translations, EngineFrame.UNITY)
    with pytest.raises(IncompatibleSkeleton, match="toes point backwards"):
        rig_from_skeleton(
            skeleton_from_frame(canonical.joint_names, canonical.parents, translations, rotations, EngineFrame.GLTF)
        )


def test_legs_of_no_length_are_refused() -> None:
    canonical = canonical_skeleton()
    offsets = canonical.rest_translations.copy()
    offsets[canonical.index["left_knee"]] = 0
    with pytest.raises(IncompatibleSkeleton, match="left_hip and left_knee are in one place"):
        rig_from_skeleton(Skeleton.build(canonical.joint_names, canonical.parents, offsets))


def test_a_rest_pose_lying_down_is_refused() -> None:
    canonical = canonical_skeleton()
    rotations = canonical.rest_rotations.copy()
    rotations[0] = from_axis_angle([1, 0, 0], np.pi / 2)
    lying = Skeleton.build(canonical.joint_names, canonical.parents, canonical.rest_translations, rotations)
    with pytest.raises(IncompatibleSkeleton, match="does not stand upright"):
        rig_from_skeleton(lying)


def test_absurd_offsets_name_the_joint() -> None:
    canonical = canonical_skeleton()
    offsets = canonical.rest_translations.copy()
    offsets[canonical.index["head"]] = 1e300
    with pytest.raises(IncompatibleSkeleton, match="'head' rests more than 1000 m"):
        rig_from_skeleton(Skeleton.build(canonical.joint_names, canonical.parents, offsets))
