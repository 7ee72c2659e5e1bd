"""Bad input against a real server: the right code, a sentence that tells what to do, and the server goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from animoe.client import Client, ClientError, CustomRig
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, skeleton_pb2

MANNY = skeleton_pb2.RigSelection(profile="ue5_manny")


@pytest.fixture
def stub(target: str) -> Iterator[Any]:
    with grpc.insecure_channel(target) as channel:
        yield animation_service_pb2_grpc.AnimationServiceStub(channel)


@pytest.fixture
def manny(client: Client) -> CustomRig:
    header = client.generate("a person waves", seconds=0.2, rig="ue5_manny", frame="gltf").header
    return CustomRig(header.joint_names, header.parents, header.rest_translations, header.rest_rotations)


def refusal(call: Callable[[], Any]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    ("wrong", "code", "sentence"),
    [
        ({"text": ""}, "INVALID_ARGUMENT", "the prompt is empty; describe the motion"),
        ({"text": " \n"}, "INVALID_ARGUMENT", "the prompt is empty"),
        ({"text": "x" * 10_000}, "INVALID_ARGUMENT", "10000 characters; at most 1000"),
        ({"emotion": "bored"}, "NOT_FOUND", "unknown emotion 'bored'; choose from neutral"),
        ({"emotion": "sad", "intensity": 3.0}, "INVALID_ARGUMENT", "intensity must be between 0 and 2"),
        ({"emotion": "sad", "intensity": float("nan")}, "INVALID_ARGUMENT", "must be 0 or more"),
        ({"rig": "ue5_many"}, "NOT_FOUND", "unknown rig 'ue5_many'; choose from ue5_manny"),
        ({"rig": ""}, "NOT_FOUND", "unknown rig ''; choose from"),
        ({"frame": "maya"}, "INVALID_ARGUMENT", "unknown engine frame 'maya'; choose from gltf"),
        ({"seconds": 0.0}, "INVALID_ARGUMENT", "seconds must be between 0.2 and 60, got 0"),
        ({"seconds": 10_000.0}, "INVALID_ARGUMENT", "open a live session"),
        ({"seconds": float("nan")}, "INVALID_ARGUMENT", "seconds must be between"),
        ({"seed": -1}, "INVALID_ARGUMENT", "seed must be between 0 and"),
        ({"seed": 2**63}, "INVALID_ARGUMENT", "seed must be between 0 and"),
    ],
)
def test_a_wrong_value_is_named_with_a_remedy(client: Client, wrong: dict[str, Any], code: str, sentence: str) -> None:
    arguments: dict[str, Any] = {"text": "a person walks", "seconds": 0.2} | wrong
    text = arguments.pop("text")
    error = refusal(lambda: client.generate(text, **arguments))
    assert (error.code, sentence in str(error)) == (code, True), str(error)
    del arguments["seconds"]
    if "seconds" not in wrong:
        live_error = refusal(lambda: client.animate(text, **arguments))
        assert (live_error.code, str(live_error)) == (error.code, str(error))
    assert client.generate("a person walks", seconds=0.2).read_all().frame_count == 6


def without_legs(rig: CustomRig) -> CustomRig:
    keep = [i for i, name in enumerate(rig.joint_names) if not name.startswith(("thigh", "calf", "foot", "ball"))]
    return CustomRig(
        [rig.joint_names[i] for i in keep],
        [keep.index(int(rig.parents[i])) if rig.parents[i] >= 0 else -1 for i in keep],
        np.asarray(rig.rest_translations)[keep],
        np.asarray(rig.rest_rotations)[keep],
    )


def with_nan_rest_pose(rig: CustomRig) -> CustomRig:
    translations = np.array(rig.rest_translations)
    translations[3, 1] = np.nan
    return CustomRig(rig.joint_names, rig.parents, translations, rig.rest_rotations)


def with_a_missing_number(rig: CustomRig) -> CustomRig:
    return CustomRig(rig.joint_names, rig.parents, np.ravel(rig.rest_translations)[:-1], rig.rest_rotations)


def with_a_loop(rig: CustomRig) -> CustomRig:
    return CustomRig(rig.joint_names, [-1, 2, 1, *list(rig.parents)[3:]], rig.rest_translations, rig.rest_rotations)


def with_a_parent_too_few(rig: CustomRig) -> CustomRig:
    return CustomRig(rig.joint_names, list(rig.parents)[:-1], rig.rest_translations, rig.rest_rotations)


def in_centimetres(rig: CustomRig) -> CustomRig:
    return CustomRig(rig.joint_names, rig.parents, np.asarray(rig.rest_translations) * 100, rig.rest_rotations)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without_legs, "the rig lacks left_hip"),
        (with_nan_rest_pose, "NaN"),
        (with_a_missing_number, "3 translation and 4 rotation numbers per joint"),
        (with_a_loop, "list parents before their children"),
        (with_a_parent_too_few, "need parents"),
        (in_centimetres, "check the engine frame"),
    ],
)
def test_a_skeleton_that_cannot_be_driven_is_refused(
    client: Client, manny: CustomRig, spoil: Callable[[CustomRig], CustomRig], sentence: str
) -> None:
    error = refusal(lambda: client.generate("a person walks", seconds=0.2, rig=spoil(manny), frame="gltf"))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INCOMPATIBLE_SKELETON")
    assert sentence in str(error)
    assert client.generate("a person walks", seconds=0.2, rig=manny, frame="gltf").read_all().frame_count == 6


def test_the_status_carries_a_reason_for_programs(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        next(stub.GenerateClip(pb.GenerateClipRequest(text="walk", seconds=1, rig={"profile": "nobody"})))
    sent = dict(caught.value.trailing_metadata())
    status = status_pb2.Status.FromString(sent["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, sent["animoe-reason"]) == ("NOT_FOUND", "animoe", "NOT_FOUND")
    assert status.message == caught.value.details()


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([pb.AnimateRequest(prompt=pb.PromptChange(text="run"))], "was `prompt`; send `start` first"),
        ([pb.AnimateRequest(stop=pb.AnimateStop())], "was `stop`; send `start` first"),
        ([pb.AnimateRequest()], "was `empty`; send `start` first"),
        ([], "ended before its first message"),
    ],
)
def test_a_first_message_that_is_not_start_is_refused(
    stub: Any, client: Client, messages: list[pb.AnimateRequest], sentence: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Animate(iter(messages)))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert sentence in caught.value.details()
    assert client.capabilities().emotions


def test_a_request_without_a_rig_is_refused(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        next(stub.GenerateClip(pb.GenerateClipRequest(text="walk", seconds=1)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "set rig.profile" in caught.value.details()


def test_an_oversized_message_is_refused_before_it_is_read(stub: Any, client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        next(stub.GenerateClip(pb.GenerateClipRequest(text="x" * (2 << 20), seconds=1, rig=MANNY)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.capabilities().emotions
