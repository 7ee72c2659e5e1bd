"""A real server for benchmarks: `animoe serve` as a process of its own, and what the system says of it. Linux only."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from animoe.v1 import monitoring_service_pb2 as pb
from animoe.v1 import monitoring_service_pb2_grpc

COUNTED = Path(__file__).with_name("counted_server.py")
START_S = 60.0
_POLL_S = 0.002
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process holds. tasks: asyncio's by the name of their coroutine; empty for a server that does not count."""

    rss_mb: float
    fds: int
    threads: int
    tasks: dict[str, int]

    @property
    def task_count(self) -> int:
        return sum(self.tasks.values())


class Served:
    """A server that runs.

    Attributes:
        target: host:port. pid: of its process. log: file with all that it prints. ready_s: from its start to SERVING.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path, counts: Path | None, started: float) -> None:
        self.pid, self.log = process.pid, log
        self._process, self._counts = process, counts
        self.target = self._wait_for_target(started)
        self._channel = grpc.insecure_channel(self.target)
        self._wait_until_serving(started)
        self.ready_s = time.monotonic() - started

    def status(self) -> Any:
        """ServerStatus of its MonitoringService, now."""
        stub = monitoring_service_pb2_grpc.MonitoringServiceStub(self._channel)
        return stub.GetStatus(pb.GetStatusRequest(), timeout=10).status

    def experts(self) -> list[str]:
        """NAME@VERSION of the experts that live characters perform with now."""
        return [use.expert for use in self.status().experts if use.expert != "base" and use.characters > 0]

    def cpu_s(self) -> float:
        """Processor time so far, seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def usage(self) -> Usage:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        threads = next(int(line.split()[1]) for line in lines if line.startswith("Threads"))
        return Usage(self.rss_mb(), len(os.listdir(f"/proc/{self.pid}/fd")), threads, self._tasks())

    def close(self) -> None:
        self._channel.close()

    def _tasks(self) -> dict[str, int]:
        if self._counts is None:
            return {}
        before = self._counts.stat().st_mtime_ns if self._counts.exists() else 0
        os.kill(self.pid, signal.SIGUSR1)
        _until(lambda: self._counts.exists() and self._counts.stat().st_mtime_ns != before, 10.0, "its tasks", self.log)
        found: dict[str, int] = json.loads(self._counts.read_text())
        return found

    def _wait_for_target(self, started: float) -> str:
        def said() -> str:
            if self._process.poll() is not None:
                raise SystemExit(f"the server ended:\n{self.log.read_text()}")
            _, found, rest = self.log.read_text().partition(" listening on ")
            return rest.split()[0].rstrip('",}') if found and rest.split() else ""

        return str(_until(said, started + START_S - time.monotonic(), "its address", self.log))

    def _wait_until_serving(self, started: float) -> None:
        stub = health_pb2_grpc.HealthStub(self._channel)

        def serves() -> bool:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        _until(serves, started + START_S - time.monotonic(), "SERVING", self.log)


@contextmanager
def serving(bundle: Path, *flags: str, counted: bool = False) -> Iterator[Served]:
    """Starts a server on a free port of loopback, ends it with the block.

    Args:
        flags: for `animoe serve`. counted: whether it counts its asyncio tasks when asked.
    """
    with tempfile.TemporaryDirectory(prefix="animoe-bench-") as scratch:
        log, counts = Path(scratch) / "server.log", Path(scratch) / "tasks.json" if counted else None
        program = [str(COUNTED), str(counts)] if counted else ["-m", "animoe.cli"]
        command = [sys.executable, *program, "serve", "--port", "0", "--bundle", str(bundle), *flags]
        started = time.monotonic()
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        try:
            server = Served(process, log, counts, started)
            yield server
            server.close()
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def machine() -> str:
    """What this runs on, and whether something else keeps it busy."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    load = os.getloadavg()[0]
    busy = f"; BUSY before it began (load {load:.1f}): not figures to quote" if load > 0.5 else ""
    return f"{model.partition(':')[2].strip() or platform.machine()}, {os.cpu_count()} processors{busy}"


def _until(found: Any, seconds: float, what: str, log: Path) -> Any:
    """Asks again and again until the answer is true, and gives it back."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise SystemExit(f"the server did not tell {what} in {seconds:.0f} s:\n{log.read_text()[-2000:]}")
        time.sleep(_POLL_S)
    return answer
