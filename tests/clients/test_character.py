"""A live character against a real server, played in real time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from animoe.client import Client, ClientError, LiveCharacter, Queued
from animoe.serving.limits import Limits

SCHEDULING_S = 0.25
"""What a busy test machine may add."""


def play(actor: LiveCharacter, frames: int) -> list[int]:
    """Shows so many; their indices."""
    seen: list[int] = []
    for pose in actor.poses():
        seen.append(pose.frame)
        if len(seen) == frames:
            break
    return seen


def test_poses_come_in_real_time_and_changes_do_not_disturb_them(client: Client) -> None:
    with client.perform("a person walks forward") as actor:
        seen = play(actor, 1)
        began = time.monotonic()
        seen += play(actor, 15)
        changes = [actor.prompt("a person runs"), actor.emotion("happy", transition_s=0.2), actor.intensity(1.5)]
        answers = [actor.wait(number) for number in changes]
        seen += play(actor, 20)
        took_s = time.monotonic() - began
    assert seen == sorted(set(seen)) and seen[0] == 0
    assert took_s >= seen[-1] / 30 - 0.05
    assert took_s < seen[-1] / 30 + SCHEDULING_S or actor.stall_count
    assert any(answer.replaced_frame_count for answer in answers)
    assert all(0 < answer.first_frame - seen[15] < 0.6 * 30 for answer in answers)


def test_a_queue_a_pause_and_the_end(client: Client) -> None:
    queue = [Queued("a person walks", 0.4), Queued("a person waves", 0.4, {"happy": 1.0}, 0.5)]
    with client.perform(queue=queue, idle="a person stands", pace=1.5) as actor:
        play(actor, 10)
        actor.wait(actor.pause())
        frozen = actor.pose()
        time.sleep(0.3)
        assert frozen is not None and actor.pose() is frozen
        actor.wait(actor.resume())
        actor.wait(actor.pace(1.0))
        actor.wait(actor.queue([], idle="a person sits"))
        play(actor, 5)
        actor.stop()
        left = [pose.frame for pose in actor.poses()]
    assert left and actor.end_reason == "stopped"
    np.testing.assert_array_equal(np.diff(left) > 0, True)


def test_a_refused_control_is_raised_where_it_is_waited_for(client: Client) -> None:
    with client.perform("a person walks") as actor:
        with pytest.raises(ClientError, match="pace must be between") as caught:
            actor.wait(actor.pace(9.0))
        assert caught.value.reason == "INVALID_REQUEST"
        with pytest.raises(ClientError, match="no answer to control 999"):
            actor.wait(999, timeout_s=0.05)
        assert play(actor, 3) == [0, 1, 2]


def test_a_server_that_leaves_ends_the_poses(start_server: Callable[..., Any]) -> None:
    server = start_server()
    with Client(server.target) as client, client.perform("a person walks") as actor:
        play(actor, 3)
        server.begin_stop()
        assert [pose.frame for pose in actor.poses()]
        assert actor.end_reason == "server_shutdown"


def test_a_session_that_is_cut_says_why(start_server: Callable[..., Any]) -> None:
    server = start_server(limits=Limits(idle_s=0.3, watch_load=False))
    with Client(server.target) as client, client.perform("a person walks") as actor:
        actor.pause()
        with pytest.raises(ClientError, match="was paused for more than 0.3 s") as caught:
            actor.wait(-1)
        assert (caught.value.code, caught.value.reason) == ("DEADLINE_EXCEEDED", "IDLE")


def test_limits_are_told(client: Client) -> None:
    limits = client.capabilities().limits
    assert limits is not None
    assert (limits.min_reserve_s, limits.max_reserve_s, limits.max_buffer_s) == (0.15, 0.5, 1.0)
    assert (limits.max_queue_count, limits.max_queue_seconds, limits.max_clip_count) == (64, 3600.0, 192)
    assert all(vars(limits).values()), "every limit says something"
