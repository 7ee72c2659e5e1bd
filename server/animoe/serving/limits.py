"""What one server allows, so that no caller can take it down. GetCapabilities tells all of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from animoe.errors import InvalidRequest, Overloaded, TooManyMessages

MAX_JOINTS = 1024
MAX_JOINT_NAME_CHARS = 256
MAX_EMOTION_KEYS = 1000
MAX_MESSAGE_BYTES = 1 << 20
"""Received messages; a skeleton of MAX_JOINTS joints with ordinary names takes about a tenth of it."""
DEFAULT_MAX_STREAMS = 256

MIN_BUFFER_S, MAX_BUFFER_S = 0.1, 1.0
MESSAGES_PER_PROMPT = 6.0
"""A prompt is encoded and planned; an emotion or a playhead is a few numbers."""
MESSAGE_BURST_S = 2.0
"""So many seconds' worth of messages may come at once."""
GREEDY_TIMEOUT_S = 10.0
START_TIMEOUT_S = 10.0
_CLIPS_SHARE = 0.75
"""Of the streams: the rest is left for live sessions."""
_FULL_RETRY_S = 1.0


@dataclass(frozen=True)
class Limits:
    """What the server's owner may set.

    Attributes:
        messages_per_second: that a live session may send on average, >= 1.
        idle_s: a paused session, or one whose reported playhead stands still, is cut after this. 0 is never.
        stuck_s: a caller that leaves a message unread for so long is cut. 0 is never.
        watch_load: whether new streams are refused while those that run can hardly be kept in time.
        start_s: how long the first message may take. greedy_s: how long a session may send too much.
    """

    messages_per_second: float = 100.0
    idle_s: float = 900.0
    stuck_s: float = 20.0
    watch_load: bool = True
    start_s: float = START_TIMEOUT_S
    greedy_s: float = GREEDY_TIMEOUT_S

    def __post_init__(self) -> None:
        if not (math.isfinite(self.messages_per_second) and self.messages_per_second >= 1):
            raise InvalidRequest(f"--messages-per-second must be 1 or more, got {self.messages_per_second:g}")
        for flag, value in (("--idle-cut", self.idle_s), ("--stuck-cut", self.stuck_s)):
            if not (math.isfinite(value) and value >= 0):
                raise InvalidRequest(f"{flag} must be 0 (never) or more seconds, got {value:g}")

    @property
    def message_burst(self) -> float:
        """Messages that may come at once."""
        return self.messages_per_second * MESSAGE_BURST_S


class MessageRate:
    """How quickly one caller's messages are read: a bucket that fills with time and may run into debt.

    Args:
        limits: messages per second, and for how long a caller may send more.
        clock: seconds, monotonic.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._left, self._at_s = limits.message_burst, clock()
        self._pressed_since_s: float | None = None

    def delay_s(self, cost: float = 1.0) -> float:
        """Takes in a message of `cost`; how long to wait before the next one is read, 0 as a rule.

        Raises:
            TooManyMessages: the caller has not let up for too long.
        """
        limits, now = self._limits, self._clock()
        self._left = min(limits.message_burst, self._left + (now - self._at_s) * limits.messages_per_second)
        if self._left >= limits.messages_per_second:  # half full again: it has let up
            self._pressed_since_s = None
        self._at_s, self._left = now, self._left - cost
        if self._left >= 0:
            return 0.0
        if self._pressed_since_s is None:
            self._pressed_since_s = now
        elif limits.greedy_s and now - self._pressed_since_s > limits.greedy_s:
            raise TooManyMessages(
                f"the session sent more than {limits.messages_per_second:g} messages a second for more than "
                f"{limits.greedy_s:g} s; report the playhead a few times a second and send changes only"
            )
        return -self._left / limits.messages_per_second


@dataclass
class StreamSlots:
    """Counts the streams (clips and live sessions) that run at one time.

    Attributes:
        limit: most streams at one time, >= 1.
        active: streams that run now. clips: how many of them are clips.
    """

    limit: int = DEFAULT_MAX_STREAMS
    active: int = 0
    clips: int = 0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InvalidRequest(f"--max-streams must be 1 or more, got {self.limit}")

    @property
    def clip_limit(self) -> int:
        """Most clips at one time: they may not take every place from the characters of a game."""
        return max(1, math.ceil(self.limit * _CLIPS_SHARE))

    @contextmanager
    def take(self, *, clip: bool = False) -> Iterator[None]:
        """Holds a slot for as long as the stream lives. Raises Overloaded when all are taken."""
        if self.active >= self.limit:
            raise Overloaded(
                f"the server already plays {self.active} streams, its limit; end one, try again later, "
                "or start the server with a higher --max-streams",
                retry_after_s=_FULL_RETRY_S,
            )
        if clip and self.clips >= self.clip_limit:
            raise Overloaded(
                f"the server already makes {self.clips} clips, its limit; try again later, "
                "or start the server with a higher --max-streams",
                retry_after_s=_FULL_RETRY_S,
            )
        self.active += 1
        self.clips += clip
        try:
            yield
        finally:
            self.active -= 1
            self.clips -= clip
