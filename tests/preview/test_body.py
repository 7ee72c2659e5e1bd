"""Bodies: odd skeletons, sides, what is left out, which way a character faces."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.errors import IncompatibleSkeleton
from animoe.preview import Body
from animoe.preview.anatomy import CENTRE, LEFT, RIGHT, Anatomy, side_of_name
from animoe.rig import Skeleton, canonical_skeleton

CANONICAL = canonical_skeleton()


def extended(*rows: tuple[str, str, tuple[float, float, float]]) -> Skeleton:
    """The canonical skeleton under a root on the floor, as Unreal has it, plus joints (name, parent, offset)."""
    names = ["root", *CANONICAL.joint_names]
    parents = [-1, *(int(p) + 1 for p in CANONICAL.parents)]
    offsets = [[0.0, 0, 0], *CANONICAL.rest_translations.tolist()]
    for name, parent, offset in rows:
        parents.append(names.index(parent))
        names.append(name)
        offsets.append(list(offset))
    return Skeleton.build(names, parents, offsets)


def spine_pose(skeleton: Skeleton) -> np.ndarray:
    return skeleton.rest_model[1]


def test_a_skeleton_without_any_length_is_refused() -> None:
    with pytest.raises(IncompatibleSkeleton, match="length zero"):
        Body.of(Skeleton.build(["a", "b"], [-1, 0], np.zeros((2, 3))))


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("LeftArm", LEFT),
        ("mixamorig:RightFoot", RIGHT),
        ("hand_l", LEFT),
        ("upperarm.r", RIGHT),
        ("L_Wrist", LEFT),
        ("RThumb", RIGHT),
        ("LHipJoint", LEFT),
        ("Bip01 R Toe0", RIGHT),
        ("CC_Base_L_Calf", LEFT),
        ("UpperLeg_R", RIGHT),
        ("LowerBack", CENTRE),
        ("Neck1", CENTRE),
        ("pelvis", CENTRE),
        ("thigh_twist_01_l", LEFT),
    ],
)
def test_sides_are_read_from_names(name: str, side: int) -> None:
    assert side_of_name(name) == side


def test_anatomy_of_the_canonical_skeleton() -> None:
    anatomy, names = Anatomy(CANONICAL), CANONICAL.joint_names
    assert [names[j] for j in anatomy.spine] == ["pelvis", "spine1", "spine2", "spine3"]
    assert [names[j] for j in anatomy.head_chain] == ["spine3", "neck", "head"]
    assert names[anatomy.limbs[anatomy.chest][LEFT]] == "left_collar"


def test_limbs_carry_the_tint_of_their_side() -> None:
    body = Body.of(CANONICAL)
    start, end = body.cones(spine_pose(CANONICAL))
    middle = (start + end)[:, 0] / 2
    assert (middle[body.tints == LEFT] > 0.02).all() and (middle[body.tints == RIGHT] < -0.02).all()
    assert (body.tints == LEFT).sum() == (body.tints == RIGHT).sum() > 4


def test_limbs_grow_thinner_outwards() -> None:
    body = Body.of(CANONICAL)
    limbs = body.tints != CENTRE
    thigh, hand = body.radii[limbs].max(), body.radii[limbs].min()
    assert 0.07 < thigh < 0.1 and 0.015 < hand < 0.035


def test_body_scales_with_the_skeleton() -> None:
    half = Skeleton.build(CANONICAL.joint_names, CANONICAL.parents, CANONICAL.rest_translations / 2)
    np.testing.assert_allclose(Body.of(half).radii, Body.of(CANONICAL).radii / 2, rtol=1e-5)


def test_root_ik_and_helper_bones_are_not_drawn() -> None:
    rig = extended(
        ("ik_foot_root", "root", (0, 0, 0)),
        ("ik_foot_l", "ik_foot_root", (0.1, 0.0, 0.9)),
        ("ik_foot_r", "ik_foot_root", (-0.1, 0.0, 0.9)),
        ("handslot.l", "left_wrist", (0.4, 0, 0)),
        ("kneeIK.l", "root", (0.1, 0.5, 1.0)),
        ("ik_toe_target", "left_foot", (0.0, 0.0, 2.0)),
    )
    plain, body = Body.of(CANONICAL), Body.of(rig)
    assert len(body.radii) == len(plain.radii)
    start, end = body.cones(spine_pose(rig))
    assert np.concatenate([start, end])[:, 2].max() < 0.4, "nothing reaches to the IK targets"
    np.testing.assert_allclose(body.span_m, plain.span_m, rtol=1e-6)
    assert rig.joint_names[body.pelvis] == "pelvis"


def test_twist_joints_stay_inside_the_limb_and_fingers_are_thin() -> None:
    rig = extended(
        ("left_twist", "left_shoulder", (0.13, 0, 0)),
        ("left_index", "left_wrist", (0.09, 0, 0.02)),
        ("left_index2", "left_index", (0.04, 0, 0)),
        ("left_pinky", "left_wrist", (0.08, 0, -0.03)),
    )
    body = Body.of(rig)
    ends_at = {name: int(np.argmax(body.weights[:, 1, rig.index[name]] == 1)) for name in rig.joint_names[23:]}
    upper_arm = int(np.argmax(body.weights[:, 1, rig.index["left_elbow"]] == 1))
    assert body.radii[ends_at["left_twist"]].max() <= body.radii[upper_arm].max() + 1e-6
    for finger in ("left_index", "left_index2", "left_pinky"):
        assert body.radii[ends_at[finger]].max() < 0.02


def test_a_rest_pose_with_all_bones_up_makes_the_same_body() -> None:
    """Many BVH files have one: only bone lengths may count."""
    lengths = np.linalg.norm(CANONICAL.rest_translations, axis=-1, keepdims=True)
    side = np.sign(CANONICAL.rest_translations[:, :1]) * 0.01
    upwards = np.concatenate([side, lengths, np.zeros_like(lengths)], axis=-1)
    upwards *= lengths / np.linalg.norm(upwards, axis=-1, keepdims=True)
    rig = Skeleton.build(CANONICAL.joint_names, CANONICAL.parents, upwards)
    np.testing.assert_allclose(Body.of(rig).radii, Body.of(CANONICAL).radii, rtol=1e-5)


def test_names_without_sides_fall_back_on_the_rest_pose() -> None:
    rig = Skeleton.build([f"joint{i}" for i in range(22)], CANONICAL.parents, CANONICAL.rest_translations)
    np.testing.assert_array_equal(Body.of(rig).tints, Body.of(CANONICAL).tints)


def test_a_chain_without_limbs_is_drawn_bone_by_bone() -> None:
    body = Body.of(Skeleton.build(["a", "b", "c"], [-1, 0, 1], [[0, 0, 0], [0, 1, 0], [0, 1, 0]]))
    assert len(body.radii) == 2 and len(body.across) == 0


@pytest.mark.parametrize("yaw", [0.0, 1.0, 3.0, -2.0])
def test_facing_is_found_from_positions(make_walk, yaw: float) -> None:
    np.testing.assert_allclose(Body.of(CANONICAL).facing(make_walk(yaw=yaw).world()[1]), yaw, atol=1e-6)
