"""Pacing: a live stream keeps a small, fixed lead over a playhead that runs with the clock.

HTTP/2 flow control does not do this: an unread stream takes minutes of motion before a write blocks, and
every frame sent ahead is one that a new prompt can no longer change.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LEAD_S = 0.25
"""Most motion sent ahead of the playhead: covers network jitter, and with one block on top stays below the
half second in which a change must show."""
MAX_LAG_S = 0.5
"""A stream this far behind (machine asleep, overload) goes on from now, it does not hurry after the clock."""


class Pacer:
    """Says when the next frames of one stream may leave.

    Args:
        frame_rate_hz: frames per second of the stream.
        lead_s: seconds of motion sent ahead of the playhead.
        clock: seconds, monotonic.
    """

    def __init__(
        self, frame_rate_hz: float, lead_s: float = LEAD_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._frame_rate_hz = frame_rate_hz
        self._lead_s = lead_s
        self._clock = clock
        self._start_s: float | None = None

    def delay_s(self, end_frame: int) -> float:
        """Seconds, >= 0, until frames before `end_frame` may leave. The first call starts the playhead."""
        now = self._clock()
        if self._start_s is None:
            self._start_s = now
        ahead = end_frame / self._frame_rate_hz - (now - self._start_s)
        if ahead < -MAX_LAG_S:
            self._start_s -= ahead  # the playhead waited for us at the last frame
            ahead = 0.0
        return max(0.0, ahead - self._lead_s)

    def time_of_s(self, frame: int) -> float:
        """When the playhead reaches a frame, by the clock; now, as long as it has not started."""
        return self._clock() if self._start_s is None else self._start_s + frame / self._frame_rate_hz
