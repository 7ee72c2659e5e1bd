"""Pools of threads in which engine and retargeter run, so that the event loop never blocks."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Compute:
    """Runs blocking work; first come, first served.

    Args:
        workers: threads; None takes one per processor, at least 2.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(workers or max(2, os.cpu_count() or 2), thread_name_prefix="animoe")

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Awaits `work(*args)` in the pool. When the caller is cancelled, work that has begun goes on."""
        context = contextvars.copy_context()  # what it logs belongs to the caller's stream
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(work, *args, **kwargs))

    def close(self) -> None:
        """Drops work that has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)
