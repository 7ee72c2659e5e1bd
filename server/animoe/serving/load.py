"""Load: whether the engine keeps its live characters in time, seen from what they got.

Busy processors say little: a clip takes all that is free, and steps wait for company. What counts is how long before
it was needed a block was there; and before that, whether it was there when the engine meant to have it, since an engine
that falls behind lives on the lead of its characters for a second or two. One slow moment of the machine is no
overload, so it must show again and again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from animoe.serving.monitoring.series import Recent, quantile

LATE_SLACK_S, LATE_SHARE = 0.03, 0.25
"""A block that is there so shortly before it is needed is as good as late: seconds, or share of the time that the
engine had once it put the block off no more. It leaves itself twice the time of a slow step."""
SAFE_SLACK_S, SAFE_SHARE = 0.05, 0.4
"""What blocks must have before new streams are let in again."""
FIRST_BLOCK_S = 0.05
"""Until one was measured."""
_BUCKET_S, _BUCKETS = 0.25, 8
_BAD_SHARE = 0.05
_BEHIND_SHARE = 0.25
"""Measured with 200 to 360 characters: an engine that keeps up has at most 6 in 100 behind, one that does not 70."""
_BAD_BUCKETS, _BEHIND_BUCKETS, _GOOD_BUCKETS = 4, 2, 1
_SHARE = 0.99
_REFRESH_S = 0.25


@dataclass
class _Bucket:
    number: int
    blocks: int = 0
    late: int = 0
    near: int = 0
    behind: int = 0


class Load:
    """Told of every block of every live session; for the event loop's thread only.

    Args:
        clock: seconds, monotonic; the engine's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: deque[_Bucket] = deque(maxlen=_BUCKETS)
        self._times = Recent()
        self._block_s, self._block_at_s = FIRST_BLOCK_S, -_REFRESH_S
        self._tight = False

    def made(self, urgent_s: float, due_s: float, needed_s: float, *, counts: bool = True) -> None:
        """A block is there now that was urgent from `urgent_s` on, was meant to be there at `due_s` and is needed at
        `needed_s`, by the clock.

        counts: false for blocks that were asked for at the last moment for good reasons: the first, and after a change.
        """
        now = self._clock()
        self._times.add(now, max(0.0, now - urgent_s))
        if counts:
            bucket = self._bucket(now)
            bucket.blocks += 1
            slack_s, given_s = needed_s - now, max(needed_s - urgent_s, 0.0)
            bucket.late += slack_s < min(LATE_SLACK_S, LATE_SHARE * given_s)
            bucket.near += slack_s < min(SAFE_SLACK_S, SAFE_SHARE * given_s)
            bucket.behind += now > due_s

    @property
    def block_s(self) -> float:
        """What a block takes once it is urgent, seconds, 99 times out of 100 in the last seconds."""
        now = self._clock()
        if now - self._block_at_s >= _REFRESH_S:  # for hundreds of sessions: not each sorts anew
            found = self._times.values(now)
            self._block_s, self._block_at_s = quantile(found, _SHARE) if found else FIRST_BLOCK_S, now
        return self._block_s

    @property
    def strained(self) -> bool:
        """Whether blocks are late right now: a moment to wait, not to give up."""
        oldest = self._number(self._clock()) - 1
        return any(_bad(bucket.late, bucket.blocks) for bucket in self._buckets if bucket.number >= oldest)

    @property
    def tight(self) -> bool:
        """Whether one more character would harm those that play; once it is, it takes two calm seconds to pass."""
        oldest = self._number(self._clock()) - _BUCKETS
        recent = [bucket for bucket in self._buckets if bucket.number > oldest]
        behind = sum(bucket.behind > _BEHIND_SHARE * bucket.blocks for bucket in recent)
        if self._tight:
            near = sum(_bad(bucket.near, bucket.blocks) for bucket in recent)
            self._tight = max(near, behind) > _GOOD_BUCKETS
        else:
            late = sum(_bad(bucket.late, bucket.blocks) for bucket in recent)
            self._tight = late >= _BAD_BUCKETS or behind >= _BEHIND_BUCKETS
        return self._tight

    def _bucket(self, now_s: float) -> _Bucket:
        number = self._number(now_s)
        if not self._buckets or self._buckets[-1].number != number:
            self._buckets.append(_Bucket(number))
        return self._buckets[-1]

    def _number(self, now_s: float) -> int:
        return int(now_s / _BUCKET_S)


def _bad(count: int, blocks: int) -> bool:
    return count > _BAD_SHARE * blocks
