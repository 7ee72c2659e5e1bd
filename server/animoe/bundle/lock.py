"""One writer at a time: an import, a rollback, a removal. Readers need no lock; it ends with its process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from animoe.bundle.files import refused_writes
from animoe.errors import Overloaded

LOCK = ".lock"
_POLL_S = 0.2


@contextmanager
def bundle_lock(
    folder: Path, what: str, *, wait: bool = True, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Holds the bundle's lock; queues behind the process that has it.

    Args:
        what: what this process does, for those who wait ("import of 'dance'").
        wait: False refuses instead of waiting. on_wait: told once, in a sentence, who is waited for.

    Raises:
        Overloaded: someone else has it and `wait` is False.
    """
    with refused_writes(folder), (folder / LOCK).open("a+b") as stream:
        if not _try(stream):
            holder = _holder(folder)
            if not wait:
                raise Overloaded(f"{folder} is in use by {holder}; try again later, or leave out --no-wait to queue")
            if on_wait is not None:
                on_wait(f"waiting for {holder} to finish")
            while not _try(stream):
                time.sleep(_POLL_S)
        try:
            (folder / ".holder").write_text(json.dumps({"pid": os.getpid(), "what": what}), encoding="utf-8")
            yield
        finally:
            (folder / ".holder").unlink(missing_ok=True)
            _release(stream)


def _holder(folder: Path) -> str:
    try:
        found = json.loads((folder / ".holder").read_text(encoding="utf-8"))
        return f"the {found['what']} (process {found['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another import"


def _try(stream: IO[bytes]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _release(stream: IO[bytes]) -> None:
    if os.name == "nt":
        import msvcrt

        stream.seek(0)
        msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_UN)
