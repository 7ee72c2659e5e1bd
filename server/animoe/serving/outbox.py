"""Outbox: what leaves a live stream, answers at once, blocks of frames alone or two together."""

from __future__ import annotations

from collections.abc import Callable

from animoe.retarget.solver import RigBlock
from animoe.serving.calls import Write
from animoe.serving.convert import frames_to_proto
from animoe.serving.pacing import Pacer
from animoe.serving.reserve import Reserve
from animoe.v1 import animation_service_pb2 as pb

BLOCKS_PER_MESSAGE = 2
"""Where frames may be replaced and the caller has plenty: a message costs as much as making a block."""
PLENTY_S = 0.35
_BLOCKED_S = 0.05
"""A write that takes longer says that the caller does not read."""


class Outbox:
    """Sends; a write returns when the caller's side has taken it: what it does not read is not piled up here.

    Args:
        write: of the call. pacer, reserve: of the stream. held_up: hears of seconds in which the caller did not read.
        crowded: whether the server plays more than it can.
        frame_rate_hz: frames per second. clock: seconds, monotonic.
    """

    def __init__(
        self,
        write: Write,
        pacer: Pacer,
        reserve: Reserve,
        held_up: Callable[[float], None],
        crowded: Callable[[], bool],
        frame_rate_hz: float,
        clock: Callable[[], float],
    ) -> None:
        self._write, self._pacer, self._reserve, self._held_up = write, pacer, reserve, held_up
        self._crowded = crowded
        self._frame_rate_hz, self._clock = frame_rate_hz, clock
        self._held: list[RigBlock] = []

    async def write(self, response: pb.AnimateResponse) -> None:
        """Sends a message."""
        began_s = self._clock()
        await self._write(response)
        blocked_s = self._clock() - began_s
        if blocked_s > _BLOCKED_S:
            self._pacer.blocked(blocked_s)
            self._held_up(blocked_s)

    async def put(self, block: RigBlock, *, may_wait: bool) -> None:
        """Sends the block, or keeps it for the next one when the caller has plenty without it.

        Args:
            block: the pacer knows of it already.
        """
        self._held.append(block)
        if not may_wait or len(self._held) == BLOCKS_PER_MESSAGE or not self._waits(self._left_s()):
            await self.flush()

    async def flush(self) -> None:
        """Sends what is kept."""
        if self._held:
            frames = frames_to_proto(*self._held)
            self._held.clear()
            self._reserve.sent(frames.first_frame + frames.frame_count)
            await self.write(pb.AnimateResponse(frames=frames))

    def _waits(self, left_s: float) -> bool:
        """A character that stands still in a crowd too large gets two blocks somewhat later: with one at a time the
        server would never catch up."""
        return left_s >= PLENTY_S or (left_s <= 0.0 and self._crowded())

    def _left_s(self) -> float:
        """What the caller has to play of that which was sent, seconds."""
        held_s = sum(len(block.contacts) for block in self._held) / self._frame_rate_hz
        return self._pacer.runs_out_s() - self._clock() - held_s
