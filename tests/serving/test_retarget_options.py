"""Root motion, foot lock and reach over a real server: asked for, said in the header, done in the frames."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from animoe.client import Client, ClientError, CustomRig, FrameBlock, Motion
from animoe.engine import Engine
from animoe.engine.requests import ClipRequest, Sampling, SessionRequest
from animoe.errors import InvalidRequest
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile
from animoe.retarget.root_motion import RootMotion
from animoe.retarget.solver import Retargeter, RetargetOptions
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import rotate
from animoe.serving.convert import retarget_options_from_proto, retarget_options_to_proto
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, skeleton_pb2

WALK = "a person walks forward"
SECONDS = 2.0


def positions(motion: Motion) -> np.ndarray:
    """(T, J, 3) in the stream's frame and unit."""
    return local_to_model(motion.local_rotations.astype(np.float64), motion.all_translations, motion.header.parents)[1]


def expected(engine: Engine, options: RetargetOptions, rig: str = "ue5_manny") -> np.ndarray:
    """Local rotations of the same clip, retargeted here."""
    retargeter = Retargeter(rig_profile(rig), EngineFrame.GLTF, options)
    state = retargeter.start()
    blocks = engine.generate(ClipRequest(WALK, SECONDS, None, Sampling(seed=3)))
    return np.concatenate([retargeter.apply(block, state).local_rotations for block in blocks])


def clip(client: Client, **options: object) -> Motion:
    return client.generate(WALK, seconds=SECONDS, seed=3, frame="gltf", **options).read_all()  # type: ignore[arg-type]


def live(client: Client, **options: object) -> Motion:
    with client.animate(WALK, seed=3, frame="gltf", **options) as stream:  # type: ignore[arg-type]
        blocks: list[FrameBlock] = []
        for event in stream:
            if isinstance(event, FrameBlock):
                blocks.append(event)
            if len(blocks) == 15:
                break
        return Motion.join(stream.header, blocks)


def test_feet_are_locked_unless_that_is_turned_off(client: Client, engine: Engine) -> None:
    default, off = clip(client), clip(client, foot_lock=False)
    assert (default.header.foot_lock, off.header.foot_lock) == (True, False)
    locked, free = expected(engine, RetargetOptions(foot_lock=True)), expected(engine, RetargetOptions())
    assert np.abs(locked - free).max() > 1e-3, "this clip needs locking"
    np.testing.assert_allclose(default.local_rotations, locked, atol=1e-6)
    np.testing.assert_allclose(off.local_rotations, free, atol=1e-6)


@pytest.mark.parametrize("lock", [True, False])
def test_a_live_session_remembers_its_feet_from_block_to_block(client: Client, engine: Engine, lock: bool) -> None:
    motion = live(client, foot_lock=lock)
    assert motion.header.foot_lock is lock
    session = engine.open_session(SessionRequest(WALK, None, Sampling(seed=3)))
    retargeter = Retargeter(rig_profile("ue5_manny"), EngineFrame.GLTF, RetargetOptions(foot_lock=lock))
    state, blocks = retargeter.start(), [session.next_block() for _ in range(15)]
    wanted = np.concatenate([retargeter.apply(block, state).local_rotations for block in blocks])
    np.testing.assert_allclose(motion.local_rotations, wanted, atol=1e-6)
    forgetful = np.concatenate([retargeter.apply(block).local_rotations for block in blocks])
    assert bool(np.abs(wanted - forgetful).max() > 1e-3) is lock


def test_streams_that_share_a_retargeter_do_not_share_feet(client: Client) -> None:
    alone = clip(client)
    first = client.generate(WALK, seconds=SECONDS, seed=3, frame="gltf")
    other = client.generate("a person runs", seconds=SECONDS, seed=9, frame="gltf")
    blocks: list[FrameBlock] = []
    streams: list[Iterator[FrameBlock]] = [iter(first), iter(other)]
    for block in streams[0]:
        blocks.append(block)
        next(streams[1], None)
    np.testing.assert_array_equal(Motion.join(first.header, blocks).local_rotations, alone.local_rotations)


