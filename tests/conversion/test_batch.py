"""Many files: several processes, and what happens when one of them dies."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from animoe.conversion.batch import WORTH_A_POOL, convert_all
from animoe.conversion.naming import plan_jobs
from animoe.conversion.options import ConvertOptions
from animoe.conversion.results import FileResult
from animoe.errors import NotFound

Put = Callable[..., Path]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")


@pytest.fixture
def folder(put: Put, tmp_path: Path) -> Path:
    """One file more than is worth a pool; the last but one is damaged."""
    first = put("in/clip_0.bvh").read_bytes()
    for number in range(1, WORTH_A_POOL + 1):
        (tmp_path / f"in/clip_{number}.bvh").write_bytes(first)
    (tmp_path / f"in/clip_{WORTH_A_POOL - 1}.bvh").write_bytes(first[:300])
    return tmp_path / "in"


def kill_workers() -> int:
    """Ends every worker process at once; returns how many. From outside: `multiprocessing` is not asked, as it would
    collect dead children in this thread while the pool does."""
    killed = 0
    for thread in Path("/proc/self/task").iterdir():
        children: list[str] = []
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread may have ended meanwhile
            children = (thread / "children").read_text().split()
        for child in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)
                    killed += 1
    return killed


@pytest.mark.parametrize("processes", [1, 2])
def test_one_bad_file_does_not_stop_the_rest(folder: Path, tmp_path: Path, processes: int) -> None:
    seen: list[str] = []
    jobs = plan_jobs(folder, tmp_path / "out")
    results = convert_all(
        jobs, ConvertOptions(), processes=processes, on_result=lambda result: seen.append(result.job.label)
    )
    assert [result.job for result in results] == jobs and sorted(seen) == [job.label for job in jobs]
    assert [bool(result.problems) for result in results] == [job.stem == f"clip_{WORTH_A_POOL - 1}" for job in jobs]
    assert len(list((tmp_path / "out").iterdir())) == WORTH_A_POOL


def test_a_wrong_rig_ends_everything_before_it_begins(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="unknown rig 'nobody'"):
        convert_all(plan_jobs(folder, tmp_path / "out"), ConvertOptions(rig="nobody"), processes=2)
    assert not (tmp_path / "out").exists()


@LINUX
def test_files_are_converted_again_when_a_process_dies(folder: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_once(result: FileResult) -> None:
        if not killed:
            killed.append(kill_workers())

    results = convert_all(plan_jobs(folder, tmp_path / "out"), ConvertOptions(), processes=2, on_result=kill_once)
    assert killed[0] > 0
    assert sum(not result.problems for result in results) == WORTH_A_POOL


@LINUX
def test_a_file_that_ends_every_process_is_named(folder: Path, tmp_path: Path) -> None:
    over = threading.Event()

    def kill_all() -> None:
        while not over.wait(0.005):
            kill_workers()

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        results = convert_all(plan_jobs(folder, tmp_path / "out"), ConvertOptions(), processes=2)
    finally:
        over.set()
        killer.join()
    for result in results:
        assert result.problems == (f"{result.job.source}: it ended the process that converted it; leave it out",)
