"""Runs a command: errors that the user can act on become one sentence and exit code 2."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from animoe.cli.parser import build_parser
from animoe.errors import AniMoEError

_BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Our products are small: threads that wait for each other on busy cores make one take fifty times as long."""
USER_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `animoe` with arguments (None = the process's own) and returns the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file may be called what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    for variable in _BLAS:  # before numpy is imported
        os.environ.setdefault(variable, "1")
    arguments = build_parser().parse_args(argv)
    try:
        # Imported here so that --help and a wrong flag answer at once.
        return int(import_module(f"animoe.cli.{arguments.command}").run(arguments) or 0)
    except AniMoEError as error:
        return _refuse(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "animoe").split(".")[0] == "animoe":
            raise
        return _refuse(f"{error.name} is not installed; run: pip install 'animoe[server]'")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `animoe stream ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _refuse(sentence: str) -> int:
    print(f"animoe: {sentence}", file=sys.stderr)
    return USER_ERROR
