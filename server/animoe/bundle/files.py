"""Writing into a bundle: whole and durable or not at all, and one sentence when it cannot be."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from animoe.errors import InvalidRequest, WriteError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def write_durable(path: Path, data: bytes) -> None:
    """Writes `data` beside `path`, flushes it to the disk and renames it there: readers never see half a file."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with scratch.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable, where the system can."""
    if os.name == "nt":  # Windows has no handles on folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def refused_writes(folder: Path) -> Iterator[None]:
    """Turns a full disk and a folder that may not be written into sentences.

    Raises:
        WriteError: the disk is full, or a file is too large for it.
        InvalidRequest: no right to write.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise WriteError(
                f"{folder} cannot take more data ({error.strerror}); nothing was published. Free some space and go on "
                "with --resume"
            ) from error
        if error.errno in _FORBIDDEN:
            raise InvalidRequest(f"{folder} cannot be written ({error.strerror}); name another --bundle") from error
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise InvalidRequest(f"{folder} cannot be used as a folder ({error.strerror}); name another one") from error
        raise
