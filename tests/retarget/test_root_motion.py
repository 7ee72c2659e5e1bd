"""Root motion: the same performance, its way in the pelvis, beside the pose, or on a root bone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from animoe.errors import InvalidRequest, NotFound, ShapeError
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.frames import EngineFrame, positions_from_frame, rotations_from_frame
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.root_motion import RootMotion, check_root_motion
from animoe.retarget.solver import Retargeter, RetargetOptions, RigBlock
from animoe.rig import Skeleton, canonical_skeleton
from animoe.rig.rotations import angle, from_yaw, inverse, multiply, rotate

PROFILES = rig_profiles()
FRAMES = list(EngineFrame)


def performed(
    rig: Rig, block: PoseBlock, mode: RootMotion, frame: EngineFrame = EngineFrame.GLTF, *, lock: bool = True
) -> tuple[RigBlock, np.ndarray, np.ndarray]:
    """The block, and world rotations and positions of all joints in our axes."""
    retargeter = Retargeter(rig, frame, RetargetOptions(mode, foot_lock=lock))
    out = retargeter.apply(block)
    return out, *retargeter.to_clip([out]).world()


def way_of(out: RigBlock, frame: EngineFrame) -> tuple[np.ndarray, np.ndarray]:
    """Root positions and rotations in our axes, metres."""
    return positions_from_frame(out.root_positions, frame), rotations_from_frame(out.root_rotations, frame)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_in_place_stays_over_the_origin_and_faces_ahead(profile: object, walk: PoseBlock) -> None:
    rig = rig_profile(profile.name)  # type: ignore[attr-defined]
    pelvis = rig.roles["pelvis"][0]
    travelled = performed(rig, walk, RootMotion.WORLD)[2][:, pelvis]
    _, rotations, positions = performed(rig, walk, RootMotion.IN_PLACE)
    assert np.linalg.norm(travelled[-1] - travelled[0]) > 0.5
    assert np.abs(positions[:, pelvis][:, [0, 2]]).max() < 0.05
    turned = multiply(rotations[:, pelvis], inverse(rig.skeleton.rest_model[0][pelvis]))
    ahead = rotate(turned, np.broadcast_to([0.0, 0.0, 1.0], (60, 3)))
    assert np.abs(np.arctan2(ahead[:, 0], ahead[:, 2])).max() < np.radians(15)  # the path turns by 68


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", ["ue5_manny", "mixamo"])
def test_the_way_put_on_the_pose_in_place_is_the_world(name: str, frame: EngineFrame, walk: PoseBlock) -> None:
    rig = rig_profile(name)
    body = slice(rig.roles["pelvis"][0], None)  # not the root on the floor, which stays where it is in both
    _, rotations, positions = performed(rig, walk, RootMotion.WORLD, frame)
    out, own_rotations, own_positions = performed(rig, walk, RootMotion.IN_PLACE, frame)
    place, heading = way_of(out, frame)
    moved = place[:, None] + rotate(heading[:, None], own_positions)
    np.testing.assert_allclose(moved[:, body], positions[:, body], atol=1e-6)
    turned = multiply(np.broadcast_to(heading[:, None], own_rotations.shape), own_rotations)
    assert angle(multiply(inverse(turned), rotations))[:, body].max() < 1e-6


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", ["ue5_manny", "ue4_mannequin", "kaykit_medium"])
def test_a_root_bone_carries_the_body_to_where_the_world_has_it(name: str, frame: EngineFrame, walk: PoseBlock) -> None:
    rig = rig_profile(name)
    body = slice(1, None)
    _, rotations, positions = performed(rig, walk, RootMotion.WORLD, frame)
    out, own_rotations, own_positions = performed(rig, walk, RootMotion.ROOT_BONE, frame)
    np.testing.assert_allclose(own_positions[:, body], positions[:, body], atol=1e-6)
    assert angle(multiply(inverse(own_rotations), rotations))[:, body].max() < 1e-6
    place, heading = way_of(out, frame)
    np.testing.assert_allclose(own_positions[:, 0], place, atol=1e-9)
    rest = np.broadcast_to(rig.skeleton.rest_rotations[0], heading.shape)
    assert angle(multiply(inverse(own_rotations[:, 0]), multiply(heading, rest))).max() < 1e-6


def test_the_root_bone_streams_first(walk: PoseBlock) -> None:
    rig = rig_profile("ue5_manny")
    names = {
        mode: [rig.skeleton.joint_names[j] for j in Retargeter(rig, options=RetargetOptions(mode)).translated_joints]
        for mode in RootMotion
    }
    assert names == {
        RootMotion.WORLD: ["pelvis"],
        RootMotion.IN_PLACE: ["pelvis"],
        RootMotion.ROOT_BONE: ["root", "pelvis"],
    }


@pytest.mark.parametrize("mode", list(RootMotion))
def test_the_way_is_told_in_every_mode_and_starts_at_the_origin(mode: RootMotion, walk: PoseBlock) -> None:
    rig = rig_profile("ue5_manny")
    out = performed(rig, walk, mode, EngineFrame.UNREAL)[0]
    world = performed(rig, walk, RootMotion.WORLD, EngineFrame.UNREAL)[0]
    np.testing.assert_allclose(out.root_positions, world.root_positions, atol=1e-9)
    assert np.abs(out.root_positions[:, 2]).max() < 1e-9, "on the floor; Z is up"
    assert np.abs(out.root_rotations[:, :2]).max() < 1e-9, "about the up axis"
    np.testing.assert_allclose(np.linalg.norm(out.root_rotations, axis=-1), 1.0, atol=1e-9)
    assert np.linalg.norm(out.root_positions[0]) < 10 < np.linalg.norm(out.root_positions[-1]), "centimetres"


def test_a_rig_without_a_root_bone_stays_in_place(walk: PoseBlock) -> None:
    rig = rig_profile("mixamo")
    in_place, root_bone = (performed(rig, walk, mode)[0] for mode in (RootMotion.IN_PLACE, RootMotion.ROOT_BONE))
    np.testing.assert_array_equal(in_place.local_rotations, root_bone.local_rotations)
    np.testing.assert_array_equal(in_place.local_translations, root_bone.local_translations)
    with pytest.raises(InvalidRequest, match="above the pelvis, which rig 'mixamo' lacks; use in-place"):
        check_root_motion(RootMotion.ROOT_BONE, rig)
    check_root_motion(RootMotion.IN_PLACE, rig)
    check_root_motion(RootMotion.ROOT_BONE, rig_profile("ue5_manny"))


def test_a_rig_that_rests_facing_backwards_goes_where_it_faces(walk: PoseBlock) -> None:
    skeleton = canonical_skeleton()
    turns = skeleton.rest_rotations.copy()
    turns[0] = from_yaw(np.pi)
    rig = rig_from_skeleton(Skeleton.build(skeleton.joint_names, skeleton.parents, skeleton.rest_translations, turns))
    positions = performed(rig, walk, RootMotion.WORLD)[2]
    out, _, own = performed(rig, walk, RootMotion.IN_PLACE)
    np.testing.assert_allclose(
        out.root_positions[:, None] + rotate(out.root_rotations[:, None], own), positions, atol=1e-6
    )
    assert out.root_positions[-1, 2] < -0.5


def test_modes_are_named_with_either_dash() -> None:
    assert [RootMotion.parse(name) for name in ("world", "in-place", "In_Place", " root-bone ")] == [
        RootMotion.WORLD,
        RootMotion.IN_PLACE,
        RootMotion.IN_PLACE,
        RootMotion.ROOT_BONE,
    ]
    with pytest.raises(NotFound, match="unknown root motion 'sideways'; choose from world, in-place, root-bone"):
        RootMotion.parse("sideways")


def part(block: PoseBlock, start: int, end: int, *, headings: bool) -> PoseBlock:
    known = block.headings[start:end] if headings and block.headings is not None else None
    arrays = (block.local_rotations, block.root_positions, block.contacts)
    return PoseBlock(start, *(array[start:end] for array in arrays), known)


@pytest.mark.parametrize("mode", [RootMotion.IN_PLACE, RootMotion.ROOT_BONE])
@pytest.mark.parametrize("size", [1, 4, 7])
def test_blocks_of_any_size_take_the_same_way(mode: RootMotion, size: int, walk: PoseBlock) -> None:
    walk = replace(walk, headings=np.linspace(0.0, 1.2, 60))
    retargeter = Retargeter(rig_profile("ue5_manny"), EngineFrame.UNREAL, RetargetOptions(mode, foot_lock=True))
    whole, state = retargeter.apply(walk), retargeter.start()
    parts = [retargeter.apply(part(walk, s, s + size, headings=True), state) for s in range(0, 60, size)]
    for name in ("local_rotations", "local_translations", "root_positions", "root_rotations"):
        joined = np.concatenate([getattr(block, name) for block in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), atol=1e-6)


@pytest.mark.parametrize("mode", [RootMotion.IN_PLACE, RootMotion.ROOT_BONE])
def test_a_stream_without_headings_is_refused(mode: RootMotion, walk: PoseBlock) -> None:
    """Guessed from four frames, the heading would jump at every block."""
    retargeter = Retargeter(rig_profile("ue5_manny"), options=RetargetOptions(mode))
    with pytest.raises(InvalidRequest, match=r"needs the headings of every block.*set PoseBlock\.headings"):
        retargeter.apply(part(walk, 0, 4, headings=False), retargeter.start())
    world = Retargeter(rig_profile("ue5_manny"))
    world.apply(part(walk, 0, 4, headings=False), world.start())


def test_headings_of_another_length_are_refused(walk: PoseBlock) -> None:
    retargeter = Retargeter(rig_profile("ue5_manny"), options=RetargetOptions(RootMotion.IN_PLACE))
    with pytest.raises(ShapeError, match=r"needs headings \(60,\), got \(59,\)"):
        retargeter.apply(replace(walk, headings=np.zeros(59)))
