"""Pacing: a live stream keeps a small lead over its caller's playhead.

HTTP/2 flow control does not do this: an unread stream takes minutes of motion before a write blocks, and
every frame sent ahead is one that costs work to change.

Without reports the playhead runs with the clock from the first block on. With them it is where the caller says, within
what the clock and the frames sent allow, and runs with the clock from there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

LEAD_S = 0.32
"""Most motion sent ahead of the playhead where frames that were sent stay: covers network jitter, and with one block
on top stays below the half second in which a change must show."""
REPLACEABLE_LEAD_S = 0.75
"""The same where they can be replaced: a change need not wait for the end of them. Two blocks leave together."""
MAX_LAG_S = 0.5
"""A stream this far behind (machine asleep, overload) goes on from now, it does not hurry after the clock."""
MAX_SILENCE_S = 5.0
"""A playhead that was reported and is not any more stands still after this: nothing is made for a frozen game."""
_DRIFT = 1.01
"""Two clocks differ by less, so a playhead that is quicker than this does not play but takes."""


class Pacer:
    """Follows the playhead of one stream and says when the next frames may leave.

    Args:
        frame_rate_hz: frames per second of the stream.
        lead_s: seconds of motion sent ahead of the playhead.
        clock: seconds, monotonic.

    Attributes:
        lead_s: as given; may be changed.
        sent_frame: index after the last frame that the caller was sent.
        reported: whether the caller says where it plays.
        moved_s: by the clock, when a reported playhead last moved.
        paused: whether time stands still.
    """

    def __init__(
        self, frame_rate_hz: float, lead_s: float = LEAD_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lead_s = lead_s
        self.sent_frame = 0
        self.reported = self.paused = False
        self.moved_s = clock()
        self._frame_rate_hz = frame_rate_hz
        self._clock = clock
        self._frame, self._at_s = 0.0, math.nan  # where the playhead was, and when
        self._said_frame = 0.0
        self._ran_s = 0.0  # up to _since_s
        self._since_s = math.nan

    @property
    def frame(self) -> float:
        """Where the playhead is now, in frames; 0 until something was sent."""
        if math.isnan(self._at_s):
            return 0.0
        ran_s = 0.0 if self.paused else self._clock() - self._at_s
        if not self.reported:
            return self._frame + ran_s * self._frame_rate_hz
        return min(self._frame + min(ran_s, MAX_SILENCE_S) * self._frame_rate_hz, self.sent_frame)

    def sent(self, end_frame: int) -> None:
        """Frames before `end_frame` are on their way, and no others; the first call starts the playhead."""
        self.sent_frame = end_frame
        if math.isnan(self._at_s):
            self._at_s = self._since_s = self._clock()

    def delay_s(self, frame_count: int) -> float:
        """Seconds, >= 0, until that many frames more may leave."""
        ahead_s = (self.sent_frame + frame_count - self.frame) / self._frame_rate_hz
        if ahead_s < -MAX_LAG_S:
            self._move(self.sent_frame)  # the playhead waited for us at the last frame
            ahead_s = frame_count / self._frame_rate_hz
        return max(0.0, ahead_s - self.lead_s)

    def runs_out_s(self) -> float:
        """When the playhead comes to the end of what was sent, by the clock; now, as long as it has not started."""
        left_s = 0.0 if math.isnan(self._at_s) else (self.sent_frame - self.frame) / self._frame_rate_hz
        return self._clock() + left_s

    def report(self, frame: float) -> float:
        """The caller says where it plays: >= 0, finite. Returns what is taken for true, in frames.

        It can neither run back nor be beyond what was sent, nor ahead of the clock.
        """
        if math.isnan(self._at_s):
            return 0.0
        ran_s = self._ran_s + (0.0 if self.paused else self._clock() - self._since_s)
        most = min(float(self.sent_frame), ran_s * self._frame_rate_hz * _DRIFT + 1)
        taken = max(self._said_frame, min(frame, most))
        if taken > self._said_frame or not self.reported:
            self.moved_s = self._clock()
        self.reported, self._said_frame = True, taken
        self._move(taken)
        return taken

    def pause(self) -> None:
        """Time stands still."""
        if not self.paused:
            self._move(self.frame)
            self._ran_s += 0.0 if math.isnan(self._since_s) else self._clock() - self._since_s
            self.paused = True

    def resume(self) -> None:
        """It runs again."""
        if self.paused:
            self.paused = False
            if not math.isnan(self._at_s):
                self._at_s = self._since_s = self._clock()

    def blocked(self, seconds: float) -> None:
        """The caller did not read for so long; it has not played meanwhile what it did not read."""
        if not self.reported and not math.isnan(self._at_s):
            self._at_s += seconds

    def _move(self, frame: float) -> None:
        if not math.isnan(self._at_s):
            self._frame, self._at_s = frame, self._clock()
