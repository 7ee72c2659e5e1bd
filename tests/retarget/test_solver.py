"""Canonical motion on other rigs: directions, angles, feet, frames."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from animoe.errors import InvalidRequest, ShapeError
from animoe.motion.clip import Clip
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.frames import EngineFrame, locals_from_frame
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.solver import Retargeter
from animoe.rig import CANONICAL_JOINTS, Skeleton, canonical_skeleton
from animoe.rig.rotations import (
    IDENTITY,
    angle,
    from_axis_angle,
    from_yaw,
    inverse,
    multiply,
    normalize,
    rotate,
)

NAMES = [profile.name for profile in rig_profiles()]
ATOL_M = 1e-9
ATOL_RAD = 1e-6
FEET = [f"{side}_{joint}" for side in ("left", "right") for joint in ("ankle", "foot")]


def canonical_clip(block: PoseBlock) -> Clip:
    return Clip.from_root(canonical_skeleton(), 30.0, block.local_rotations, block.root_positions)


def on_rig(rig: Rig, block: PoseBlock, frame: EngineFrame = EngineFrame.GLTF) -> Clip:
    retargeter = Retargeter(rig, frame)
    return retargeter.to_clip([retargeter.apply(block)])


def positions_of(rig: Rig, clip: Clip, role: str) -> np.ndarray:
    return clip.world()[1][:, rig.roles[role][0]]


def bone(positions: np.ndarray) -> np.ndarray:
    return positions / np.linalg.norm(positions, axis=-1, keepdims=True)


def hinge(rig: Rig, clip: Clip, upper: str, middle: str, lower: str) -> np.ndarray:
    """(T,) degrees between the two bones at a joint."""
    a, b, c = (positions_of(rig, clip, role) for role in (upper, middle, lower))
    return np.degrees(np.arccos(np.clip(np.sum(bone(b - a) * bone(c - b), axis=-1), -1, 1)))


@pytest.fixture(scope="module")
def canonical_rig() -> Rig:
    return rig_from_skeleton(canonical_skeleton())


def test_blocks_of_another_shape_are_refused(canonical_rig: Rig) -> None:
    with pytest.raises(ShapeError, match=r"local rotations \(4, 22, 4\)"):
        Retargeter(canonical_rig).apply(PoseBlock(0, np.zeros((4, 21, 4)), np.zeros((4, 3)), np.zeros((4, 4))))


def test_a_clip_of_no_blocks_is_refused(canonical_rig: Rig) -> None:
    with pytest.raises(InvalidRequest, match="at least one block"):
        Retargeter(canonical_rig).to_clip([])


def test_the_canonical_rig_gets_the_motion_unchanged(canonical_rig: Rig) -> None:
    rng = np.random.default_rng(3)
    rotations = normalize(rng.normal(size=(20, 22, 4)) * 0.4 + IDENTITY)
    block = PoseBlock(8, rotations, rng.normal(size=(20, 3)), rng.random((20, 4)))
    out = Retargeter(canonical_rig).apply(block)
    assert out.first_frame == 8
    assert angle(multiply(inverse(rotations), out.local_rotations)).max() < ATOL_RAD
    np.testing.assert_allclose(out.local_translations[:, 0], block.root_positions, atol=ATOL_M)
    np.testing.assert_array_equal(out.contacts, block.contacts)


@pytest.mark.parametrize("name", NAMES)
def test_t_pose_reaches_every_rig(name: str, t_pose: PoseBlock) -> None:
    """Arms horizontal in the world although Unreal rigs rest in an A-pose, and legs vertical."""
    rig = rig_profile(name)
    clip = on_rig(rig, t_pose)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        joints = [positions_of(rig, clip, f"{side}_{j}") for j in ("shoulder", "elbow", "wrist")]
        for bones in np.diff(joints, axis=0):
            np.testing.assert_allclose(bone(bones), [[sign, 0, 0]] * 4, atol=1e-9)
        shin = positions_of(rig, clip, f"{side}_ankle") - positions_of(rig, clip, f"{side}_knee")
        np.testing.assert_allclose(bone(shin), [[0, -1, 0]] * 4, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_limbs_point_where_the_canonical_ones_do(name: str, walk: PoseBlock) -> None:
    rig, source, ours = rig_profile(name), canonical_clip(walk), rig_from_skeleton(canonical_skeleton())
    clip = on_rig(rig, walk)
    for side in ("left", "right"):
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            got = bone(positions_of(rig, clip, f"{side}_{b}") - positions_of(rig, clip, f"{side}_{a}"))
            wanted = bone(positions_of(ours, source, f"{side}_{b}") - positions_of(ours, source, f"{side}_{a}"))
            np.testing.assert_allclose(got, wanted, atol=1e-9)
        for joints in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")):
            roles = [f"{side}_{joint}" for joint in joints]
            np.testing.assert_allclose(hinge(rig, clip, *roles), hinge(ours, source, *roles), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_feet_stand_on_the_floor(name: str, walk: PoseBlock) -> None:
    rig = rig_profile(name)
    rest = rig.skeleton.rest_model[1]
    clip = on_rig(rig, walk)
    clearance = np.stack([positions_of(rig, clip, role)[:, 1] - rest[rig.roles[role][0], 1] for role in FEET], axis=-1)
    np.testing.assert_allclose(clearance.min(axis=1), 0, atol=1e-9)
    assert min(positions_of(rig, clip, role)[:, 1].min() for role in FEET) > 0


def test_a_jump_keeps_its_height_in_leg_lengths(t_pose: PoseBlock) -> None:
    jump = replace(t_pose, root_positions=t_pose.root_positions + [0, 0.4, 0])
    rig = rig_profile("kaykit_medium")
    rest = rig.skeleton.rest_model[1][rig.roles["left_ankle"][0], 1]
    height = positions_of(rig, on_rig(rig, jump), "left_ankle")[0, 1] - rest
    assert height == pytest.approx(0.4 * 0.38 / 0.82, abs=1e-6)  # leg lengths of the two rigs


@pytest.mark.parametrize("name", NAMES)
def test_travel_scales_with_the_legs(name: str, walk: PoseBlock) -> None:
    rig = rig_profile(name)
    clip = on_rig(rig, walk)
    legs = np.linalg.norm(
        np.diff(rig.skeleton.rest_model[1][[rig.roles[f"left_{j}"][0] for j in ("hip", "knee", "ankle")]], axis=0),
        axis=-1,
    )
    hips = (positions_of(rig, clip, "left_hip") + positions_of(rig, clip, "right_hip")) / 2
    source = canonical_clip(walk).world()[1][:, [1, 2]].mean(axis=1)
    travelled = (hips[-1] - hips[0])[[0, 2]]
    np.testing.assert_allclose(travelled, (source[-1] - source[0])[[0, 2]] * legs.sum() / 0.82, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frame", list(EngineFrame))
def test_every_frame_shows_the_same_motion(name: str, frame: EngineFrame, walk: PoseBlock) -> None:
    rig = rig_profile(name)
    ours, theirs = on_rig(rig, walk), on_rig(rig, walk, frame)
    assert angle(multiply(inverse(ours.local_rotations), theirs.local_rotations)).max() < ATOL_RAD
    np.testing.assert_allclose(theirs.local_translations, ours.local_translations, atol=ATOL_M)


def test_unreal_numbers_are_centimetres_in_the_pelvis(t_pose: PoseBlock) -> None:
    rig = rig_profile("ue5_manny")
    retargeter = Retargeter(rig, EngineFrame.UNREAL)
    moved = replace(t_pose, root_positions=t_pose.root_positions + [0.0, 0.0, 1.0])
    out = retargeter.apply(moved)
    assert [rig.skeleton.joint_names[j] for j in retargeter.translated_joints] == ["pelvis"]
    still = retargeter.apply(t_pose).local_translations
    np.testing.assert_allclose(out.local_translations - still, [[[0, 104, 0]]] * 4, atol=1e-6)  # +Y is forward
    np.testing.assert_allclose(out.local_rotations[:, 0], [IDENTITY] * 4, atol=1e-12)  # root stays


def test_rest_arrays_are_in_the_frame() -> None:
    rig = rig_profile("ue5_manny")
    retargeter = Retargeter(rig, EngineFrame.UNREAL_ACTOR)
    back = locals_from_frame(retargeter.rest_rotations, retargeter.rest_translations, EngineFrame.UNREAL_ACTOR)
    np.testing.assert_allclose(back[0], rig.skeleton.rest_rotations, atol=1e-12)
    np.testing.assert_allclose(back[1], rig.skeleton.rest_translations, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_any_size_give_the_same_frames(name: str, walk: PoseBlock) -> None:
    retargeter = Retargeter(rig_profile(name))
    whole = retargeter.apply(walk)
    parts = [
        retargeter.apply(PoseBlock(s, walk.local_rotations[s:e], walk.root_positions[s:e], walk.contacts[s:e]))
        for s, e in ((0, 1), (1, 5), (5, 60))
    ]
    np.testing.assert_allclose(np.concatenate([p.local_rotations for p in parts]), whole.local_rotations, atol=1e-12)
    np.testing.assert_allclose(
        np.concatenate([p.local_translations for p in parts]), whole.local_translations, atol=1e-12
    )


def test_a_long_spine_shares_the_bend_and_ends_where_ours_does(t_pose: PoseBlock) -> None:
    rotations = t_pose.local_rotations.copy()
    for name in ("spine1", "spine2", "spine3"):
        rotations[:, CANONICAL_JOINTS.index(name)] = from_axis_angle([1, 0, 0], 0.3)
    rig = rig_profile("ue5_manny")
    rest = rig.skeleton.rest_model[0]
    model = on_rig(rig, replace(t_pose, local_rotations=rotations)).world()[0][0]
    chain = [j for role in ("spine1", "spine2", "spine3") for j in rig.roles[role]]
    bends = [angle(multiply(model[j], inverse(rest[j]))) for j in chain]
    np.testing.assert_allclose(bends, 0.9 * np.arange(1, 6) / 5, atol=1e-6)


def test_joints_without_a_role_keep_their_rest_rotation(walk: PoseBlock) -> None:
    rig = rig_profile("kaykit_medium")
    hand = rig.skeleton.index["hand.l"]
    clip = on_rig(rig, walk)
    assert angle(multiply(inverse(rig.skeleton.rest_rotations[hand]), clip.local_rotations[:, hand])).max() < ATOL_RAD


def test_a_rig_that_rests_facing_backwards_walks_where_it_faces(t_pose: PoseBlock) -> None:
    canonical = canonical_skeleton()
    rotations = canonical.rest_rotations.copy()
    rotations[0] = from_yaw(np.pi)
    rig = rig_from_skeleton(
        Skeleton.build(canonical.joint_names, canonical.parents, canonical.rest_translations, rotations)
    )
    moved = replace(t_pose, root_positions=t_pose.root_positions + [0.3, 0.0, 1.0])
    clip = on_rig(rig, moved)
    np.testing.assert_allclose(clip.root_positions[0], [-0.3, 0.97, -1.0], atol=1e-9)
    np.testing.assert_allclose(rotate(clip.local_rotations[0, 0], np.array([0.0, 0, 1])), [0, 0, -1], atol=1e-9)


def test_limbs_that_do_not_hang_on_the_pelvis_follow_it(walk: PoseBlock) -> None:
    """Pelvis and thighs side by side under a root: all three get translations."""
    canonical = canonical_skeleton()
    names = ("root", *canonical.joint_names)
    parents = [-1, *(canonical.parents + 1)]
    offsets = np.vstack([[0.0, 0, 0], canonical.rest_translations])
    for side in ("left_hip", "right_hip"):
        joint = names.index(side)
        parents[joint], offsets[joint] = 0, canonical.rest_model[1][joint - 1]
    rig = rig_from_skeleton(Skeleton.build(names, parents, offsets))
    clip, source = on_rig(rig, walk), canonical_clip(walk)
    np.testing.assert_allclose(clip.world()[1][:, 1:], source.world()[1], atol=1e-9)


def test_a_block_of_four_frames_takes_well_under_a_frame(walk: PoseBlock) -> None:
    """0.1 ms measured on an idle core; the bound leaves room for a busy machine."""
    retargeter = Retargeter(rig_profile("ue5_manny"), EngineFrame.UNREAL)
    block = PoseBlock(0, walk.local_rotations[:4], walk.root_positions[:4], walk.contacts[:4])
    times = []
    for _ in range(50):
        start = time.perf_counter()
        retargeter.apply(block)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5e-3
