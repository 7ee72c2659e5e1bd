"""Packs on their way in: uploads checked while they arrive, paths only below the folder that was allowed."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from animoe.bundle.files import refused_writes
from animoe.errors import FileError, InvalidRequest, NotAllowed, NotFound, Overloaded, WriteError

DEFAULT_MAX_UPLOAD_MB = 2048
MAX_UPLOADS = 4
"""At one time."""
_PART = ".part"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPARE_BYTES = 256 << 20
"""Disk space that an upload must leave free: the import needs some too."""
_STALE_S = 24 * 3600.0
_SILENCE_S = 60.0
_MAX_PATH_CHARS = 4096


class Uploads:
    """Receives packs into one folder.

    Args:
        folder: made when needed. max_bytes: largest upload.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self.max_bytes = folder, max_bytes
        self._active = 0

    async def receive(self, name: str, size: int, sha256: str, chunks: AsyncIterator[bytes]) -> Path:
        """Takes a zip in and returns where it lies; nothing is left behind when it is refused.

        Args:
            size, sha256: what the caller says about all bytes.
            chunks: the bytes, in order; reading ends with them.

        Raises:
            InvalidRequest: sizes or digests differ, or a chunk is empty or too late. FileError: it is no zip.
            Overloaded: too large or too many. WriteError: no space left.
        """
        self._check(size, sha256)
        with self._slot():
            scratch = await asyncio.to_thread(self._make_room, size)
            try:
                path = scratch / _file_name(name)
                with path.open("xb") as part:
                    digest = await self._copy(part, size, chunks)
                if digest != sha256.lower():
                    raise InvalidRequest(f"the upload's SHA-256 is {digest}, not {sha256.lower()}; send it again")
                await asyncio.to_thread(_check_zip, path, name)
                return scratch.rename(scratch.with_suffix("")) / path.name
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise

    def _check(self, size: int, sha256: str) -> None:
        if size < 1:
            raise InvalidRequest(f"upload.size_bytes must be 1 or more, got {size}")
        if size > self.max_bytes:
            raise Overloaded(
                f"the pack has {size} bytes, this server takes {self.max_bytes}; make it smaller, or start the "
                "server with a higher --max-upload-mb"
            )
        if not _SHA256.fullmatch(sha256.lower()):
            raise InvalidRequest("upload.sha256 must be the SHA-256 of the zip, 64 hexadecimal digits")

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if self._active >= MAX_UPLOADS:
            raise Overloaded(f"{self._active} packs are being uploaded already, the limit; try again in a minute")
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    def _make_room(self, size: int) -> Path:
        with refused_writes(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            if shutil.disk_usage(self._folder).free < size + _SPARE_BYTES:
                raise WriteError(f"the server's disk has no room for a pack of {size} bytes; free some space there")
            scratch = self._folder / f"{secrets.token_hex(8)}{_PART}"
            scratch.mkdir()
        return scratch

    def _sweep(self) -> None:
        """Removes what a server left that died in the middle of an upload; jobs remove their own packs."""
        for path in self._folder.glob(f"*{_PART}"):
            if time.time() - path.stat().st_mtime > _STALE_S:
                shutil.rmtree(path, ignore_errors=True)

    async def _copy(self, part: IO[bytes], size: int, chunks: AsyncIterator[bytes]) -> str:
        digest, received = hashlib.sha256(), 0
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), _SILENCE_S)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise InvalidRequest(
                    f"no chunk came for {_SILENCE_S:.0f} s; the upload was dropped, try again"
                ) from None
            received += len(chunk)
            if received > size:
                raise InvalidRequest(
                    f"the upload is larger than the {size} bytes that were announced; check size_bytes"
                )
            await asyncio.to_thread(_take_in, part, digest, chunk, self._folder)
        if received != size:
            raise InvalidRequest(f"the upload ended after {received} of {size} bytes; send it again")
        return digest.hexdigest()


def _file_name(name: str) -> str:
    """A name that any disk takes: the import calls the pack by it."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", re.sub(r"(?i)\.zip$", "", name)).strip("_")[:80]
    return f"{stem or 'pack'}.zip"


def discard(pack: Path) -> None:
    """Removes what `Uploads.receive` took in."""
    shutil.rmtree(pack.parent, ignore_errors=True)


def _take_in(part: IO[bytes], digest: hashlib._Hash, chunk: bytes, folder: Path) -> None:
    with refused_writes(folder):
        part.write(chunk)
    digest.update(chunk)


def _check_zip(path: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(path):
            return
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        raise FileError(
            name or "the upload", f"it is not a zip ({error})", remedy="Zip the pack's folder and send that."
        ) from error


def pack_path(path: str, root: Path | None) -> Path:
    """A pack on the server that a caller names.

    Args:
        path: relative to `root`, or absolute. root: the folder of packs; None = the server allows none.

    Raises:
        InvalidRequest: no path at all. NotAllowed: outside `root`. NotFound: nothing there.
    """
    if not path or "\0" in path or len(path) > _MAX_PATH_CHARS:
        raise InvalidRequest(f"path {path[:40]!r} is no path; name a folder or zip of the server")
    if root is None:
        raise NotAllowed("this server takes packs by upload only; start it with --packs DIR to allow paths below DIR")
    allowed = root.resolve()
    try:
        found = (allowed / path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidRequest(f"path {path!r} is no path: {error}") from error
    if not found.is_relative_to(allowed):
        raise NotAllowed(
            f"path {path!r} lies outside the folder that this server takes packs from; copy the pack there"
        )
    if not found.exists():
        raise NotFound(f"no pack {path!r} in the server's folder of packs")
    return found
