"""`python -m animoe.serving.jobs.background [--idle] COMMAND ...`: becomes COMMAND, at the lowest priority there is.

A program of its own because nothing may run between fork and exec in a server with many threads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

NICE = 15
LEAST = 19


def step_back(*, idle: bool) -> None:
    """Lowers the priority of this process; `idle` takes only what nobody else wants, where the system knows that."""
    if hasattr(os, "nice"):
        os.nice(max(0, NICE - os.nice(0)))
    if idle and hasattr(os, "SCHED_IDLE"):
        try:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        except OSError:  # a sandbox may forbid it; nice remains
            pass
    _step_back_as_session()


def _step_back_as_session() -> None:
    """Linux on desktops shares the processor between *sessions* first (autogroup): nice counts only inside of one.

    A worker leads a session of its own, which would get as much as the server's.
    """
    if hasattr(os, "getsid") and os.getsid(0) == os.getpid():
        try:
            Path("/proc/self/autogroup").write_text(str(LEAST))
        except OSError:  # no Linux, or autogroup is off
            pass


def main(arguments: Sequence[str]) -> int:
    idle = arguments[0] == "--idle"
    command = list(arguments[1:] if idle else arguments)
    step_back(idle=idle)
    if os.name != "nt":
        os.execv(command[0], command)
    import subprocess  # Windows has no exec; priority is inherited from this process

    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
