"""Which characters get their next token now: earliest deadline first, then whoever fits into the same step.

A step holds either fresh windows (new characters, changes, full windows; several positions each) of equal length, or
single tokens of one cohort. A fresh window costs as much as several tokens, so few share a step: a crowd of newcomers
is taken in between the tokens of those who are on stage, in the order of their deadlines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from animoe.engine.batch import Row
from animoe.engine.character import Character
from animoe.retarget.solver import Retargeter, RetargetState

MOST_ROWS = 64
"""Characters per step."""
MOST_POSITIONS = 96
"""New positions per step of fresh windows."""
MOST_DRAWS = 96
"""Tokens drawn per step: a seam draws many candidates."""
URGENT_S = 0.12
"""So long before its deadline a token is not put off any more. Others may wait for company: it makes them cheaper."""
ENOUGH = 32
"""Tokens that are asked for, after which none waits."""


@dataclass(eq=False)
class Pull:
    """One token that a character asked for.

    Attributes:
        row: what the step needs. deadline_s: when the character's motion runs out, by the engine's clock.
        first_frame: of the token. rig: what to put its frames on, None for canonical motion.
        found: gets the frames, a PoseBlock or with a rig a RigBlock.
    """

    character: Character
    row: Row
    deadline_s: float
    first_frame: int
    rig: tuple[Retargeter, RetargetState] | None
    found: Future[Any]
    order: int = 0

    def done(self, frames: object, error: BaseException | None) -> None:
        """Hands out the frames or the error, once; whoever gave up gets nothing."""
        if self.found.done() or not self.found.set_running_or_notify_cancel():
            return
        if error is not None:
            self.found.set_exception(error)
        else:
            self.found.set_result(frames)


class Scheduler:
    """Pulls that wait; safe to use from several threads."""

    def __init__(self) -> None:
        self._waiting: list[Pull] = []
        self._changed = threading.Condition()
        self._count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, pull: Pull) -> None:
        with self._changed:
            self._count += 1
            pull.order = self._count
            self._waiting.append(pull)
            self._changed.notify()

    def wait(self, clock: Callable[[], float], idle_s: float) -> bool:
        """Until a step is due; false when nothing was asked for during `idle_s`."""
        with self._changed:
            if not self._waiting and not self._changed.wait_for(lambda: bool(self._waiting), idle_s):
                return False
            while (delay := self._delay_s(clock())) > 0:
                self._changed.wait(delay)
            return True

    def take(self) -> Sequence[Pull]:
        """The next batch; empty when nothing waits."""
        with self._changed:
            ordered = sorted(self._waiting, key=lambda pull: (pull.deadline_s, pull.order))
            chosen = _fitting(ordered)
            taken = set(map(id, chosen))
            self._waiting = [pull for pull in self._waiting if id(pull) not in taken]
            return chosen

    def _delay_s(self, now: float) -> float:
        if len(self._waiting) >= ENOUGH:
            return 0.0
        return min(pull.deadline_s for pull in self._waiting) - URGENT_S - now


def _fitting(ordered: Sequence[Pull]) -> list[Pull]:
    """The first pull, and those after it that a step can hold beside it."""
    chosen: list[Pull] = []
    positions = draws = 0
    for pull in ordered:
        inputs = pull.row.inputs
        if chosen and _kind(pull) != _kind(chosen[0]):
            continue
        positions, draws = positions + len(inputs.slots), draws + len(inputs.uniforms)
        if chosen and (positions > MOST_POSITIONS or draws > MOST_DRAWS or len(chosen) == MOST_ROWS):
            break
        chosen.append(pull)
    return chosen


def _kind(pull: Pull) -> object:
    """Pulls of one kind can share a step."""
    inputs = pull.row.inputs
    return len(inputs.slots) if inputs.positions[0] == 0 else pull.row.place.cohort
