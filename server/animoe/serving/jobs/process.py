"""The process of a job: started aside, recognised again by a later server, ended with all that it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

HOST = socket.gethostname()
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Worker:
    """A job's process, our own child or one that a former server left behind.

    Args:
        pid, started: which one (see `identity`). child: set when it is ours.
    """

    def __init__(self, pid: int, started: str, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid, self.started = pid, started
        self._child = child

    @property
    def running(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return is_alive(self.pid, self.started)

    @property
    def code(self) -> int | None:
        """Exit code of one that ended, negative for a signal; None when it was not our child."""
        return None if self._child is None else self._child.returncode

    def end(self, *, by_force: bool = False) -> None:
        """Asks it and its children to end; by force leaves them no choice."""
        if not self.running:
            return
        if os.name == "nt":
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(self.pid)], capture_output=True, check=False)
            return
        try:
            os.killpg(self.pid, signal.SIGKILL if by_force else signal.SIGTERM)  # it leads a group of its own
        except ProcessLookupError:
            pass


def start(command: Sequence[str], output: Path, errors: Path, *, idle: bool) -> Worker:
    """Starts a command at low priority with one thread; it outlives this process.

    Args:
        output, errors: files that its stdout and stderr are appended to: unlike pipes they survive the server.
    """
    aside = [sys.executable, "-m", "animoe.serving.jobs.background", *(["--idle"] if idle else []), *command]
    environment = os.environ | dict.fromkeys(_THREADS, "1") | {"PYTHONUNBUFFERED": "1"}
    with output.open("ab") as out, errors.open("ab") as err:
        child = _popen(aside, environment, out, err)
    return Worker(child.pid, identity(child.pid), child)


def _popen(
    command: Sequence[str], environment: dict[str, str], out: IO[bytes], err: IO[bytes]
) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.IDLE_PRIORITY_CLASS
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, creationflags=flags
        )
    # A session of its own: Ctrl-C in the server's terminal is not for it.
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, start_new_session=True
    )


def identity(pid: int) -> str:
    """When a process was started, as its system tells it: a number that comes again tells another one.

    Empty when there is no such process, it has ended, or the system does not say.
    """
    if sys.platform == "linux":
        return _linux_identity(pid)
    if os.name == "nt":
        return ""
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _linux_identity(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, ValueError):
        return ""
    return "" if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def is_alive(pid: int, started: str) -> bool:
    """Whether the process that was `started` then still runs, on this machine."""
    return bool(pid and started) and identity(pid) == started


def owner_name(suffix: str) -> str:
    """Says which process on which machine holds something."""
    return f"{HOST}|{os.getpid()}|{identity(os.getpid())}|{suffix}"[:200]


def owner_is_gone(owner: str) -> bool:
    """Whether an owner is known to have ended; False when it lives or runs on another machine."""
    host, _, rest = owner.partition("|")
    pid, _, rest = rest.partition("|")
    started, _, _ = rest.partition("|")
    return host == HOST and pid.isdigit() and bool(started) and not is_alive(int(pid), started)
