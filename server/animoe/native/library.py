"""Compiles `src` for this machine, once, and loads it. Plain C interface through ctypes: no headers, no build step."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

PORTABLE = 0
"""Kernel of a processor without integer dot products: slower than ONNX Runtime's, not used by default."""
_SOURCES = Path(__file__).with_name("src")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_PATIENCE_S = 120.0

log = logging.getLogger(__name__)


@cache
def load_library() -> ctypes.CDLL | None:
    """The compiled functions; None where it cannot be had (no compiler, Windows): the log says why."""
    compiler = _compiler()
    if compiler is None:
        log.info("no C++ compiler: ONNX Runtime and numpy are used, which is slower")
        return None
    try:
        path = _folder() / f"animoe-{_digest(compiler)}.so"
        if not path.exists():
            _compile(compiler, path)
        library = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the C++ functions cannot be built, ONNX Runtime and numpy are used instead: %s", error)
        return None
    library.animoe_kernel.restype = ctypes.c_int
    for function in (library.animoe_step, library.animoe_decode, library.animoe_pose, library.animoe_retarget):
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p], None
    return library


def _compiler() -> str | None:
    if sys.platform == "win32":
        return None
    wanted = os.environ.get("CXX")
    return shutil.which(wanted) if wanted else shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


def _folder() -> Path:
    """The user's own cache; whoever else can write there could have us load anything."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "animoe"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise OSError(f"{folder} can be written by others; make it yours alone (chmod 700)")
    return folder


def _digest(compiler: str) -> str:
    """Of all that decides what comes out: sources, flags, compiler and processor."""
    said = subprocess.run([compiler, "--version"], capture_output=True, timeout=_PATIENCE_S, check=True).stdout
    found = hashlib.sha256(said)
    found.update("\n".join((*_FLAGS, platform.machine(), _processor())).encode())
    for source in sorted(_SOURCES.iterdir()):
        found.update(source.read_bytes())
    return found.hexdigest()[:16]


def _processor() -> str:
    """What the processor can do: a home folder may be shared by several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile(compiler: str, path: Path) -> None:
    """Under another name first: two processes may do it at the same time."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".so")
    os.close(handle)
    try:
        command = [compiler, *_FLAGS, *map(str, sorted(_SOURCES.glob("*.cpp"))), "-o", name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S)
        if done.returncode:
            raise OSError(f"{compiler} failed: {done.stderr.strip().splitlines()[:1]}")
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
