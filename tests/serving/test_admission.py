"""A server that can hardly keep its characters in time lets nobody in, says when to come again, and recovers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from animoe.client import Client, ClientError, LiveStream
from animoe.engine import Engine
from animoe.serving.limits import Limits
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, skeleton_pb2

START = pb.AnimateRequest(
    start=pb.AnimateStart(text="a person walks", rig=skeleton_pb2.RigSelection(profile="ue5_manny"))
)


@dataclass
class Brake:
    """Makes each step of an engine take so much longer: a crowd that is too large, or a machine too slow."""

    seconds: float = 0.0

    def hold(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        step = engine.step

        def slowly() -> None:
            time.sleep(self.seconds)
            step()

        monkeypatch.setattr(engine, "step", slowly)


@pytest.fixture
def brake(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Brake:
    found = Brake()
    found.hold(engine, monkeypatch)
    return found


@pytest.fixture
def tight(start_server: Callable[..., Any], brake: Brake) -> Iterator[Any]:
    """A server whose one character gets every block late."""
    server = start_server(limits=Limits())
    brake.seconds = 0.3
    with Client(server.target) as client, client.animate("a person walks forward") as live:
        reading = threading.Thread(target=drain, args=(live,), daemon=True)
        reading.start()
        load = server.server._servicer._admission.load
        deadline = time.monotonic() + 10
        while not load.tight:
            assert time.monotonic() < deadline, "it never became tight"
            time.sleep(0.05)
        yield server


def drain(live: LiveStream) -> None:
    try:
        for _ in live:
            pass
    except ClientError:
        pass


def test_nobody_is_let_in_until_there_is_room_again(tight: Any, brake: Brake) -> None:
    with Client(tight.target) as client:
        for call in (lambda: client.animate("a person waves"), lambda: client.generate("a person waves")):
            with pytest.raises(ClientError, match="try again later") as caught:
                call()
            assert (caught.value.code, caught.value.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
            assert 2.0 <= (caught.value.retry_after_s or 0) <= 3.0
        status = hinted(tight.target)
        assert 2.0 <= status.ToMilliseconds() / 1000 <= 3.0
        assert client.status().refusals == {"OVERLOADED": 3}
        brake.seconds = 0.0
        with client.animate("a person waves", retries=2) as live:
            assert live.header.joint_names


def hinted(target: str) -> Any:
    """The delay in the google.rpc.RetryInfo of a refused stream."""
    with grpc.insecure_channel(target) as channel:
        call = animation_service_pb2_grpc.AnimationServiceStub(channel).Animate(iter([START]))
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
    metadata = dict(caught.value.trailing_metadata())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info) and status.details[1].Unpack(retry)
    assert info.reason == "OVERLOADED"
    assert int(metadata["animoe-retry-after-ms"]) == retry.retry_delay.ToMilliseconds()
    return retry.retry_delay


def test_retries_are_bounded_and_only_for_what_passes(start_server: Callable[..., Any]) -> None:
    server = start_server(max_streams=1)
    with Client(server.target) as client, client.animate("a person walks"):
        began = time.monotonic()
        with pytest.raises(ClientError, match="--max-streams"):
            client.animate("a person walks", retries=1)
        assert 1.0 <= time.monotonic() - began < 2.0
        assert client.status().refusals == {"OVERLOADED": 2}
        with pytest.raises(ClientError, match="prompt is empty"):
            client.animate("", retries=5)
        assert time.monotonic() - began < 2.5


def test_a_crowd_that_comes_at_once_is_let_in(start_server: Callable[..., Any]) -> None:
    server = start_server()
    with Client(server.target) as client:
        found: list[LiveStream] = []

        def come(number: int) -> None:
            found.append(client.animate("a person walks", seed=number))

        crowd = [threading.Thread(target=come, args=(number,)) for number in range(40)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join(20)
        assert len(found) == server.server.slots.active == 40
        for live in found:
            live.close()
