"""Frames and playhead of a client, without a server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from animoe.client import ClientError, ControlApplied, FrameBlock
from animoe.client.player import MAX_GAP_S, Player

FPS = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def block(first: int, count: int = 4, mark: float = 0.0) -> FrameBlock:
    """Frames that carry their index, and a mark to tell two versions apart."""
    index = np.arange(first, first + count, dtype=np.float32)[:, None]
    one: Any = np.concatenate([index, np.full_like(index, mark)], axis=1)
    return FrameBlock(first, one, one, one, one, one)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def player(clock: Clock) -> Player:
    found = Player(FPS, clock)
    for first in (0, 4, 8):
        found.add(block(first))
    return found


def shown(player: Player) -> tuple[float, float]:
    """Index and mark of the frame that is shown."""
    pose = player.pose()
    assert pose is not None and pose.frame == pose.local_rotations[0]
    return float(pose.local_rotations[0]), float(pose.local_rotations[1])


def test_nothing_is_shown_before_anything_came(clock: Clock) -> None:
    player = Player(FPS, clock)
    assert (player.pose(), player.frame, player.stall_count) == (None, 0.0, 0)


def test_time_begins_with_the_first_pose(player: Player, clock: Clock) -> None:
    clock.now += 5
    assert shown(player)[0] == 0
    clock.now += 0.1
    assert shown(player)[0] == 3
    assert player.frame == pytest.approx(3.0) and 0 < player.next_s() <= 1 / FPS + 1e-9


def test_a_missing_frame_is_waited_for_and_counted_once(player: Player, clock: Clock) -> None:
    shown(player)
    for _ in range(10):
        clock.now += 0.11
        shown(player)
    assert (shown(player)[0], player.stall_count, player.frame) == (11, 1, 12.0)
    player.add(block(12))
    assert shown(player)[0] == 12
    clock.now += 0.4
    assert (shown(player)[0], player.stall_count) == (15, 2)


def test_replaced_frames_are_never_shown(player: Player, clock: Clock) -> None:
    shown(player)
    player.apply(ControlApplied(1, 6, replaced_frame_count=6))
    assert player.held_frame_count == 6
    player.add(block(6, 5, mark=1.0))
    seen = []
    for _ in range(11):
        seen.append(shown(player))
        clock.now += 1 / FPS + 1e-6
    assert seen == [(float(i), float(i >= 6)) for i in range(11)]


def test_a_change_that_replaces_nothing_drops_nothing(player: Player) -> None:
    player.apply(ControlApplied(1, 12))
    assert player.held_frame_count == 12


def test_what_was_shown_is_not_shown_again_when_a_change_comes_too_late(player: Player, clock: Clock) -> None:
    shown(player)
    clock.now += 0.301
    assert shown(player)[0] == 9
    player.apply(ControlApplied(1, 8, replaced_frame_count=4))
    clock.now += 0.01
    assert shown(player) == (9, 0)
    player.add(block(8, mark=1.0))
    clock.now += 0.001
    assert shown(player) == (10, 1), "the playhead never runs back"


def test_a_gap_is_an_error_of_the_server(player: Player) -> None:
    with pytest.raises(ClientError, match="frames from 13 on came where 12 was due"):
        player.add(block(13))


def test_pause(player: Player, clock: Clock) -> None:
    shown(player)
    clock.now += 0.101
    player.pause()
    clock.now += 100
    assert shown(player)[0] == 3
    player.resume()
    assert shown(player)[0] == 3
    clock.now += 0.101
    assert shown(player)[0] == 6


def test_a_game_that_hangs_stands_still(player: Player, clock: Clock) -> None:
    for first in range(12, 120, 4):
        player.add(block(first))
    shown(player)
    clock.now += 1000
    assert player.frame == pytest.approx(MAX_GAP_S * FPS)
    assert shown(player)[0] == pytest.approx(MAX_GAP_S * FPS)
    clock.now += 0.101
    assert shown(player)[0] == pytest.approx(MAX_GAP_S * FPS + 3)


def test_the_end_is_no_stall(player: Player, clock: Clock) -> None:
    shown(player)
    player.ended = True
    assert not player.finished
    clock.now += 0.45
    assert shown(player)[0] == 11
    assert player.finished and player.stall_count == 0


def test_an_end_before_anything_came_is_an_end(clock: Clock) -> None:
    player = Player(FPS, clock)
    player.ended = True
    assert player.pose() is None and player.finished


def test_an_end_while_it_is_paused_is_one_too(player: Player) -> None:
    shown(player)
    player.pause()
    player.ended = True
    assert player.finished and shown(player)[0] == 0
