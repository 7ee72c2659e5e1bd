"""Named rigs: their rest poses follow each engine's bone axes."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.errors import NotFound
from animoe.retarget.frames import EngineFrame, locals_to_frame
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.rig import Rig
from animoe.rig import canonical_skeleton
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import angle, inverse, multiply, rotate, to_matrix

NAMES = [profile.name for profile in rig_profiles()]
UNREAL = ["ue4_mannequin", "ue5_manny"]


def local_offset(rig: Rig, joint: str) -> np.ndarray:
    """Unit direction from the parent, in the parent's own axes, as Unreal shows it."""
    sk = rig.skeleton
    t = locals_to_frame(sk.rest_rotations, sk.rest_translations, EngineFrame.UNREAL)[1][sk.index[joint]]
    return t / np.linalg.norm(t)


def test_unknown_rig_suggests_near_names() -> None:
    with pytest.raises(NotFound, match="unknown rig 'ue5_many'; choose from ue5_manny"):
        rig_profile("ue5_many")
    with pytest.raises(NotFound, match="kaykit_medium, mixamo"):
        rig_profile("../../../etc/passwd")


def test_the_profiles_that_users_expect_are_there() -> None:
    assert {
        "kaykit_medium",
        "mixamo",
        "smplx",
        "ue4_mannequin",
        "ue5_manny",
        "unity_humanoid",
        "vrm1",
    } <= set(NAMES)


def test_profiles_tell_title_size_and_frame() -> None:
    profiles = {profile.name: profile for profile in rig_profiles()}
    assert profiles["ue5_manny"].frame is EngineFrame.UNREAL
    assert profiles["unity_humanoid"].frame is EngineFrame.UNITY
    for profile in profiles.values():
        assert profile.title and profile.note
        assert profile.joint_count == rig_profile(profile.name).skeleton.joint_count


@pytest.mark.parametrize("name", NAMES)
def test_rest_pose_is_mirror_symmetric(name: str) -> None:
    rig = rig_profile(name)
    positions = rig.skeleton.rest_model[1]
    for role, joints in rig.roles.items():
        if role.startswith("left_"):
            right = positions[rig.roles[role.replace("left_", "right_")][0]]
            np.testing.assert_allclose(positions[joints[0]] * [-1, 1, 1], right, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_rest_pose_stands_on_the_floor(name: str) -> None:
    rig = rig_profile(name)
    heights = rig.skeleton.rest_model[1][:, 1]
    assert 0 < min(heights[rig.roles[f"left_{j}"][0]] for j in ("ankle", "foot")) < 0.05


def test_smplx_is_the_canonical_body() -> None:
    assert rig_profile("smplx").skeleton.digest == canonical_skeleton().digest


@pytest.mark.parametrize("name", UNREAL)
def test_unreal_bones_lie_along_x_and_the_right_side_is_mirrored(name: str) -> None:
    rig = rig_profile(name)
    for joint, along in (("lowerarm", 1), ("hand", 1), ("calf", -1), ("foot", -1)):
        np.testing.assert_allclose(local_offset(rig, f"{joint}_l"), [along, 0, 0], atol=1e-9)
        np.testing.assert_allclose(local_offset(rig, f"{joint}_r"), [-along, 0, 0], atol=1e-9)
    np.testing.assert_allclose(local_offset(rig, "spine_02"), [1, 0, 0], atol=0.2)


@pytest.mark.parametrize("name", UNREAL)
def test_the_right_of_an_unreal_rig_is_the_left_turned_over(name: str) -> None:
    """Model axes of the right are those of the left mirrored in x = 0, then reversed: a rotation again."""
    sk = rig_profile(name).skeleton
    matrices = to_matrix(sk.rest_model[0])
    mirror = np.diag([-1.0, 1.0, 1.0])
    for joint in sk.joint_names:
        if joint.endswith("_l"):
            left, right = matrices[sk.index[joint]], matrices[sk.index[joint[:-1] + "r"]]
            np.testing.assert_allclose(right, -mirror @ left, atol=1e-9)


def test_manny_rests_in_its_a_pose() -> None:
    """Engine facts: pelvis X up, upper arm 55 degrees down, forearm 37 down and 54 forward."""
    sk = rig_profile("ue5_manny").skeleton
    rotations, translations = locals_to_frame(sk.rest_rotations, sk.rest_translations, EngineFrame.UNREAL)
    model, positions = local_to_model(rotations, translations, sk.parents)
    assert rotate(model[sk.index["pelvis"]], np.array([1.0, 0, 0]))[2] > 0.99

    def direction(a: str, b: str) -> np.ndarray:
        v = positions[sk.index[b]] - positions[sk.index[a]]
        return v / np.linalg.norm(v)

    upper, fore = direction("upperarm_l", "lowerarm_l"), direction("lowerarm_l", "hand_l")
    assert np.degrees(np.arcsin(-upper[2])) == pytest.approx(55, abs=1)
    assert np.degrees(np.arcsin(-fore[2])) == pytest.approx(37, abs=1)
    assert np.degrees(np.arctan2(fore[1], fore[0])) == pytest.approx(54, abs=1)  # Unreal: forward is +Y, left is +X


def test_mixamo_bones_lie_along_y() -> None:
    rig = rig_profile("mixamo")
    sk = rig.skeleton
    for joint in ("LeftForeArm", "RightHand", "LeftLeg", "RightFoot", "LeftToeBase"):
        offset = sk.rest_translations[sk.index[f"mixamorig:{joint}"]]
        np.testing.assert_allclose(offset / np.linalg.norm(offset), [0, 1, 0], atol=0.15)


@pytest.mark.parametrize("name", ["vrm1", "unity_humanoid"])
def test_normalised_humanoids_rest_at_identity(name: str) -> None:
    sk = rig_profile(name).skeleton
    assert angle(multiply(inverse(sk.rest_rotations), sk.rest_model[0])).max() == 0
