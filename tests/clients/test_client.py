"""The Python client against a real server."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import grpc
import numpy as np
import pytest

from animoe.client import Client, ClientError, CustomRig, FrameBlock
from animoe.motion.emotion import EMOTIONS

HEAVY = ("torch", "onnxruntime", "tokenizers", "transformers", "PIL", "animoe.engine", "animoe.serving")


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_client_needs_no_inference_stack() -> None:
    assert modules_after("import animoe.client").isdisjoint(HEAVY)


def test_capabilities_say_what_runs_and_what_is_allowed(client: Client) -> None:
    answer = client.capabilities()
    assert answer.emotions == EMOTIONS
    assert {"ue5_manny", "mixamo", "unity_humanoid"} <= {rig.name for rig in answer.rigs}
    assert {rig.name: rig.frame for rig in answer.rigs}["ue5_manny"] == "unreal"
    assert (answer.frame_rate_hz, answer.frames_per_block) == (30.0, 4)
    assert (answer.min_seconds, answer.max_seconds, answer.max_prompt_chars) == (0.2, 60.0, 1000)
    assert (answer.max_joint_count, answer.max_stream_count) == (1024, 256)
    assert answer.bundle_name and answer.bundle_digest


def test_a_clip_arrives_in_blocks_that_match_its_header(client: Client) -> None:
    stream = client.generate("a person walks forward", seconds=1.0, rig="ue5_manny", seed=5)
    header, blocks = stream.header, list(stream)
    assert (header.rig_name, header.frame, header.frame_rate_hz, header.seed) == ("ue5_manny", "unreal", 30.0, 5)
    joints, moving = header.joint_count, len(header.translated_joints)
    assert header.parents.shape == (joints,) and header.rest_rotations.shape == (joints, 4)
    assert [block.first_frame for block in blocks] == list(range(0, 30, 4))
    assert sum(block.frame_count for block in blocks) == 30
    for block in blocks:
        count = block.frame_count
        assert block.local_rotations.shape == (count, joints, 4)
        assert block.local_translations.shape == (count, moving, 3)
        assert block.contacts.shape == (count, 4)
        np.testing.assert_allclose(np.linalg.norm(block.local_rotations, axis=-1), 1.0, atol=1e-5)
        assert (block.contacts >= 0).all() and (block.contacts <= 1).all()
    assert [header.joint_names[i] for i in header.contact_joints] == ["foot_l", "ball_l", "foot_r", "ball_r"]


def test_joined_motion_keeps_rest_translations_where_nothing_moves(client: Client) -> None:
    motion = client.generate("a person walks forward", seconds=0.5).read_all()
    header, every = motion.header, motion.all_translations
    assert every.shape == (15, header.joint_count, 3)
    np.testing.assert_array_equal(every[:, list(header.translated_joints)], motion.local_translations)
    still = [i for i in range(header.joint_count) if i not in header.translated_joints]
    np.testing.assert_array_equal(every[:, still], np.tile(header.rest_translations[still], (15, 1, 1)))


def test_same_seed_same_motion_other_seed_other_motion(client: Client) -> None:
    takes = [client.generate("a person walks", seconds=1.0, seed=seed).read_all() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(takes[0].local_rotations, takes[1].local_rotations)
    np.testing.assert_array_equal(takes[0].local_translations, takes[1].local_translations)
    assert not np.array_equal(takes[0].local_translations, takes[2].local_translations)


@pytest.mark.parametrize("frame", ["unreal", "unity", "gltf", "blender", "unreal_actor"])
def test_an_own_skeleton_gets_the_same_motion_as_the_profile(client: Client, frame: str) -> None:
    named = client.generate("a person walks", seconds=0.5, rig="ue5_manny", frame=frame).read_all()
    header = named.header
    own = CustomRig(header.joint_names, header.parents, header.rest_translations, header.rest_rotations)
    sent = client.generate("a person walks", seconds=0.5, rig=own, frame=frame).read_all()
    assert (sent.header.rig_name, sent.header.frame) == ("custom", frame)
    np.testing.assert_allclose(sent.local_rotations, named.local_rotations, atol=1e-4)
    unit = 100.0 if frame.startswith("unreal") else 1.0
    np.testing.assert_allclose(sent.local_translations, named.local_translations, atol=1e-4 * unit)


def test_frames_come_in_the_unit_of_the_engine(client: Client) -> None:
    def pelvis(frame: str) -> Any:
        return client.generate("a person walks", seconds=0.2, frame=frame).read_all().local_translations[:, 0]

    metres, centimetres = pelvis("gltf"), pelvis("unreal")
    np.testing.assert_allclose(centimetres, metres[:, [0, 2, 1]] * 100, atol=1e-3)


@pytest.mark.parametrize(
    "emotion", [None, "sad", {"sad": 0.5, "tired": 0.25}, [(0.0, {"sad": 1.0}), (0.5, {}), (1.0, {"happy": 2.0})]]
)
def test_an_emotion_may_be_said_in_several_ways(client: Client, emotion: Any) -> None:
    assert client.generate("a person walks", seconds=0.2, emotion=emotion).read_all().frame_count == 6


def test_a_stream_can_be_left_and_taken_up_again(client: Client) -> None:
    with client.animate("a person walks forward") as live:
        first = next(live)
        for event in live:
            second = event
            break
        third = next(live)
    frames = [block.first_frame for block in (first, second, third) if isinstance(block, FrameBlock)]
    assert frames == [0, 4, 8]


def test_a_closed_stream_says_so(client: Client) -> None:
    live = client.animate("a person walks forward")
    live.close()
    with pytest.raises(ClientError, match="closed on this side"):
        list(live)


def test_no_server_is_reported_with_the_way_to_start_one() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(ClientError, match="start one with 'animoe serve'") as caught:
        client.generate("a person walks")
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "UNAVAILABLE")


async def test_a_server_of_another_kind_is_reported() -> None:
    import asyncio

    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    def ask() -> str:
        with Client(f"127.0.0.1:{port}") as client, pytest.raises(ClientError) as caught:
            client.capabilities()
        return str(caught.value)

    assert "is no AniMoE server" in await asyncio.to_thread(ask)
    await server.stop(0)


def test_waiting_for_a_server_that_never_comes_ends() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(ClientError, match="no AniMoE server"):
        client.wait_until_ready(timeout_s=0.2)
