"""One line on stderr while many files are worked on: how many, and how long it will take."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_EVERY_S = 0.2


class Progress:
    """Counts up to `total`; silent where nobody looks (stderr is no terminal).

    Args:
        total: things to do.
        what: their plural.
        stream: where to write.
    """

    def __init__(self, total: int, what: str, stream: TextIO | None = None) -> None:
        self._total, self._what = total, what
        self._stream = sys.stderr if stream is None else stream
        self._start = time.monotonic()
        self._shown_at, self._width = -_EVERY_S, 0
        self.done = 0

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        now = time.monotonic() - self._start
        if self._stream.isatty() and (now - self._shown_at >= _EVERY_S or self.done == self._total):
            self._shown_at = now
            self._show(f"{self.done} of {self._total} {self._what}, {self._left(now)} left")

    def clear(self) -> None:
        """Takes the line away."""
        if self._width:
            self._show("")
            self._stream.write("\r")
            self._stream.flush()

    def _left(self, elapsed_s: float) -> str:
        seconds = round(elapsed_s / self.done * (self._total - self.done))
        minutes, seconds = divmod(seconds, 60)
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

    def _show(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)
