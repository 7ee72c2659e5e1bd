"""Which characters get their next token now: earliest deadline first, then whoever can share the step.

A fresh window (a new character, a change, a full window) has several new positions and costs as much as several
tokens, so few share a step: a crowd of newcomers is taken in between the tokens of those who are on stage, in the order
of their deadlines.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from animoe.engine.batch import Row
from animoe.engine.character import Character
from animoe.retarget.solver import Retargeter, RetargetState

MOST_ROWS = 64
"""Characters per step."""
MOST_POSITIONS = 96
"""New positions per step."""
MOST_DRAWS = 96
"""Tokens drawn per step: a seam draws many candidates."""
LEAST_URGENT_S, MOST_URGENT_S = 0.03, 0.12
"""So long before its deadline a token is not put off any more, as the machine goes. Others may wait for company: it
makes them cheaper."""
_URGENT_STEPS = 2.0
"""A token may come just after a step has begun, and then takes one of its own."""
_FORGOTTEN = 0.99
MOST_ASK = 0.9
"""Share of those who could ask that has asked, after which nobody waits for the rest."""


class Answer(Protocol):
    """What waits for frames: a future of `concurrent.futures` or of asyncio."""

    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def cancel(self) -> bool: ...
    def exception(self) -> BaseException | None: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...


@dataclass(eq=False)
class Pull:
    """One token that a character asked for.

    Attributes:
        row: what the step needs. deadline_s: when the character's motion runs out, by the engine's clock.
        kind: pulls of one kind can share a step. first_frame: of the token. rig: what to put its frames on, None for
            canonical motion.
        found: gets the frames, a PoseBlock or with a rig a RigBlock.
    """

    character: Character
    row: Row
    deadline_s: float
    kind: object
    first_frame: int
    rig: tuple[Retargeter, RetargetState] | None
    found: Answer
    order: int = 0

    def done(self, frames: object, error: BaseException | None) -> None:
        """Hands out the frames or the error, once; whoever gave up gets nothing."""
        if self.found.done():
            return
        with suppress(InvalidStateError, asyncio.InvalidStateError):  # cancelled in this very moment
            if error is not None:
                self.found.set_exception(error)
            else:
                self.found.set_result(frames)


class Scheduler:
    """Pulls that wait; safe to use from several threads.

    Args:
        company: how many characters may come to ask for steps of a kind.

    Attributes:
        urgent_s: so long before its deadline a token is not put off any more.
    """

    def __init__(self, company: Callable[[object], float]) -> None:
        self.urgent_s = MOST_URGENT_S
        self._company = company
        self._slowest_s = MOST_URGENT_S / _URGENT_STEPS
        self._groups: dict[object, _Group] = {}
        self._changed = threading.Condition()
        self._sleeps_for_s = math.inf  # the deadline that whoever waits for a step knows of
        self._count = 0
        self._closed = False

    def __len__(self) -> int:
        return sum(len(group.pulls) for group in list(self._groups.values()))

    def add(self, pull: Pull) -> None:
        with self._changed:
            self._count += 1
            pull.order = self._count
            group = self._groups.setdefault(pull.kind, _Group(pull.kind))
            group.add(pull)
            # Hundreds of times a second: a thread that is woken only to wait again takes the interpreter from others.
            if pull.deadline_s < self._sleeps_for_s or self._is_full(group):
                self._changed.notify()

    def took(self, seconds: float) -> None:
        """A batch was handed out so long after its step began."""
        with self._changed:
            before = self.urgent_s
            self._slowest_s = max(seconds, self._slowest_s * _FORGOTTEN)
            self.urgent_s = min(max(_URGENT_STEPS * self._slowest_s, LEAST_URGENT_S), MOST_URGENT_S)
            if self.urgent_s > before:
                self._changed.notify()

    def wait(self, clock: Callable[[], float], idle_s: float) -> bool:
        """Until a step is due; false when nothing was asked for during `idle_s`, and when closed."""
        with self._changed:
            self._sleeps_for_s = math.inf
            self._changed.wait_for(lambda: self._groups or self._closed, idle_s)
            while self._groups and not self._closed and (delay := self._delay_s(clock())) > 0:
                self._sleeps_for_s = min(group.soonest_s for group in self._groups.values())
                self._changed.wait(delay)
            return bool(self._groups) and not self._closed

    def close(self) -> Sequence[Pull]:
        """Lets nobody wait any more; returns what waited."""
        with self._changed:
            self._closed, left, self._groups = True, self._groups, {}
            self._changed.notify_all()
            return [pull for group in left.values() for pull in group.pulls]

    def take(self) -> Sequence[Pull]:
        """The next batch, of the first kind that need not wait for company, else of the most urgent one; empty when
        nothing waits."""
        with self._changed:
            if not self._groups:
                return []
            groups = sorted(self._groups.values(), key=lambda group: group.soonest_s)
            full = next((group for group in groups if self._is_full(group)), groups[0])
            group = groups[0] if groups[0].soonest_s < full.soonest_s - self.urgent_s else full
            chosen = group.take()
            if not group.pulls:
                del self._groups[group.kind]
            return chosen

    def _delay_s(self, now: float) -> float:
        if any(map(self._is_full, self._groups.values())):
            return 0.0
        return min(group.soonest_s for group in self._groups.values()) - self.urgent_s - now

    def _is_full(self, group: _Group) -> bool:
        """Whether waiting would bring little more company."""
        enough = min(MOST_ROWS, MOST_ASK * self._company(group.kind))
        return len(group.pulls) >= enough or group.draws >= MOST_DRAWS or group.positions >= MOST_POSITIONS


class _Group:
    """Pulls of one kind, which can share a step.

    Attributes:
        soonest_s: first deadline of all. draws, positions: of all together.
    """

    def __init__(self, kind: object) -> None:
        self.kind = kind
        self.pulls: list[Pull] = []
        self.soonest_s, self.draws, self.positions = math.inf, 0, 0

    def add(self, pull: Pull) -> None:
        self.pulls.append(pull)
        self.soonest_s = min(self.soonest_s, pull.deadline_s)
        self.draws += len(pull.row.inputs.uniforms)
        self.positions += len(pull.row.inputs.slots)

    def take(self) -> list[Pull]:
        """Those with the first deadlines, as many as a step holds."""
        waiting = sorted(self.pulls, key=lambda pull: (pull.deadline_s, pull.order))
        count = positions = draws = 0
        for pull in waiting[:MOST_ROWS]:
            positions, draws = positions + len(pull.row.inputs.slots), draws + len(pull.row.inputs.uniforms)
            if count and (positions > MOST_POSITIONS or draws > MOST_DRAWS):
                break
            count += 1
        self.pulls, self.soonest_s, self.draws, self.positions = [], math.inf, 0, 0
        for pull in waiting[count:]:
            self.add(pull)
        return waiting[:count]
