"""Spoils small motion files in every format and reads them: only FileError may come out, soon and in little memory.

    python tests/fuzz/fuzz.py --seconds 12 --seed 1     the short form, part of `make check`
    python tests/fuzz/fuzz.py --seconds 3600            the long form (`make fuzz`): another seed each time
    python tests/fuzz/fuzz.py --once build/fuzz/x.glb   reads one file again, with the traceback

An input that fails is kept in --out; one that takes the whole process down is the `current.*` that lies there.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from mutations import spoil
from seeds import make_seeds

from animoe.errors import FileError
from animoe.formats import read_clips, read_skeleton
from animoe.formats.fbx_process import close_idle

MAX_SECONDS = 12.0
"""A bit more than readers are allowed: the machine may be busy."""
MAX_BYTES = 500 * 2**20
MAX_MESSAGE = 700


Result = TypeVar("Result")


class Failure(Exception):
    """A reader did what none may do."""


def check(path: Path) -> str:
    """Reads a file as a user would.

    Returns:
        "read" or "refused".

    Raises:
        Failure: another exception than FileError, a poor message, numbers that are no motion, too long, too much
            memory.
    """
    started, held = time.perf_counter(), _reset_peak()
    outcome = "read"
    try:
        clips = _no_warnings(read_clips, path)
        skeletons = [clip.skeleton for clip in clips]
        for clip in clips:
            _check_numbers(clip.local_rotations, clip.local_translations)
    except FileError as error:
        outcome = "refused"
        _check_message(path, str(error))
        skeletons = []
    except Exception as error:
        raise Failure(f"{type(error).__name__}: {error}") from error
    for skeleton in skeletons[:1]:
        _check_numbers(skeleton.rest_rotations, skeleton.rest_translations)
    _check_skeleton(path)
    if (seconds := time.perf_counter() - started) > MAX_SECONDS:
        raise Failure(f"took {seconds:.1f} s")
    if (taken := _peak_bytes() - held) > MAX_BYTES:
        raise Failure(f"reading took {taken >> 20} MiB")
    return outcome


def _no_warnings(read: Callable[[Path], Result], path: Path) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(path)


def _check_skeleton(path: Path) -> None:
    try:
        skeleton = _no_warnings(read_skeleton, path)
        _check_numbers(skeleton.rest_rotations, skeleton.rest_translations)
    except FileError as error:
        _check_message(path, str(error))
    except Failure:
        raise
    except Exception as error:
        raise Failure(f"skeleton: {type(error).__name__}: {error}") from error


def _check_numbers(rotations: np.ndarray, translations: np.ndarray) -> None:
    if not (np.isfinite(rotations).all() and np.isfinite(translations).all()):
        raise Failure("NaN or infinite numbers were let through")
    if np.abs(np.linalg.norm(rotations, axis=-1) - 1).max(initial=0.0) > 1e-3:
        raise Failure("rotations that are no unit quaternions were let through")


def _check_message(path: Path, text: str) -> None:
    if path.name not in text or len(text) > MAX_MESSAGE or "\n" in text or not text.endswith("."):
        raise Failure(f"no clear message: {text[:900]!r}")


def _reset_peak() -> int:
    """Bytes that the process holds now; its peak counts from here where the system allows it (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def run(seconds: float, seed: int, out: Path, formats: tuple[str, ...] = (), cases: int = 10**9) -> list[Path]:
    """Spoils and reads until the time or the cases are over; returns the inputs that failed."""
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    seeds = [s for s in make_seeds() if not formats or s[0].lstrip(".") in formats]
    suffixes = sorted({suffix for suffix, _ in seeds})
    counts: Counter[str] = Counter()
    failed: list[Path] = []
    until = time.monotonic() + seconds
    while counts.total() < cases and time.monotonic() < until and len(failed) < 20:
        suffix = suffixes[counts.total() % len(suffixes)]
        data = rng.choice([content for of, content in seeds if of == suffix])
        spoilt = spoil(suffix, data, rng.choice(seeds)[1], rng)
        if rng.random() < 0.02:
            suffix = rng.choice(seeds)[0]  # a wrong extension
        current = out / f"current{suffix}"
        current.write_bytes(spoilt)
        try:
            counts[f"{suffix} {check(current)}"] += 1
        except Failure as failure:
            counts[f"{suffix} FAILED"] += 1
            kept = out / f"{hashlib.sha256(spoilt).hexdigest()[:12]}{suffix}"
            current.replace(kept)
            failed.append(kept)
            print(f"{kept}: {failure}\n  again: {sys.executable} {__file__} --once {kept}", file=sys.stderr)
        current.unlink(missing_ok=True)
    close_idle()
    print(f"fuzz: seed {seed}, {counts.total()} files: " + ", ".join(f"{n} {k}" for k, n in sorted(counts.items())))
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--format", nargs="*", default=[], help="bvh, glb, gltf, fbx, npz; default: all")
    parser.add_argument("--once", type=Path, help="read this file only")
    options = parser.parse_args()
    if options.once is not None:
        try:
            print(check(options.once))
        except Failure:
            traceback.print_exc()
            return 1
        return 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    return 1 if run(options.seconds, seed, options.out, tuple(options.format)) else 0


if __name__ == "__main__":
    sys.exit(main())
