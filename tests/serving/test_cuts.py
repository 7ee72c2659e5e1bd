"""Callers who send too much, read nothing or say nothing are cut, with code and reason; the others never notice."""

from __future__ import annotations

import gc
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from animoe.client import Client, FrameBlock
from animoe.serving.calls import Call
from animoe.serving.limits import Limits
from animoe.serving.live_stream import LiveStream
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, skeleton_pb2

MANNY = skeleton_pb2.RigSelection(profile="ue5_manny")
START = pb.AnimateRequest(start=pb.AnimateStart(text="a person walks forward", rig=MANNY))
LIMITS = Limits(messages_per_second=40, idle_s=0.5, stuck_s=0.5, start_s=0.3, greedy_s=0.3, watch_load=False)
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 4096))
"""Of a client that takes no megabytes in advance, as those of game engines."""


@dataclass
class Caller:
    """A caller that sends and reads as a test says, without the manners of `animoe.client`."""

    stub: Any

    def __post_init__(self) -> None:
        self._ended = threading.Event()

    def begin(self, *requests: pb.AnimateRequest, then: Callable[[], Iterator[pb.AnimateRequest]] | None = None) -> Any:
        def send() -> Iterator[pb.AnimateRequest]:
            yield from requests
            if then is not None:
                yield from then()
            self._ended.wait(30)

        return self.stub.Animate(send(), timeout=20)

    def close(self) -> None:
        self._ended.set()


@pytest.fixture
def server(start_server: Callable[..., Any]) -> Any:
    return start_server(limits=LIMITS, metrics_port=0)


@pytest.fixture
def caller(server: Any) -> Iterator[Caller]:
    with grpc.insecure_channel(server.target, options=SMALL_WINDOW) as channel:
        found = Caller(animation_service_pb2_grpc.AnimationServiceStub(channel))
        yield found
        found.close()


@pytest.fixture
def bystander(server: Any) -> Iterator[None]:
    """Somebody who plays meanwhile, and gets every frame about when it is due."""
    with Client(server.target) as client, client.animate("a person waves") as live:
        next(live)
        began, expected = time.monotonic(), 4
        yield
        for event in live:
            assert isinstance(event, FrameBlock) and event.first_frame == expected
            expected += event.frame_count
            if expected / 30 > time.monotonic() - began:
                break
        assert expected / 30 < time.monotonic() - began + 1


def end_of(call: Any) -> tuple[str, str, float]:
    """Reads on to the end: code, reason, and how long it took."""
    began = time.monotonic()
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        reason = dict(error.trailing_metadata() or ()).get("animoe-reason", "")
        return error.code().name, str(reason), time.monotonic() - began
    return "OK", "", time.monotonic() - began


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def cuts(server: Any) -> dict[str, int]:
    with Client(server.target) as client:
        return client.status().cuts


