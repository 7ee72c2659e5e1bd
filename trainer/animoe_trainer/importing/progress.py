"""How far an import is, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

STEPS = ("validate", "tokenise", "train", "evaluate", "publish")
_SHARES = {"validate": 0.08, "tokenise": 0.12, "train": 0.5, "evaluate": 0.28, "publish": 0.02}
"""Of the time that a pack of a hundred clips takes: the guess until something better is known."""


@dataclass(frozen=True)
class Event:
    """One sign of life.

    Attributes:
        step: one of STEPS. done, total: of the step's own units. share: of the whole import, 0 to 1.
        seconds_left: of the whole import, None while nobody can know. message: a sentence, or empty.
    """

    step: str
    done: int
    total: int
    share: float
    seconds_left: float | None
    message: str = ""


Watcher = Callable[[Event], None]


class Clock:
    """Turns what the steps say into events; a step's length is known once part of it is done."""

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher
        self._begin: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int, message: str = "") -> None:
        """Says that `done` of `total` units of a step are done."""
        now = time.monotonic()
        begin = self._begin.setdefault(step, now)
        part = done / total if total else 1.0
        before = sum(_SHARES[name] for name in STEPS[: STEPS.index(step)])
        share = before + _SHARES[step] * part
        left = None
        if part >= 0.05 and now > begin:
            here = (now - begin) / part
            left = here * (1 - part) + here / _SHARES[step] * (1 - before - _SHARES[step])
        if self._watcher is not None:
            self._watcher(Event(step, done, total, share, left, message))
