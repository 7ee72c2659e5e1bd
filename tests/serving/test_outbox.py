"""What leaves together, and when."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.retarget.solver import RigBlock
from animoe.serving.outbox import BLOCKS_PER_MESSAGE, PLENTY_S, Outbox
from animoe.serving.pacing import Pacer
from animoe.serving.reserve import Reserve
from animoe.v1 import animation_service_pb2 as pb

FPS, FRAMES = 30.0, 4


def block(number: int) -> RigBlock:
    def numbers(*shape: int) -> np.ndarray:
        return np.full((FRAMES, *shape), number, dtype=np.float64)

    return RigBlock(number * FRAMES, numbers(5, 4), numbers(1, 3), numbers(4), numbers(3), numbers(4))


class Desk:
    """An outbox with a clock of its own, whose caller takes `takes_s` for each message."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.now, self.takes_s = 100.0, takes_s
        self.sent: list[pb.AnimateResponse] = []
        self.held_up: list[float] = []
        self.pacer = Pacer(FPS, clock=self.clock)
        self.crowded = False
        self.outbox = Outbox(
            self.write, self.pacer, Reserve(self.clock), self.held_up.append, lambda: self.crowded, FPS, self.clock
        )

    def clock(self) -> float:
        return self.now

    async def write(self, response: pb.AnimateResponse) -> None:
        self.now += self.takes_s
        self.sent.append(response)

    async def put(self, number: int, *, may_wait: bool = True) -> None:
        self.pacer.sent((number + 1) * FRAMES)
        await self.outbox.put(block(number), may_wait=may_wait)

    @property
    def spans(self) -> list[tuple[int, int]]:
        return [(message.frames.first_frame, message.frames.frame_count) for message in self.sent]


async def test_blocks_leave_one_by_one_until_the_caller_has_plenty_then_in_pairs() -> None:
    desk = Desk()
    alone = int(PLENTY_S * FPS / FRAMES) + 1
    for number in range(alone + 2 * BLOCKS_PER_MESSAGE):
        await desk.put(number)
    counts = [count for _, count in desk.spans]
    assert counts == [FRAMES] * alone + [FRAMES * BLOCKS_PER_MESSAGE] * 2
    assert [first for first, _ in desk.spans] == np.cumsum([0, *counts[:-1]]).tolist(), "in order, without a gap"


async def test_two_blocks_in_one_message_are_their_frames_one_after_the_other() -> None:
    desk = Desk()
    for number in range(10):
        await desk.put(number)
    frames = next(message.frames for message in desk.sent if message.frames.frame_count > FRAMES)
    for part, width in ((frames.local_rotations, 20), (frames.local_translations, 3), (frames.contacts, 4)):
        values = np.frombuffer(part, dtype="<f4").reshape(frames.frame_count, width)
        expected = np.repeat(np.arange(10), FRAMES)[frames.first_frame :][: frames.frame_count]
        np.testing.assert_array_equal(values, np.repeat(expected[:, None], width, axis=1))


async def test_who_stands_still_in_a_crowd_too_large_gets_pairs_and_who_does_not_gets_what_there_is() -> None:
    desk = Desk()
    await desk.put(0)
    desk.now += 1.0  # its motion has run out, and the playhead waits at the end of it
    desk.pacer.report(FRAMES)
    desk.crowded = True
    await desk.put(1, may_wait=False)
    desk.now += 1.0
    desk.pacer.report(2 * FRAMES)
    for number in (2, 3, 4):
        desk.now += 0.2 if number == 2 else 0.0  # later than it was needed
        await desk.put(number)
    assert desk.spans == [(0, 4), (4, 4), (8, 8), (16, 4)], "a pair, and then it can play"


async def test_nothing_is_kept_where_frames_stay() -> None:
    desk = Desk()
    for number in range(10):
        await desk.put(number, may_wait=False)
    assert desk.spans == [(number * FRAMES, FRAMES) for number in range(10)]


async def test_flush_sends_what_is_kept_once() -> None:
    desk = Desk()
    number = 0
    while len(desk.sent) == number:  # until one is kept
        await desk.put(number)
        number += 1
    await desk.outbox.flush()
    await desk.outbox.flush()
    assert desk.spans == [(i * FRAMES, FRAMES) for i in range(number)]


@pytest.mark.parametrize(("takes_s", "told"), [(0.01, []), (0.2, [pytest.approx(0.2)])])
async def test_a_caller_that_does_not_read_holds_itself_up(takes_s: float, told: list[float]) -> None:
    desk = Desk(takes_s)
    await desk.outbox.write(pb.AnimateResponse())
    assert desk.held_up == told
