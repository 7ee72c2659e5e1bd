"""Ctrl-C and a polite kill while worker processes run: no process half started, orphaned or hanging.

A KeyboardInterrupt inside multiprocessing leaves it in pieces. So stops are noted while there are workers, and raised
when these are gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

_STOPS = (signal.SIGINT, signal.SIGTERM)


class Stops:
    """Stops that were asked for. The second one ends the workers at once, whatever they are doing."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, FrameType | None]] = []

    @property
    def asked(self) -> bool:
        return bool(self._seen)

    def note(self, number: int, frame: FrameType | None) -> None:
        """A signal handler."""
        self._seen.append((number, frame))
        if len(self._seen) > 1:
            for child in multiprocessing.active_children():
                child.kill()


@contextmanager
def noted_stops() -> Iterator[Stops]:
    """Stops take effect when the block ends. Processes started in it never see Ctrl-C, not even while they import."""
    stops = Stops()
    if threading.current_thread() is not threading.main_thread():
        yield stops  # only the main thread is interrupted
        return
    # What is ignored stays so: shells do that for what they start in the background.
    heard = [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, stops.note) for number in heard}
    try:
        yield stops
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for stop, frame in stops._seen[:1]:
        handler = handlers[signal.Signals(stop)]
        if callable(handler):
            handler(stop, frame)


@contextmanager
def deaf_children() -> Iterator[None]:
    """A process that is started in the block inherits the mask and so never sees Ctrl-C."""
    if sys.platform == "win32":
        yield
        return
    # Starting a process starts this one first, if it does not run, and that lifts the mask again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_stops_to_the_parent() -> None:
    """In a worker: Ctrl-C is for the first process, which lets this one finish; without it, this one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
