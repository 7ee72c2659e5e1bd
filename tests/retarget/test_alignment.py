"""The canonical skeleton posed like a rig at rest."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.errors import IncompatibleSkeleton
from animoe.retarget.alignment import CANONICAL_INDEX, match_rest
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.rig import CANONICAL_JOINTS, Skeleton, canonical_skeleton
from animoe.rig.rotations import angle, from_axis_angle, from_yaw, inverse, multiply, rotate

ROLES = {name: (i,) for i, name in enumerate(CANONICAL_JOINTS)}
ATOL_RAD = 1e-7


def turned(rotation: np.ndarray) -> Skeleton:
    """The canonical skeleton lying or facing elsewhere at rest."""
    c = canonical_skeleton()
    rotations = c.rest_rotations.copy()
    rotations[0] = rotation
    return Skeleton.build(c.joint_names, c.parents, c.rest_translations, rotations)


def test_hips_in_one_place_are_refused() -> None:
    c = canonical_skeleton()
    offsets = c.rest_translations * [0, 1, 1]
    with pytest.raises(IncompatibleSkeleton, match="cannot tell left and up"):
        match_rest(Skeleton.build(c.joint_names, c.parents, offsets), ROLES)


def test_legs_of_no_length_are_refused() -> None:
    c = canonical_skeleton()
    offsets = c.rest_translations.copy()
    offsets[c.index["left_ankle"]] = 0
    with pytest.raises(IncompatibleSkeleton, match="no length"):
        match_rest(Skeleton.build(c.joint_names, c.parents, offsets), ROLES)


def test_the_canonical_skeleton_matches_itself_unturned() -> None:
    match = match_rest(canonical_skeleton(), ROLES)
    assert angle(match.match).max() < ATOL_RAD
    assert match.leg_ratio == pytest.approx(1.0)


@pytest.mark.parametrize(
    "turn", [from_yaw(2.0), from_axis_angle([1, 0, 0], -np.pi / 2), from_axis_angle([0, 0, 1], 0.8)]
)
def test_a_turned_rest_pose_turns_the_match(turn: np.ndarray) -> None:
    """Z-up files and rigs that face elsewhere: the body frame follows, exactly."""
    match = match_rest(turned(turn), ROLES)
    lean = 0.06 if abs(turn[2]) > 0.1 else ATOL_RAD  # off the axes, the canonical chest's own lean counts
    assert angle(multiply(inverse(turn), match.body)) < lean


def test_a_slight_lean_is_the_rigs_rest_shape() -> None:
    match = match_rest(turned(from_axis_angle([1, 0, 0], np.radians(10))), ROLES)
    assert angle(match.body) < ATOL_RAD


@pytest.mark.parametrize("name", [p.name for p in rig_profiles()])
def test_matched_limbs_point_along_the_rigs(name: str) -> None:
    rig = rig_profile(name)
    match = match_rest(rig.skeleton, rig.roles)
    rest = canonical_skeleton().rest_model[1]
    for side in ("left", "right"):
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            i, j = CANONICAL_INDEX[f"{side}_{a}"], CANONICAL_INDEX[f"{side}_{b}"]
            posed = rotate(match.match[i], rest[j] - rest[i])
            start, end = (rig.roles[f"{side}_{joint}"][0] for joint in (a, b))
            own = match.rest_positions[end] - match.rest_positions[start]
            np.testing.assert_allclose(posed / np.linalg.norm(posed), own / np.linalg.norm(own), atol=1e-9)


def test_bent_elbows_match_by_their_hinge_alone() -> None:
    """Manny's forearm is bent at rest: the match adds no twist about the forearm."""
    rig = rig_profile("ue5_manny")
    match = match_rest(rig.skeleton, rig.roles).match
    hinge = multiply(inverse(match[CANONICAL_INDEX["left_shoulder"]]), match[CANONICAL_INDEX["left_elbow"]])
    assert abs(hinge[0]) < 1e-9 and angle(hinge) > 0.5  # x is along the bone


def test_feet_turn_to_the_toes_and_stay_flat() -> None:
    rig = rig_profile("ue5_manny")  # toes 10 degrees outwards
    match = match_rest(rig.skeleton, rig.roles).match
    for role, sign in (("left_ankle", 1), ("right_ankle", -1)):
        assert np.degrees(angle(match[CANONICAL_INDEX[role]])) == pytest.approx(10, abs=1e-6)
        assert rotate(match[CANONICAL_INDEX[role]], np.array([0.0, 0, 1]))[0] * sign > 0


def test_absent_roles_follow_their_parents() -> None:
    rig = rig_profile("ue4_mannequin")
    roles = {r: j for r, j in rig.roles.items() if not r.endswith(("wrist", "foot"))}
    match = match_rest(rig.skeleton, roles).match
    np.testing.assert_allclose(match[CANONICAL_INDEX["left_wrist"]], match[CANONICAL_INDEX["left_elbow"]])
    assert angle(match[CANONICAL_INDEX["left_ankle"]]) < ATOL_RAD