@pytest.mark.usefixtures("bystander")
class TestGreedy:
    def test_too_many_messages(self, server: Any, caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
        def flood() -> Iterator[pb.AnimateRequest]:
            for number in range(100_000):
                yield pb.AnimateRequest(playhead=pb.PlayheadReport(frame=number))

        caplog.set_level(logging.INFO, "animoe")
        code, reason, took_s = end_of(caller.begin(START, then=flood))
        assert (code, reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_MESSAGES")
        assert took_s < 5
        until(lambda: cuts(server) == {"TOO_MANY_MESSAGES": 1})
        metrics = f"http://127.0.0.1:{server.server.metrics_port}/metrics"
        with urllib.request.urlopen(metrics, timeout=10) as answer:
            assert b'animoe_cuts_total{reason="TOO_MANY_MESSAGES"} 1.0' in answer.read()
        until(lambda: any(record.getMessage() == "Animate cut" for record in caplog.records))

    def test_a_message_too_large(self, caller: Caller) -> None:
        large = pb.AnimateRequest(prompt=pb.PromptChange(text="x" * (2 << 20)))
        assert end_of(caller.begin(START, large))[0] == "RESOURCE_EXHAUSTED"


@pytest.mark.usefixtures("bystander")
class TestStuck:
    def test_frames_do_not_pile_up_and_the_place_is_freed(self, server: Any, caller: Caller) -> None:
        call = caller.begin(START)
        assert next(call).WhichOneof("response") == "header"
        until(lambda: cuts(server) == {"STUCK_READER": 1})
        until(lambda: server.server.slots.active == 1)
        assert end_of(call)[:2] == ("DEADLINE_EXCEEDED", "STUCK_READER"), "who reads again learns why"

    def test_of_a_clip_too(self, server: Any, caller: Caller) -> None:
        call = caller.stub.GenerateClip(pb.GenerateClipRequest(text="a person walks", seconds=60, rig=MANNY))
        next(call)
        until(lambda: server.server.slots.active == 1)
        frames = sum(response.frames.frame_count for response in read(call))
        assert frames < 600
        assert cuts(server) == {"STUCK_READER": 1}

    def test_who_reads_slowly_is_paced(self, caller: Caller) -> None:
        call = caller.begin(START)
        for _ in range(8):
            response = next(call)
            time.sleep(0.25)  # twice the time of a block
        assert response.frames.first_frame >= 6 * 4


def read(call: Any) -> Iterator[Any]:
    try:
        yield from call
    except grpc.RpcError:
        pass


class TestIdle:
    def test_a_session_that_stays_paused(self, server: Any, caller: Caller) -> None:
        code, reason, took_s = end_of(caller.begin(START, pb.AnimateRequest(pause=pb.AnimatePause())))
        assert (code, reason) == ("DEADLINE_EXCEEDED", "IDLE") and took_s < 3

    def test_a_playhead_that_stands_still(self, caller: Caller) -> None:
        def stand() -> Iterator[pb.AnimateRequest]:
            for _ in range(20):
                yield pb.AnimateRequest(playhead=pb.PlayheadReport(frame=1.0))
                time.sleep(0.1)

        assert end_of(caller.begin(START, then=stand))[:2] == ("DEADLINE_EXCEEDED", "IDLE")

    def test_who_moves_or_changes_something_is_not(self, server: Any) -> None:
        with Client(server.target) as client:
            with client.perform("a person walks forward") as playing, client.animate("a person waves") as paused:
                paused.pause()
                for pose in playing.poses():
                    if pose.frame % 6 == 0:
                        paused.set_intensity(1 + pose.frame % 7 / 10)
                    if pose.frame >= 30:
                        break
                paused.resume()
                assert isinstance(next(event for event in paused if isinstance(event, FrameBlock)), FrameBlock)

    def test_who_never_says_where_it_plays_is_not(self, server: Any) -> None:
        with Client(server.target) as client, client.animate("a person walks") as live:
            assert next(block for block in live if isinstance(block, FrameBlock) and block.first_frame >= 24)

    def test_nothing_to_start_with(self, server: Any, caller: Caller) -> None:
        assert end_of(caller.begin())[:2] == ("DEADLINE_EXCEEDED", "NO_START")
        assert server.server.slots.active == 0 and cuts(server) == {}

    def test_of_those_there_may_be_so_many(
        self, start_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("animoe.serving.animation_servicer._MIN_SILENT", 2)
        server = start_server(max_streams=2, limits=LIMITS)
        with grpc.insecure_channel(server.target) as channel:
            caller = Caller(animation_service_pb2_grpc.AnimationServiceStub(channel))
            calls = [caller.begin() for _ in range(3)]
            found = sorted(end_of(call)[:2] for call in calls)
            caller.close()
        assert found == [("DEADLINE_EXCEEDED", "NO_START")] * 2 + [("RESOURCE_EXHAUSTED", "OVERLOADED")]


def test_zero_means_never(start_server: Callable[..., Any]) -> None:
    server = start_server(limits=Limits(idle_s=0, stuck_s=0, watch_load=False))
    with Client(server.target) as client, client.animate("a person walks forward") as live:
        assert client.capabilities().limits.idle_timeout_s == 0  # type: ignore[union-attr]
        live.pause()
        time.sleep(0.3)
        live.resume()
        assert next(event for event in live if isinstance(event, FrameBlock) and event.first_frame >= 12)


def test_who_was_cut_or_refused_leaves_nothing_for_the_garbage_collection(caller: Caller, server: Any) -> None:
    """Which is kept from holding everybody up; a flood of such calls would pile up until then."""

    def flood() -> Iterator[pb.AnimateRequest]:
        for _ in range(2000):
            yield pb.AnimateRequest(intensity=pb.IntensityChange(scale=1.5))

    def left() -> list[object]:
        return [found for found in gc.get_objects() if type(found) in (Call, LiveStream)]

    gc.collect()
    before = len(left())
    gc.disable()
    try:
        calls = [
            (caller.begin(START, then=flood), "RESOURCE_EXHAUSTED"),
            (caller.begin(), "DEADLINE_EXCEEDED"),
            (caller.begin(pb.AnimateRequest(start=pb.AnimateStart(text=" ", rig=MANNY))), "INVALID_ARGUMENT"),
        ]
        for call, code in calls:
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
            assert caught.value.code().name == code
        deadline = time.monotonic() + 5
        while len(left()) > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(left()) <= before
    finally:
        gc.enable()
