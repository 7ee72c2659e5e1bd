"""Live sessions against a real server: pacing, controls, ends of every kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from animoe.client import Client, ClientError, ControlApplied, ControlRejected, FrameBlock, LiveStream
from animoe.serving.pacing import LEAD_S

FPS = 30.0
SCHEDULING_S = 0.15
"""What a busy test machine may add to any moment."""


def play(live: LiveStream, seconds: float) -> list[tuple[float, FrameBlock]]:
    """Blocks with arrival times, seconds from the first one, until `seconds` of motion have come."""
    arrivals: list[tuple[float, FrameBlock]] = []
    start: float | None = None
    for event in live:
        if isinstance(event, FrameBlock):
            start = start or time.monotonic()
            arrivals.append((time.monotonic() - start, event))
            if (event.first_frame + event.frame_count) / FPS >= seconds:
                break
    return arrivals


def next_answer(live: LiveStream) -> ControlApplied | ControlRejected:
    return next(event for event in live if not isinstance(event, FrameBlock))


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def test_frames_arrive_in_order_and_just_ahead_of_the_clock(client: Client) -> None:
    with client.animate("a person walks forward") as live:
        arrivals = play(live, 2.0)
    assert [block.first_frame for _, block in arrivals] == list(range(0, 60, 4))
    for at, block in arrivals:
        lead = (block.first_frame + block.frame_count) / FPS - at
        assert -SCHEDULING_S < lead - block.frame_count / FPS, "came too late to be shown"
        assert lead <= LEAD_S + SCHEDULING_S, "came so early that a change could no longer reach it"


def test_a_change_takes_effect_within_half_a_second(client: Client) -> None:
    with client.animate("a person walks forward") as live:
        start = time.monotonic()
        play(live, 0.8)
        sent = time.monotonic() - start
        number = live.set_prompt("a person runs")
        answer = next_answer(live)
        assert isinstance(answer, ControlApplied) and answer.control_id == number
        following = next(live)
        assert isinstance(following, FrameBlock) and following.first_frame == answer.first_frame
        assert answer.first_frame / FPS - sent < 0.5


def test_a_change_does_not_jump(client: Client) -> None:
    with client.animate("a person walks forward", rig="smplx", frame="gltf", emotion="neutral") as live:
        before = play(live, 1.0)
        live.set_prompt("a person runs forward")
        live.set_emotion("happy")
        after = play(live, 2.0)
    pelvis = np.concatenate([block.local_translations[:, 0] for _, block in before + after])
    assert np.linalg.norm(np.diff(pelvis, axis=0), axis=-1).max() < 0.35


def test_emotion_changes_are_answered_and_can_be_given_back_to_the_text(client: Client) -> None:
    with client.animate("a person walks forward") as live:
        numbers = [live.set_emotion({"sad": 0.5, "tired": 0.5}), live.set_emotion(None)]
        answers = [next_answer(live) for _ in numbers]
    assert [answer.control_id for answer in answers] == numbers
    assert all(isinstance(answer, ControlApplied) for answer in answers)


@pytest.mark.parametrize(
    ("send", "reason", "sentence"),
    [
        (lambda live: live.set_prompt(""), "INVALID_REQUEST", "the prompt is empty"),
        (lambda live: live.set_prompt("x" * 10_000), "INVALID_REQUEST", "at most 1000"),
        (lambda live: live.set_emotion("bored"), "NOT_FOUND", "choose from neutral"),
        (lambda live: live.set_emotion([]), "INVALID_REQUEST", "at least one key"),
    ],
)
def test_a_wrong_control_is_refused_and_the_motion_goes_on(
    client: Client, send: Callable[[LiveStream], int], reason: str, sentence: str
) -> None:
    with client.animate("a person walks forward") as live:
        number = send(live)
        answer = next_answer(live)
        assert isinstance(answer, ControlRejected)
        assert (answer.control_id, answer.reason, sentence in answer.message) == (number, reason, True)
        assert isinstance(next(live), FrameBlock)


def test_stop_ends_with_a_count_and_status_ok(client: Client) -> None:
    live = client.animate("a person walks forward")
    frames = sum(block.frame_count for _, block in play(live, 0.3))
    live.stop()
    frames += sum(event.frame_count for event in live if isinstance(event, FrameBlock))
    assert (live.end_reason, live.frame_count) == ("stopped", frames)


def test_a_full_server_refuses_and_recovers(start_server: Callable[..., Any]) -> None:
    server = start_server(max_streams=1)
    with Client(server.target) as client:
        first = client.animate("a person walks forward")
        with pytest.raises(ClientError) as caught:
            client.animate("a person walks forward")
        assert (caught.value.code, caught.value.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert "--max-streams" in str(caught.value)
        first.stop()
        list(first)
        assert client.generate("a person waves", seconds=0.2).read_all().frame_count == 6


def test_a_client_that_vanishes_frees_its_place_and_is_no_error(
    start_server: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(max_streams=2)
    slots = server.server.slots
    for leave in (LiveStream.close, None) * 5:
        with Client(server.target) as client:
            live, clip = client.animate("a person walks"), client.generate("a person walks", seconds=60)
            assert slots.active == 2 and isinstance(next(live), FrameBlock)
            if leave is not None:
                leave(live)
                clip.close()
            # otherwise the connection breaks with both streams open
        wait_until(lambda: slots.active == 0)
    assert caplog.records == []


def test_a_server_that_leaves_says_goodbye_to_live_sessions(start_server: Callable[..., Any]) -> None:
    server = start_server()
    with Client(server.target) as client:
        live = client.animate("a person walks forward")
        play(live, 0.3)
        began = time.monotonic()
        server.begin_stop()
        list(live)
        assert live.end_reason == "server_shutdown"
        server.thread.join(timeout=10)
        assert time.monotonic() - began < 2.0, "live sessions held the server up"


def test_a_session_opened_with_a_start_in_its_middle_goes_on(client: Client) -> None:
    from animoe.v1 import animation_service_pb2 as pb

    with client.animate("a person walks forward") as live:
        live._requests.send(pb.AnimateRequest(start=pb.AnimateStart(text="again")))
        answer = next_answer(live)
        assert isinstance(answer, ControlRejected) and answer.reason == "FAILED_PRECONDITION"
        live._requests.send(pb.AnimateRequest())
        answer = next_answer(live)
        assert isinstance(answer, ControlRejected) and "set one of" in answer.message
