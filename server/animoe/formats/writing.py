"""What the writers share: checks of what is written, and files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import numpy as np

from animoe.errors import FileError, InvalidRequest
from animoe.motion.clip import Clip


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` beside `path` and renames it there, so that a reader never sees half a file.

    Raises:
        FileError: the folder is missing, read-only or full; nothing is left behind then.
    """
    # Not `tempfile`: its files are private to the user, and a rename keeps that.
    try:
        scratch = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
        try:
            scratch.write_bytes(data)
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "Check that the folder exists and may be written to."
        raise FileError(path, f"cannot be written ({reason})", remedy=remedy) from error


def check_writable(clip: Clip) -> None:
    """Raises InvalidRequest for a clip that no file could hold: no frames, NaN or infinite numbers."""
    name = f"clip {clip.name!r}"
    if clip.frame_count == 0:
        raise InvalidRequest(f"{name} has no frames; write at least one")
    if not np.isfinite(clip.frame_rate_hz):
        raise InvalidRequest(f"{name} has a frame rate of {clip.frame_rate_hz}; give a finite one")
    if not (np.isfinite(clip.local_rotations).all() and np.isfinite(clip.local_translations).all()):
        raise InvalidRequest(f"{name} holds NaN or infinite numbers; repair it before writing")
