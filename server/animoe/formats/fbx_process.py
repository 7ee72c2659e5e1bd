"""Asks the FBX process (`formats.fbx_worker`) for a file and survives whatever becomes of it.

A process that has answered well is kept for the next file, so that a folder costs one start (60 ms). One that refused
a file is not used again: what that file did to its memory is not known.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from animoe.errors import FileError
from animoe.formats import fbx_worker
from animoe.rig.rotations import Array

TIME_LIMIT_S = 10.0
MAX_NUMBERS = 1 << 24
"""Numbers of all keys of a file: 128 MiB."""
FILES_PER_PROCESS = 200
_MAX_HEADER_BYTES = 64 * 2**20
_MAX_IDLE = 2
_INSTALL = "Install it with: pip install ufbx==0.0.5 (or convert the file to .glb)."
_RE_EXPORT = "Export it again as binary FBX (2014 or newer), or as .glb."

Json = dict[str, Any]


class _Died(Exception):
    """The process ended without an answer; the text says how, as a clause."""


class _Process:
    """One running `fbx_worker`."""

    def __init__(self) -> None:
        # By path: a host program may have put animoe on its own search path only. One thread: less memory.
        self._process = subprocess.Popen(
            [sys.executable, "-P", fbx_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        )
        self.is_new = True
        self.files_left = FILES_PER_PROCESS

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, path: Path, rate_hz: float, time_limit_s: float) -> tuple[Json, Array]:
        """The worker's JSON and its numbers (N,) float64.

        Raises:
            _Died: it crashed, took too long or answered nonsense; it is closed then.
        """
        self.files_left -= 1
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(time_limit_s, end)
        timer.daemon = True
        timer.start()
        try:
            request = {"path": str(path), "rate_hz": rate_hz, "cpu_s": int(time_limit_s) + 1, "numbers": MAX_NUMBERS}
            return self._exchange(json.dumps(request).encode() + b"\n")
        except (OSError, EOFError, ValueError, struct.error) as error:
            self.close()
            code = self._process.returncode
            how = f"took longer than {time_limit_s:.0f} s" if late.is_set() else f"crashed (exit code {code})"
            raise _Died(how) from error
        finally:
            timer.cancel()

    def _exchange(self, request: bytes) -> tuple[Json, Array]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(request)
        self._process.stdin.flush()
        header_bytes, number_bytes = struct.unpack("=QQ", _exactly(self._process.stdout, 16))
        if header_bytes > _MAX_HEADER_BYTES or number_bytes > 8 * MAX_NUMBERS:
            raise ValueError("an answer larger than any file gives")
        header = json.loads(_exactly(self._process.stdout, header_bytes))
        return header, np.frombuffer(_exactly(self._process.stdout, number_bytes), np.float64)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # a request that was never taken
                    pipe.close()


_idle: list[_Process] = []
_lock = threading.Lock()


def parse(path: Path, rate_hz: float, time_limit_s: float = TIME_LIMIT_S) -> tuple[Json, Array]:
    """Nodes and stacks of a file as `fbx_worker` describes them, and the numbers they refer to.

    Raises:
        FileError: refused by the parser, or the parser crashed, took too long or too much memory, or is missing.
    """
    process = _take()
    try:
        header, numbers = process.ask(path.resolve(), rate_hz, time_limit_s)
    except _Died as death:
        if process.is_new:
            raise FileError(path, f"the FBX parser {death} on it", remedy=_RE_EXPORT) from death
        close_idle()  # an earlier file, or its minute without work, may have been what ended it
        return parse(path, rate_hz, time_limit_s)
    if "missing" in header:
        process.close()
        raise FileError(path, f"reading FBX needs the package ufbx ({header['missing']})", remedy=_INSTALL)
    if "error" in header:
        process.close()
        raise FileError(path, header["error"], remedy=_RE_EXPORT)
    _give_back(process)
    return header, numbers


def close_idle() -> None:
    """Ends the processes that wait for another file."""
    with _lock:
        while _idle:
            _idle.pop().close()


def _take() -> _Process:
    with _lock:
        while _idle:
            process = _idle.pop()
            process.is_new = False
            if process.alive:
                return process
            process.close()  # it ends by itself after a minute without work
    return _Process()


def _give_back(process: _Process) -> None:
    with _lock:
        if process.files_left > 0 and len(_idle) < _MAX_IDLE:
            _idle.append(process)
            return
    process.close()


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError
    return data


def _forget() -> None:
    """In a forked copy of this program: two owners of one pipe would mix up their answers."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


atexit.register(close_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