@pytest.mark.parametrize("rig", ["ue5_manny", "mixamo"])
def test_in_place_with_its_way_is_the_world(client: Client, rig: str) -> None:
    world, place = clip(client, rig=rig), clip(client, rig=rig, root_motion="in-place")
    assert (world.header.root_motion, place.header.root_motion) == ("world", "in_place")
    pelvis = world.header.translated_joints[0]
    moved = place.root_positions[:, None] + rotate(place.root_rotations.astype(np.float64)[:, None], positions(place))
    np.testing.assert_allclose(moved[:, pelvis:], positions(world)[:, pelvis:], atol=1e-4)
    np.testing.assert_allclose(place.root_positions, world.root_positions, atol=1e-6)
    assert np.linalg.norm(world.root_positions[-1]) > 0.5
    assert np.abs(positions(place)[:, pelvis][:, [0, 2]]).max() < 0.2


def test_a_root_bone_carries_the_way(client: Client) -> None:
    world, bone = clip(client), clip(client, root_motion="root_bone")
    header = bone.header
    assert [header.joint_names[j] for j in header.translated_joints] == ["root", "pelvis"]
    np.testing.assert_allclose(positions(bone)[:, 1:], positions(world)[:, 1:], atol=1e-4)
    np.testing.assert_allclose(positions(bone)[:, 0], bone.root_positions, atol=1e-6)


def test_a_rig_without_a_root_bone_says_so_beforehand_and_when_asked(client: Client) -> None:
    rigs = {rig.name: rig.has_root_bone for rig in client.capabilities().rigs}
    assert (rigs["ue5_manny"], rigs["kaykit_medium"], rigs["mixamo"], rigs["smplx"]) == (True, True, False, False)
    for call in (client.generate, client.animate):
        with pytest.raises(ClientError, match="joint above the pelvis, which rig 'mixamo' lacks") as caught:
            call(WALK, rig="mixamo", root_motion="root_bone")
        assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")


def test_reach_arrives(client: Client, engine: Engine) -> None:
    motion = clip(client, rig="kaykit_medium", reach=0.5)
    assert motion.header.reach == 0.5
    wanted = expected(engine, RetargetOptions(foot_lock=True, reach=0.5), "kaykit_medium")
    np.testing.assert_allclose(motion.local_rotations, wanted, atol=1e-6)


def test_an_own_skeleton_takes_the_options_too(client: Client) -> None:
    named = clip(client, root_motion="in_place", reach=0.25)
    header = named.header
    own = CustomRig(header.joint_names, header.parents, header.rest_translations, header.rest_rotations)
    sent = clip(client, rig=own, root_motion="in_place", reach=0.25)
    np.testing.assert_allclose(sent.local_translations, named.local_translations, atol=1e-4)
    np.testing.assert_allclose(sent.root_rotations, named.root_rotations, atol=1e-5)


@pytest.mark.parametrize("reach", [-0.5, 1.5, float("nan")])
def test_reach_out_of_range_is_refused(client: Client, reach: float) -> None:
    with pytest.raises(ClientError, match="reach must be between 0 and 1") as caught:
        client.generate(WALK, reach=reach)
    assert caught.value.code == "INVALID_ARGUMENT"


def test_an_unknown_mode_is_refused_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(ClientError, match="unknown root motion 'sideways'; choose from world, in_place, root_bone"):
        client.animate(WALK, root_motion="sideways")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (skeleton_pb2.RetargetOptions(root_motion=99), "root motion 99 is unknown.*ROOT_MOTION_IN_PLACE"),  # type: ignore[arg-type]
        (skeleton_pb2.RetargetOptions(foot_lock=99), "foot lock 99 is unknown.*FOOT_LOCK_ON"),  # type: ignore[arg-type]
    ],
)
def test_modes_of_a_younger_client_are_refused(
    target: str, options: skeleton_pb2.RetargetOptions, sentence: str
) -> None:
    selection = skeleton_pb2.RigSelection(profile="ue5_manny", options=options)
    with grpc.insecure_channel(target) as channel:
        stub = animation_service_pb2_grpc.AnimationServiceStub(channel)
        with pytest.raises(grpc.RpcError, match=sentence) as caught:
            next(stub.GenerateClip(pb.GenerateClipRequest(text=WALK, seconds=1.0, rig=selection)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(InvalidRequest, match=sentence):
        retarget_options_from_proto(options)


def test_what_is_left_out_takes_the_documented_default() -> None:
    assert retarget_options_from_proto(skeleton_pb2.RetargetOptions()) == RetargetOptions(foot_lock=True)


@pytest.mark.parametrize("mode", list(RootMotion))
@pytest.mark.parametrize("lock", [True, False])
def test_options_survive_the_round_trip(mode: RootMotion, lock: bool) -> None:
    options = RetargetOptions(mode, lock, 0.75, ik_bones=lock)
    assert retarget_options_from_proto(retarget_options_to_proto(options)) == options
