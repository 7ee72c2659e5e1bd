"""Reserve: motion in front of a playhead that is never replaced, as short as the measured latency allows."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from animoe.serving.monitoring.series import Recent, quantile

MIN_RESERVE_S, MAX_RESERVE_S = 0.15, 0.5
JITTER_S = 0.05
"""On top of what was measured: the caller's own frame, a late thread."""
SLOWER = 2.0
"""A block after a change takes longer than others: a window is seen again, and several tokens are drawn."""
FIRST_ROUND_TRIP_S = 0.1
"""Until one was measured."""
_SHARE = 0.95
_REFRESH_S = 1.0
_SENDINGS = 64
"""Blocks whose arrival is waited for: 8 s of motion, more than the longest lead."""


class Reserve:
    """Measures how long frames are under way to one caller.

    What counts is the way there and back: a playhead is that much further on when what was made after its report
    arrives.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sendings: deque[tuple[int, float]] = deque(maxlen=_SENDINGS)
        self._round_trips = Recent()
        self._round_trip_s, self._looked_s = FIRST_ROUND_TRIP_S, -math.inf

    def sent(self, end_frame: int) -> None:
        """Frames before `end_frame` leave now."""
        self._sendings.append((end_frame, self._clock()))

    def took_back(self, first_frame: int) -> None:
        """Frames from `first_frame` on are replaced: nobody waits for the old ones."""
        while self._sendings and self._sendings[-1][0] > first_frame:
            self._sendings.pop()

    def held(self, end_frame: int, for_s: float) -> None:
        """The caller says that frames before `end_frame` came `for_s` seconds before it said so."""
        while self._sendings and self._sendings[0][0] <= end_frame:
            frame, sent_s = self._sendings.popleft()
            trip_s = self._clock() - sent_s - for_s
            if frame == end_frame and trip_s >= 0:
                if trip_s > self._round_trip_s:
                    self._looked_s = -math.inf  # what is slower counts at once
                self._round_trips.add(self._clock(), min(trip_s, MAX_RESERVE_S))

    @property
    def round_trip_s(self) -> float:
        """From sending to having heard that it came, nineteen times out of twenty in the last seconds."""
        now = self._clock()
        if now - self._looked_s >= _REFRESH_S:  # asked for with every block
            if not (found := self._round_trips.values(now)):
                return FIRST_ROUND_TRIP_S
            self._round_trip_s, self._looked_s = quantile(found, _SHARE), now
        return self._round_trip_s

    def seconds(self, block_s: float) -> float:
        """The reserve.

        Args:
            block_s: what the engine takes to make a block that is urgent.
        """
        wanted_s = self.round_trip_s + SLOWER * block_s + JITTER_S
        return min(max(wanted_s, MIN_RESERVE_S), MAX_RESERVE_S)
