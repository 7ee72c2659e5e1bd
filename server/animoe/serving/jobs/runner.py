"""JobRunner: works through the jobs of one bundle, one at a time, and brings each to an end whatever happens.

A job's process writes into files, so it lives on when its server dies; the next server finds it by process number and
start time and goes on following it, or starts it again with --resume when it died too.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from animoe.errors import AniMoEError, Unavailable
from animoe.serving.jobs import process
from animoe.serving.jobs.importing import (
    IMPORT,
    INTERRUPTED,
    Follower,
    Outcome,
    import_command,
    published_unsaid,
)
from animoe.serving.jobs.job import Job, JobState, now_ms
from animoe.serving.jobs.process import Worker
from animoe.serving.uploads import discard

if TYPE_CHECKING:
    from animoe.serving.jobs.store import JobStore

TICK_S = 0.2
MAX_CRASHES = 5
"""After so many deaths without a word a job is given up: it may be what kills its machine."""
_RENEW_S = 3.0
_IDLE_S = 1.0
_PATIENCE_S = 5.0
"""Between asking a process to end and ending it."""
_OPEN = (JobState.QUEUED, JobState.RUNNING)

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger(__name__)


class JobRunner:
    """The jobs of one bundle in one database.

    Args:
        open_store: opens the database, in a thread.
        bundle: whose jobs to run.
        folder: for logs and uploads; made when needed.
        command: what imports a pack, before its arguments.
        idle: run them only when the machine has nothing else to do; otherwise merely at low priority.
    """

    def __init__(
        self,
        open_store: Callable[[], JobStore],
        bundle: Path,
        folder: Path,
        *,
        command: tuple[str, ...] = IMPORT,
        idle: bool = True,
    ) -> None:
        self.bundle, self.folder = bundle, folder
        self._open_store, self._command, self._idle = open_store, command, idle
        self._owner = process.owner_name(secrets.token_hex(4))
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="animoe-jobs")
        self._store: JobStore | None = None
        self._opening = asyncio.Lock()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._child: Worker | None = None

    async def open(self) -> JobStore:
        """Opens the database and begins to work, the first time; every other method does it when needed.

        Raises:
            InvalidRequest, Unavailable: it cannot be opened.
        """
        async with self._opening:
            if self._store is None:
                if self._stopping.is_set():
                    raise Unavailable("the server is stopping; try again in a moment")
                self._store = await self._run(self._open_store)
                self._task = asyncio.create_task(self._work(self._store))
        return self._store

    async def stop(self) -> None:
        """Interrupts the running job; it goes on where it was when a server starts again."""
        self._stopping.set()
        self._notify()
        if self._task is not None:
            await self._task
        if self._store is not None:
            await self._run(self._store.close)
        self._threads.shutdown(wait=False)

    async def submit(self, job: Job) -> Job:
        """Queues a job; the same request id once more gives the job that it made the first time."""
        found = await self._run((await self.open()).add, job)
        self._notify()
        return found

    async def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        return await self._run((await self.open()).get, job_id)

    async def by_request(self, request_id: str) -> Job | None:
        """The job that a caller's request made before."""
        return await self._run((await self.open()).by_request, request_id)

    async def page(
        self, size: int, before: int | None, state: JobState | None, scenario: str
    ) -> tuple[list[Job], int | None]:
        """See `JobStore.page`."""
        return await self._run((await self.open()).page, size, before, state=state, scenario=scenario)

    async def count(self) -> dict[JobState, int]:
        """Jobs of the bundle by state; opens no database. Raises Unavailable."""
        if self._store is None or self._stopping.is_set():
            return {}
        return await self._run(self._store.count, str(self.bundle))

    async def cancel(self, job_id: str) -> Job:
        """Takes a job out of the queue or asks for its end; a finished one stays as it is. Raises NotFound."""
        ended = {"state": JobState.CANCELLED, "end_time_ms": now_ms(), "cancel_requested": True, "eta_s": -1.0}
        message, store = "cancelled before it ran", await self.open()
        job = await self._run(store.update, job_id, (JobState.QUEUED,), **ended, message=message)
        if job is not None:
            await self._run(self._clean, job)
        else:
            await self._run(store.update, job_id, (JobState.RUNNING,), cancel_requested=True)
        self._notify()
        return await self.get(job_id)

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """The job now and after every change, until its final state. Raises NotFound."""
        seen: Job | None = None
        while True:
            changed = self._changed
            job = await self.get(job_id)
            if seen is None or job.revision != seen.revision:
                yield job
            if job.state.final:
                return
            if self._stopping.is_set():
                raise Unavailable("the server is stopping; the job goes on when it is back")
            seen = job
            await _wait(changed, _IDLE_S)  # another server may run it: look now and then
            await asyncio.sleep(TICK_S)

    async def _run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _work(self, store: JobStore) -> None:
        while not self._stopping.is_set():
            changed = self._changed
            try:
                job = await self._next(store)
                if job is not None:
                    await self._perform(store, job)
                    continue
            except AniMoEError as error:
                log.error("jobs wait: %s", error)
            except Exception:
                log.exception("a job could not be run")
            if not self._stopping.is_set():
                await _wait(changed, _IDLE_S)
        if self._store is not None:
            try:
                await self._run(self._store.release, str(self.bundle), self._owner)
            except AniMoEError as error:
                log.error("%s", error)

    async def _next(self, store: JobStore) -> Job | None:
        """What to do now; None when there is nothing, or another server does it."""
        jobs = await self._run(store.open_jobs, str(self.bundle))
        return jobs[0] if jobs and await self._lease(store) else None

    async def _lease(self, store: JobStore) -> bool:
        return await self._run(store.lease, str(self.bundle), self._owner, process.owner_is_gone)

    async def _perform(self, store: JobStore, job: Job) -> None:
        """Brings one job to its end, or as far as this server lives."""
        worker = self._known(job)
        if job.state is JobState.RUNNING and not (worker is not None and worker.running):
            follower = self._follower(job)
            await self._run(follower.read)
            await self._conclude(store, job, follower, None)
            return
        if job.state is JobState.QUEUED:
            worker = await self._begin(store, job)
        if worker is not None:
            await self._follow(store, job.job_id, worker)

    def _known(self, job: Job) -> Worker | None:
        """The process that a job had, if it is or was on this machine."""
        if self._child is not None and (self._child.pid, self._child.started) == (job.pid, job.started):
            return self._child
        return Worker(job.pid, job.started) if job.host == process.HOST else None

    async def _begin(self, store: JobStore, job: Job) -> Worker | None:
        attempt = job.attempts + 1
        begun = {"state": JobState.RUNNING, "attempts": attempt, "start_time_ms": job.start_time_ms or now_ms()}
        running = await self._run(store.update, job.job_id, (JobState.QUEUED,), **begun, pid=0, started="")
        if running is None:
            return None  # cancelled meanwhile
        try:
            worker = self._child = await self._run(self._start, running)
        except OSError as error:
            failed = Outcome(JobState.FAILED, f"its process did not start: {error}", "CANNOT_START")
            await self._finish(store, running, failed)
            return None
        who = {"host": process.HOST, "pid": worker.pid, "started": worker.started}
        await self._run(store.update, job.job_id, (JobState.RUNNING,), **who)
        self._notify()
        return worker

    def _start(self, job: Job) -> Worker:
        output, errors = self._files(job)
        output.parent.mkdir(parents=True, exist_ok=True)
        return process.start(import_command(job, self._command), output, errors, idle=self._idle)

    async def _follow(self, store: JobStore, job_id: str, worker: Worker) -> None:
        """Passes on what the process says until it ends, is cancelled, or this server stops."""
        job = await self.get(job_id)
        follower, renewed, asked = self._follower(job), time.monotonic(), 0.0
        while True:
            running = worker.running  # before reading: what it said last must not be missed
            if await self._run(follower.read):
                said = {**follower.progress, "log": tuple(follower.log)}
                await self._run(store.update, job_id, (JobState.RUNNING,), **said)
                self._notify()
            job = await self.get(job_id)
            if not running:
                break
            now = time.monotonic()
            if now - renewed > _RENEW_S:
                renewed = now
                if not await self._lease(store):
                    log.error("job %s was taken over by another server", job_id)
                    worker.end(by_force=True)
                    return
            if job.cancel_requested or self._stopping.is_set():
                asked = asked or now
                worker.end(by_force=now - asked > _PATIENCE_S)
            await asyncio.sleep(TICK_S) if asked else await _wait(self._stopping, TICK_S)
        await self._conclude(store, job, follower, worker.code)

    async def _conclude(self, store: JobStore, job: Job, follower: Follower, code: int | None) -> None:
        """Its process has ended: is the job done, cancelled, failed, or does it go on later?"""
        outcome = follower.outcome or await self._run(published_unsaid, job)
        stopped = job.cancel_requested or self._stopping.is_set()
        if outcome is not None and not (stopped and outcome.state is JobState.FAILED):
            await self._finish(store, job, outcome)
        elif job.cancel_requested:
            await self._finish(store, job, Outcome(JobState.CANCELLED, "cancelled"))
        elif self._stopping.is_set():
            message = "interrupted: the server was stopped; it goes on when the server is back"
            await self._run(store.update, job.job_id, _OPEN, state=JobState.QUEUED, message=message, pid=0)
        elif code is None or code < 0 or code in INTERRUPTED:
            await self._crashed(store, job, code)
        else:
            words = follower.log[-1] if follower.log else f"its process ended with code {code} and said nothing"
            words = words.removeprefix("animoe: ")
            await self._finish(store, job, Outcome(JobState.FAILED, words, "IMPORT_FAILED"))

    async def _crashed(self, store: JobStore, job: Job, code: int | None) -> None:
        how = "its server went down" if code is None else f"its process was ended from outside (code {code})"
        crashes = job.crashes + 1
        if crashes >= MAX_CRASHES:
            message = f"given up after it was stopped {crashes} times: {how}; see the server's log and import it again"
            await self._finish(store, job, Outcome(JobState.FAILED, message, "CRASHED"))
            return
        log.warning("job %s goes on where it was: %s", job.job_id, how)
        again = {"state": JobState.QUEUED, "message": f"{how}; it goes on where it was", "crashes": crashes, "pid": 0}
        await self._run(store.update, job.job_id, _OPEN, **again)
        self._notify()

    async def _finish(self, store: JobStore, job: Job, outcome: Outcome) -> None:
        end: dict[str, Any] = {"state": outcome.state, "message": outcome.message, "reason": outcome.reason}
        end |= {"expert": outcome.expert, "report": outcome.report}
        end |= {"end_time_ms": now_ms(), "pid": 0, "eta_s": -1.0}
        if outcome.state is JobState.SUCCEEDED:
            end["progress"] = 1.0
        await self._run(store.update, job.job_id, _OPEN, **end)
        await self._run(self._clean, job)
        log.info("job %s (%s) %s: %s", job.job_id, job.scenario, outcome.state.value, outcome.message)
        self._notify()

    def _clean(self, job: Job) -> None:
        if job.uploaded:
            discard(Path(job.pack))

    def _follower(self, job: Job) -> Follower:
        return Follower(*self._files(job))

    def _files(self, job: Job) -> tuple[Path, Path]:
        stem = self.folder / "logs" / f"{job.job_id}.{job.attempts}"
        return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.log")


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        pass
