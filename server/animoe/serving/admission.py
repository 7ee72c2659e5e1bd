"""Admission: who is let in, so that nobody who plays already is harmed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager

from animoe.errors import Overloaded
from animoe.serving.limits import Limits, StreamSlots
from animoe.serving.load import Load

MAX_OPENING = 16
"""Live sessions between their request and their first frames. A first frame costs the engine as much as several others,
and those that are not on stage yet do not show in the load: when hundreds come at once they come one after another."""
_PATIENCE_S = 1.0
"""So long a newcomer waits for a strained moment to pass."""
_OPENING_PATIENCE_S = 10.0
_RETRY_S = 2.0
_LOOK_S = 0.02


class Admission:
    """The door of one server; for the event loop's thread only.

    Args:
        slots: how many streams may run. load: how those that run do. limits: whether that counts.
    """

    def __init__(
        self, slots: StreamSlots, load: Load, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.load = load
        self._slots, self._limits, self._clock = slots, limits, clock
        self._opening = asyncio.Semaphore(MAX_OPENING)

    @asynccontextmanager
    async def live(self) -> AsyncIterator[Opening]:
        """Holds a live session's place. Call `done` of what it gives when the first frames have left.

        Raises:
            Overloaded: no place, or those who play would come too late.
        """
        with self._slots.take():
            opening = Opening(self._opening)
            try:
                await self._wait_for_calm()
                await opening.wait()
                await self._wait_for_calm()  # those before us may have been too many
                yield opening
            finally:
                opening.done()

    def clip(self) -> AbstractContextManager[None]:
        """Holds a clip's place.

        Raises:
            Overloaded: as for `live`.
        """
        self._refuse_when_tight()
        return self._slots.take(clip=True)

    async def yield_to_live(self) -> None:
        """A clip waits here before each block while live characters have no time to lose."""
        if self._limits.watch_load and self.load.strained:
            await asyncio.sleep(_LOOK_S * 5)

    async def _wait_for_calm(self) -> None:
        self._refuse_when_tight()
        until = self._clock() + _PATIENCE_S
        while self._limits.watch_load and self.load.strained and self._clock() < until:
            await asyncio.sleep(_LOOK_S)
            self._refuse_when_tight()

    def _refuse_when_tight(self) -> None:
        if self._limits.watch_load and self.load.tight:
            raise Overloaded(
                f"the {self._slots.active} streams that the server plays leave no time for another; try again later, "
                "or use a quicker machine",
                retry_after_s=_hint_s(),
            )


class Opening:
    """A newcomer's turn."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns = turns
        self._has_turn = False

    async def wait(self) -> None:
        """Raises Overloaded when its turn does not come."""
        try:
            async with asyncio.timeout(_OPENING_PATIENCE_S):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded("too many sessions begin at once; try again later", retry_after_s=_hint_s()) from None
        self._has_turn = True

    def done(self) -> None:
        """The next one may come. Twice does no harm."""
        if self._has_turn:
            self._has_turn = False
            self._turns.release()


def _hint_s() -> float:
    """Spread, so that those who were refused together do not come back together."""
    return _RETRY_S * random.uniform(1.0, 1.5)
