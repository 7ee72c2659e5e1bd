"""What the system says about this process."""

from __future__ import annotations

import os
import time
from collections import deque

from animoe.serving.monitoring.series import WINDOW_S


def rss_bytes() -> int:
    """Memory that the process holds; 0 where the system does not say (no /proc)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as pages:
            return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class CpuShare:
    """Processors that this process keeps busy, over the window."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, float]] = deque()

    def mark(self, now_s: float) -> None:
        """To be called about once a second."""
        self._marks.append((now_s, time.process_time()))
        while self._marks[0][0] < now_s - WINDOW_S:
            self._marks.popleft()

    def share(self, now_s: float) -> float:
        if not self._marks or now_s - self._marks[0][0] <= 0.05:
            return 0.0
        since, used = self._marks[0]
        return (time.process_time() - used) / (now_s - since)
