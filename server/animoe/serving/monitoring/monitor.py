"""Monitor: hears what happens in engine and services, and says how the server does.

Whoever reports appends to a queue, which takes no lock; counting is done by whoever asks, and once a second besides.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from animoe.engine import Engine
from animoe.engine.observer import Observer
from animoe.errors import AniMoEError
from animoe.serving.jobs.job import JobState
from animoe.serving.limits import StreamSlots
from animoe.serving.monitoring.process import CpuShare, rss_bytes
from animoe.serving.monitoring.series import quantile, window_start_s
from animoe.serving.monitoring.status import ServerState, Status
from animoe.serving.monitoring.tally import Tally

JobCounts = Mapping[JobState, int]

_TICK_S = 1.0
log = logging.getLogger(__name__)


class Monitor(Observer):
    """Counts what it is told: by the engine about steps, by the calls about streams. Safe to use from every thread.

    Args:
        slots: of the server's streams.

    Attributes:
        engine: what performs, None while it loads.
        stopping: whether the server is on its way out.
        jobs: of the bundle, by state, as of a second ago.
    """

    def __init__(self, slots: StreamSlots) -> None:
        self.engine: Engine | None = None
        self.stopping = False
        self.jobs: JobCounts = {}
        self._slots = slots
        self._events: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._tally, self._lock = Tally(), threading.Lock()
        self._began_s = time.monotonic()
        self._cpu = CpuShare()
        self._cpu.mark(self._began_s)

    def step(self, batch: int, seconds: float) -> None:
        self._events.append((Tally.step, (batch, seconds)))

    def queue(self, depth: int) -> None:
        self._events.append((Tally.queue, (depth,)))

    def live_began(self, session: str) -> None:
        """A live session was let in."""
        self._events.append((Tally.live_began, (session,)))

    def live_ended(self, session: str) -> None:
        """It is over."""
        self._events.append((Tally.live_ended, (session,)))

    def performs(self, session: str, shares: Mapping[str, float]) -> None:
        """It performs with these experts from now on: NAME@VERSION or "base" -> share; they add up to 1."""
        self._events.append((Tally.performs, (session, shares)))

    def first_frame(self, seconds: float) -> None:
        """A stream's first frames leave so long after it was asked for."""
        self._events.append((Tally.first_frame, (seconds,)))

    def sent(self, frame_count: int, margin_s: float | None = None) -> None:
        """Frames leave; those of a live session so long before the first of them is due (below 0: late)."""
        self._events.append((Tally.sent, (frame_count, margin_s)))

    def refused(self, reason: str) -> None:
        """A stream was refused; `reason` as in `AniMoEError.reason`."""
        self._events.append((Tally.refused, (reason,)))

    def stalled(self) -> None:
        """A caller had no frame to show, though every block left in time."""
        self._events.append((Tally.stalled, ()))

    def cut(self, reason: str) -> None:
        """A stream that had been let in was ended with an error."""
        self._events.append((Tally.cut, (reason,)))

    def ended(self, method: str, code: str) -> None:
        """A call has ended with a gRPC code."""
        self._events.append((Tally.ended, (method, code)))

    async def run(self) -> None:
        """Counts until it is cancelled, so that neither the queue nor the windows grow while nobody asks."""
        while True:
            with self.tally():
                self._cpu.mark(time.monotonic())
            await asyncio.sleep(_TICK_S)

    async def follow_jobs(self, count: Callable[[], Awaitable[JobCounts]]) -> None:
        """Keeps `jobs` up to date until it is cancelled; a database that does not answer holds up nothing else."""
        while True:
            try:
                self.jobs = await count()
            except AniMoEError as error:
                log.debug("jobs cannot be counted: %s", error)
            await asyncio.sleep(_TICK_S)

    @contextmanager
    def tally(self) -> Iterator[Tally]:
        """All that was counted up to now, for reading; keep it short."""
        with self._lock:
            now = time.monotonic()
            for _ in range(len(self._events)):
                count, values = self._events.popleft()
                count(self._tally, now, *values)
            yield self._tally

    def status(self) -> Status:
        """The server as it is now."""
        info = None if self.engine is None else self.engine.info
        with self.tally() as tally:
            now = time.monotonic()
            window_s = max(now - max(window_start_s(now), self._began_s), 0.1)
            batches, margins = tally.batches.recent.values(now), tally.margins.recent.values(now)
            return Status(
                state=self._state(),
                uptime_s=now - self._began_s,
                bundle_name="" if info is None else info.bundle_name,
                bundle_digest="" if info is None else info.bundle_digest,
                generation=0 if info is None else info.generation,
                session_count=len(tally.sessions),
                stream_count=self._slots.active,
                max_stream_count=self._slots.limit,
                sessions_opened=tally.opened,
                window_s=window_s,
                frames_per_second=sum(tally.recent_frames.values(now)) / window_s,
                frames_sent=tally.frames,
                first_frame=tally.first_frames.latency(now),
                step=tally.steps.latency(now),
                batch_mean=sum(batches) / len(batches) if batches else 0.0,
                batch_max=int(batches[-1]) if batches else 0,
                margin_p50_s=quantile(margins, 0.5),
                margin_p1_s=quantile(margins, 0.01),
                deadlines_missed=tally.missed,
                deadlines_missed_recently=int(sum(tally.recently_missed.values(now))),
                queue_depth=tally.queue_depth,
                experts=tally.experts(),
                refusals=dict(tally.refusals),
                cuts=dict(tally.cuts),
                jobs=self.jobs,
                rss_bytes=rss_bytes(),
                cpu_share=self._cpu.share(now),
            )

    def _state(self) -> ServerState:
        if self.stopping:
            return ServerState.STOPPING
        return ServerState.LOADING if self.engine is None else ServerState.SERVING
