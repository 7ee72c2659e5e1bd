"""Roles from what names mean, in the words of several conventions."""

from __future__ import annotations

import pytest

from animoe.retarget.names import body_part, is_helper, roles_by_words
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.reading import Evidence, inspect_skeleton
from animoe.retarget.roles import find_roles, match_profile
from animoe.rig import Skeleton, canonical_skeleton


def named(skeleton: Skeleton, names: dict[str, str]) -> Skeleton:
    """The canonical skeleton under other names."""
    joints = [names.get(name, name) for name in skeleton.joint_names]
    return Skeleton.build(joints, skeleton.parents, skeleton.rest_translations, skeleton.rest_rotations)


def sided(table: dict[str, str]) -> dict[str, str]:
    """Canonical name -> name, from parts with {} for the side, for both sides."""
    sides = (("left", table["left"]), ("right", table["right"]))
    middle = {role: name for role, name in table.items() if role in ("pelvis", "neck", "head") or "spine" in role}
    limbs = {role: name for role, name in table.items() if role not in middle and role not in ("left", "right")}
    return {**middle, **{f"{side}_{role}": name.format(mark) for side, mark in sides for role, name in limbs.items()}}


CONVENTIONS = {
    "arm and forearm, shoulder is the clavicle": {
        "left": "Left", "right": "Right", "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2",
        "neck": "Neck", "head": "Head", "collar": "{}Shoulder", "shoulder": "{}Arm", "elbow": "{}ForeArm",
        "wrist": "{}Hand", "hip": "{}UpLeg", "knee": "{}Leg", "ankle": "{}Foot", "foot": "{}ToeBase",
    },
    "shoulder is the upper arm, hip the thigh": {
        "left": "l", "right": "r", "pelvis": "pelvis_jnt", "spine1": "torso_01", "spine2": "torso_02",
        "spine3": "torso_03", "neck": "neck_jnt", "head": "head_jnt", "collar": "{}_clav", "shoulder": "{}_shoulder",
        "elbow": "{}_elbow", "wrist": "{}_wrist", "hip": "{}_hip", "knee": "{}_knee", "ankle": "{}_ankle",
        "foot": "{}_ball",
    },
    "Blender sides": {
        "left": ".L", "right": ".R", "pelvis": "hips", "spine1": "spine.001", "spine2": "spine.002",
        "spine3": "chest.003", "neck": "neck", "head": "head", "collar": "shoulder{}", "shoulder": "upper_arm{}",
        "elbow": "forearm{}", "wrist": "hand{}", "hip": "thigh{}", "knee": "shin{}", "ankle": "foot{}",
        "foot": "toe{}",
    },
    "glued lower case": {
        "left": "l", "right": "r", "pelvis": "hips", "spine1": "lowerback", "spine2": "upperback", "spine3": "thorax",
        "neck": "lowerneck", "head": "head", "collar": "{}clavicle", "shoulder": "{}humerus", "elbow": "{}radius",
        "wrist": "{}wrist", "hip": "{}femur", "knee": "{}tibia", "ankle": "{}foot", "foot": "{}toes",
    },
    "leg and calf": {
        "left": "L ", "right": "R ", "pelvis": "Bip01 Pelvis", "spine1": "Bip01 Spine", "spine2": "Bip01 Spine1",
        "spine3": "Bip01 Spine2", "neck": "Bip01 Neck", "head": "Bip01 Head", "collar": "Bip01 {}Clavicle",
        "shoulder": "Bip01 {}UpperArm", "elbow": "Bip01 {}Forearm", "wrist": "Bip01 {}Hand", "hip": "Bip01 {}Leg",
        "knee": "Bip01 {}Calf", "ankle": "Bip01 {}Foot", "foot": "Bip01 {}Toe0",
    },
}  # fmt: skip


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_words_of_many_conventions_mean_the_same(convention: str) -> None:
    canonical = canonical_skeleton()
    found = roles_by_words(named(canonical, sided(CONVENTIONS[convention])))
    assert {role: joints[0] for role, joints in found.items()} == dict(canonical.index)


@pytest.mark.parametrize(
    ("name", "side", "part"),
    [
        ("mixamorig:LeftUpLeg", "left", "thigh"),
        ("J_Bip_R_LowerArm", "right", "forearm"),
        ("DEF-thigh.L", "left", "thigh"),
        ("rShldr", "right", "shoulder"),
        ("LHipJoint", "left", "hip"),
        ("Hips", "", "pelvis"),
        ("LUArm", "left", "upperarm"),
        ("左ひじ", "left", "forearm"),
        ("右足首", "right", "ankle"),
        ("left_right_thigh", "", ""),
        ("LeftHandIndex1", "left", ""),
        ("upperarm_twist_01_l", "left", ""),
    ],
)
def test_a_name_tells_side_and_part(name: str, side: str, part: str) -> None:
    assert body_part(name) == (side, part)


@pytest.mark.parametrize(
    "name", ["ik_foot_l", "thigh_twist_01_l", "kneeIK.l", "hand_ctrl", "HeadTop_End", "MCH-hand.L"]
)
def test_helpers_are_told_from_the_body(name: str) -> None:
    assert is_helper(name)
    assert not is_helper("Bip01 L Hand") and not is_helper("sphinx") and not is_helper("LeftHand")


@pytest.mark.parametrize("profile", [p.name for p in rig_profiles()])
def test_known_rigs_are_known_by_profile_and_geometry_agrees(profile: str) -> None:
    rig = rig_profile(profile)
    reading = inspect_skeleton(rig.skeleton)
    assert reading.profile is not None and dict(reading.roles) == dict(rig.roles)
    assert set(reading.evidence.values()) == {Evidence.PROFILE}
    assert reading.overall >= 0.9 and reading.notes == ()


def test_one_odd_name_is_filled_by_geometry_and_said_so() -> None:
    skeleton = rig_profile("mixamo").skeleton
    odd = named(skeleton, {"mixamorig:LeftLeg": "thingummy"})
    assert "left_knee" not in find_roles(odd) and match_profile(odd) is not None
    reading = inspect_skeleton(odd)
    assert reading.roles["left_knee"] == (odd.index["thingummy"],)
    assert reading.evidence["left_knee"] is Evidence.GEOMETRY and reading.evidence["right_knee"] is Evidence.PROFILE
    assert reading.confidence["left_knee"] < reading.confidence["right_knee"]


def test_swapped_names_of_a_limb_are_not_believed() -> None:
    """A knee that hangs above its hip is called wrongly: geometry says which is which."""
    skeleton = canonical_skeleton()
    swapped = named(skeleton, {"left_hip": "left_knee", "left_knee": "left_hip"})
    reading = inspect_skeleton(swapped)
    assert any("left_knee" in note for note in reading.notes)
    assert reading.overall < 0.9


def test_sides_named_the_wrong_way_round_are_pointed_out() -> None:
    skeleton = canonical_skeleton()
    other = {
        n: n.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right") for n in skeleton.joint_names
    }
    reading = inspect_skeleton(named(skeleton, other))
    assert reading.roles["left_knee"] == (skeleton.index["right_knee"],)  # names are believed
    assert reading.overall < 0.75 and any("geometry says" in note for note in reading.notes)
