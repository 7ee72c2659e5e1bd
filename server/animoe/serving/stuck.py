"""Callers that do not read: a message that nobody takes holds a place that others could have."""

from __future__ import annotations

import asyncio
from typing import Any

from animoe.errors import TimedOut
from animoe.serving.calls import Write


class StuckWatch:
    """Writes, and ends the call when a message is left unread for too long. One alarm for many messages: they are
    hundreds a second, and an `asyncio.timeout` for each took a tenth of the server's time.

    Args:
        write: of the call. stuck_s: patience; 0 has no end.
    """

    def __init__(self, write: Write, stuck_s: float) -> None:
        self._write, self._stuck_s = write, stuck_s
        self._began_s: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._rang = False

    async def write(self, response: Any) -> None:
        """Returns when the message is taken.

        Raises:
            TimedOut: it was not.
        """
        if not self._stuck_s:
            return await self._write(response)
        loop = asyncio.get_running_loop()
        self._began_s = loop.time()
        if self._alarm is None:
            self._task = asyncio.current_task()
            self._alarm = loop.call_later(self._stuck_s, self._look)
        try:
            await self._write(response)
        except asyncio.CancelledError:
            if self._rang and self._task is not None and self._task.uncancel() <= 0:
                raise TimedOut(
                    "STUCK_READER",
                    f"a message was not read for {self._stuck_s:g} s; read the stream all the time, or end it",
                ) from None
            raise
        finally:
            self._began_s = None

    def close(self) -> None:
        """The call is over."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _look(self) -> None:
        """Whether the message that is on its way now is still the one of long ago; else another look when it may be."""
        self._alarm = None
        if self._began_s is None or self._task is None:
            return  # the next message sets the alarm again
        loop = asyncio.get_running_loop()
        left_s = self._began_s + self._stuck_s - loop.time()
        if left_s > 0:
            self._alarm = loop.call_later(left_s, self._look)
        else:
            self._rang = True
            self._task.cancel()
