"""Many files in several processes. One that ends a process (a crash, too little memory) costs only itself."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
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
            pools = [_pool(options, untouchable) for _ in range(processes)]
            suspects += _until_a_death(waiting, pools, stops, keep, 2)
        for job in suspects:  # each alone, so that the one that ends its process is known
            if not stops.asked and _until_a_death(deque([job]), [_pool(options, untouchable)], stops, keep, 1):
                problem = f"{job.source}: it ended the process that converted it; leave it out"
                keep(FileResult(job, problems=(problem,)))
    return [found[job] for job in jobs]


def _until_a_death(
    waiting: deque[Job],
    pools: Sequence[ProcessPoolExecutor],
    stops: Stops,
    keep: Callable[[FileResult], None],
    each: int,
) -> list[Job]:
    """Takes jobs from `waiting`, `each` per pool at once, until it is empty or a stop is asked for; the pools are over
    then.

    Returns:
        The jobs that may have been at work when a process died.
    """
    at_work: list[dict[Future[FileResult], Job]] = [{} for _ in pools]
    suspects: list[Job] = []
    with ExitStack() as opened:
        for pool in pools:
            opened.callback(pool.shutdown, wait=True, cancel_futures=True)
        while (waiting or any(at_work)) and not (stops.asked or suspects):
            for pool, own in zip(pools, at_work, strict=True):
                while waiting and len(own) < each and not suspects:
                    job = waiting.popleft()
                    try:
                        with deaf_children():
                            own[pool.submit(_convert, job)] = job
                    except (BrokenProcessPool, ConnectionError):  # it died, maybe before it had read what to do
                        suspects.append(job)
            done = wait([future for own in at_work for future in own], _LOOK_EVERY_S, FIRST_COMPLETED).done
            for own in at_work:
                for future in done & own.keys():
                    suspects += _kept(future, own.pop(future), keep)
    for own in at_work:  # a stop was asked for or a process died: what was at work elsewhere is done now
        for future, job in own.items():
            if not future.cancelled():
                suspects += _kept(future, job, keep)
            elif not stops.asked:
                waiting.append(job)
    return suspects


def _kept(future: Future[FileResult], job: Job, keep: Callable[[FileResult], None]) -> list[Job]:
    """Keeps the result; the job itself when its process died instead."""
    try:
        result = future.result()
    except BrokenProcessPool:
        return [job]
    keep(result)
    return []


def _pool(options: ConvertOptions, untouchable: Collection[Path]) -> ProcessPoolExecutor:
    """One process. An executor of several breaks in the middle when one dies while it starts the next."""
    # One thread each: numpy's own would wait for each other. Spawned: nothing of this process is shared by accident.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, _begin, (options, frozenset(untouchable)))


def _begin(options: ConvertOptions, untouchable: Collection[Path]) -> None:
    global _converter
    leave_stops_to_the_parent()
    _converter = Converter(options, untouchable)


def _convert(job: Job) -> FileResult:
    assert _converter is not None
    return _converter.convert(job)
