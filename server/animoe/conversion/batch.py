"""Many files in several processes. One that ends a process (a crash, too little memory) costs only itself."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from animoe.conversion.convert_file import Converter
from animoe.conversion.interrupts import Stops, deaf_children, leave_stops_to_the_parent, noted_stops
from animoe.conversion.naming import Job
from animoe.conversion.options import ConvertOptions
from animoe.conversion.results import FileResult

WORTH_A_POOL = 8
"""Starting processes takes as long as a few files."""
_LOOK_EVERY_S = 0.2

_converter: Converter | None = None


def convert_all(
    jobs: Sequence[Job],
    options: ConvertOptions,
    *,
    processes: int,
    untouchable: Collection[Path] = frozenset(),
    on_result: Callable[[FileResult], None] = lambda result: None,
) -> list[FileResult]:
    """Converts files, in as many processes as `processes` says, in any order.

    Args:
        jobs: what to do.
        options: how; wrong ones (an unknown rig) are refused before any file is read.
        processes: at most so many; few files are converted in this one.
        untouchable: resolved files that are never written.
        on_result: called here after every file.

    Returns:
        One result per job, in the jobs' order.

    Raises:
        AniMoEError: the target rig or a mapping file cannot be used.
        KeyboardInterrupt: passed on after the files at work are done, at once when asked for twice; no file is left
            half written.
    """
    here = Converter(options, untouchable)
    here.prepare()
    processes = min(processes, len(jobs))
    found: dict[Job, FileResult] = {}

    def keep(result: FileResult) -> None:
        found[result.job] = result
        on_result(result)

    if processes < 2 or len(jobs) < WORTH_A_POOL:
        for job in jobs:
            keep(here.convert(job))
        return [found[job] for job in jobs]
    with noted_stops() as stops:
        waiting, suspects = deque(jobs), list[Job]()
        while waiting and not stops.asked:
            suspects += _until_a_death(waiting, _pool(options, untouchable, processes), stops, keep, 2 * processes)
        for job in suspects:  # each alone, so that the one that ends its process is known
            alone = _pool(options, untouchable, 1)
            if not stops.asked and _until_a_death(deque([job]), alone, stops, keep):
                problem = f"{job.source}: it ended the process that converted it; leave it out"
                keep(FileResult(job, problems=(problem,)))
    return [found[job] for job in jobs]


def _until_a_death(
    waiting: deque[Job],
    pool: ProcessPoolExecutor,
    stops: Stops,
    keep: Callable[[FileResult], None],
    at_once: int = 1,
) -> list[Job]:
    """Takes jobs from `waiting` until it is empty or a stop is asked for; the pool is over then.

    Returns:
        The jobs that were at work when a process died.
    """
    running: dict[Future[FileResult], Job] = {}
    with pool:
        try:
            while (waiting or running) and not stops.asked:
                while waiting and len(running) < at_once:
                    with deaf_children():
                        future = pool.submit(_convert, waiting[0])  # may raise: then the job is still waiting
                    running[future] = waiting.popleft()
                for done in wait(list(running), _LOOK_EVERY_S, FIRST_COMPLETED).done:
                    keep(done.result())
                    del running[done]
        except BrokenProcessPool:
            return list(running.values())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for late in running:  # a stop was asked for: what was at work is done now, the rest was not begun
        if not late.cancelled() and late.exception() is None:
            keep(late.result())
    return []


def _pool(options: ConvertOptions, untouchable: Collection[Path], processes: int) -> ProcessPoolExecutor:
    # One thread each: numpy's own would wait for each other. Spawned: nothing of this process is shared by accident.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, _begin, (options, frozenset(untouchable)))


def _begin(options: ConvertOptions, untouchable: Collection[Path]) -> None:
    global _converter
    leave_stops_to_the_parent()
    _converter = Converter(options, untouchable)


def _convert(job: Job) -> FileResult:
    assert _converter is not None
    return _converter.convert(job)
