"""Series: values of one kind, as a histogram since the start and sample by sample over the last seconds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

WINDOW_S = 10.0


def window_start_s(now_s: float) -> int:
    """Where the window begins: WINDOW_S ago, rounded down to a whole second."""
    return math.floor(now_s - WINDOW_S)


@dataclass(frozen=True)
class Latency:
    """Values of the window: how many, median, 99th percentile, largest; all 0 without one."""

    count: int = 0
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Recent:
    """Values of the last WINDOW_S seconds, kept in one list per second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, list[float]]] = deque()

    def add(self, now_s: float, value: float) -> None:
        second = int(now_s)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, []))
            self._drop(now_s)
        self._seconds[-1][1].append(value)

    def values(self, now_s: float) -> list[float]:
        """All of them, ascending."""
        self._drop(now_s)
        return sorted(value for _, values in self._seconds for value in values)

    def _drop(self, now_s: float) -> None:
        while self._seconds and self._seconds[0][0] < window_start_s(now_s):
            self._seconds.popleft()


class Series:
    """A histogram and a window.

    Args:
        bounds: upper bounds of the histogram's buckets, ascending; one more bucket takes the rest.

    Attributes:
        counts: values in each bucket. total: sum of those above 0; it must never fall.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.recent = Recent()

    def add(self, now_s: float, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += max(value, 0.0)
        self.recent.add(now_s, value)

    def latency(self, now_s: float) -> Latency:
        values = self.recent.values(now_s)
        if not values:
            return Latency()
        return Latency(len(values), quantile(values, 0.5), quantile(values, 0.99), values[-1])


def quantile(ascending: list[float], share: float) -> float:
    """Smallest value with at least `share` of all values at or below it; 0 without values (nearest rank)."""
    if not ascending:
        return 0.0
    return ascending[max(math.ceil(share * len(ascending)), 1) - 1]
