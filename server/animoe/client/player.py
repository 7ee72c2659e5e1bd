"""Player: frames that have come, and where they are played. Knows neither network nor threads."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from animoe.client.errors import ClientError
from animoe.client.messages import ControlApplied, FrameBlock, Pose

MAX_GAP_S = 0.5
"""A game that does not ask for a pose for so long hangs, or is in a menu: its character stands until it asks again."""


class Player:
    """Plays frames as the clock goes: from the first `pose` that finds one; it waits where the next one is missing.

    Args:
        frame_rate_hz: frames per second.
        clock: seconds, monotonic.

    Attributes:
        stall_count: how often it had to wait.
        held_frame_count: index after the last frame that is here.
        paused: whether it stands still.
        ended: no more frames will come, so waiting for them is no stall.
    """

    def __init__(self, frame_rate_hz: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.stall_count = self.held_frame_count = 0
        self.paused = self.ended = False
        self._frame_rate_hz, self._clock = frame_rate_hz, clock
        self._blocks: deque[FrameBlock] = deque()
        self._came_s = clock()
        self._frame, self._at_s = 0.0, math.nan  # where it was, and when
        self._looked_s = math.inf
        self._shown: Pose | None = None
        self._waits = False

    @property
    def frame(self) -> float:
        """Where it plays, in frames, with the fraction between two."""
        if math.isnan(self._at_s) or self.paused:
            return self._frame
        until_s = min(self._clock(), self._looked_s + MAX_GAP_S)
        return self._frame + max(until_s - self._at_s, 0.0) * self._frame_rate_hz

    @property
    def held_for_s(self) -> float:
        """Seconds since the last block came."""
        return self._clock() - self._came_s

    @property
    def finished(self) -> bool:
        """Whether nothing more will be shown."""
        seen = 0 if self._shown is None else self._shown.frame + 1
        return self.ended and (self.paused or seen >= self.held_frame_count)

    def add(self, block: FrameBlock) -> None:
        """Takes in the next frames. Raises ClientError when there is a gap before them."""
        if block.first_frame != self.held_frame_count:
            raise ClientError(
                "INTERNAL",
                "GAP",
                f"frames from {block.first_frame} on came where {self.held_frame_count} was due; update the client",
            )
        self._blocks.append(block)
        self.held_frame_count += block.frame_count
        self._came_s = self._clock()

    def apply(self, applied: ControlApplied) -> None:
        """Drops what a change replaces."""
        if not applied.replaced_frame_count:
            return
        self.held_frame_count = applied.first_frame
        while self._blocks and self._blocks[-1].first_frame >= applied.first_frame:
            self._blocks.pop()
        if self._blocks:
            self._blocks[-1] = self._blocks[-1].before(applied.first_frame)

    def pose(self) -> Pose | None:
        """The frame that is due now, the last one while the next is missing; None before the first has come."""
        if math.isnan(self._at_s):
            if not self.held_frame_count:
                return None
            self._at_s = self._clock()
        elif self._clock() > self._looked_s + MAX_GAP_S:
            self._stand_at(self.frame)
        self._looked_s = self._clock()
        wanted = math.floor(self.frame)
        if wanted >= self.held_frame_count:
            self._wait()
        else:
            self._waits = False
            self._show(wanted)
        return self._shown

    def next_s(self) -> float:
        """Seconds until the next frame is due."""
        return (math.floor(self.frame) + 1 - self.frame) / self._frame_rate_hz

    def pause(self) -> None:
        self._stand_at(self.frame)
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._stand_at(self._frame)

    def _wait(self) -> None:
        """At the first frame that was not shown; a change that came too late may have taken even that away."""
        if not self._waits and not self.ended:
            self.stall_count += 1
        self._waits = True
        next_frame = 0 if self._shown is None else self._shown.frame + 1
        if next_frame < self.held_frame_count:
            self._show(self.held_frame_count - 1)
        self._stand_at(max(self.held_frame_count, next_frame))

    def _stand_at(self, frame: float) -> None:
        self._frame = frame
        if not math.isnan(self._at_s):
            self._at_s = self._clock()

    def _show(self, frame: int) -> None:
        while self._blocks[0].first_frame + self._blocks[0].frame_count <= frame:
            self._blocks.popleft()
        if self._shown is None or self._shown.frame != frame:
            self._shown = self._blocks[0].pose(frame)
