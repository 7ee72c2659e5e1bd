"""Arrays out of an .npz without trusting it: no pickles, and no memory that its headers merely ask for.

An .npz is a zip of .npy files. Source: numpy.lib.format, "Format specification".
"""

from __future__ import annotations

import io
import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from animoe.errors import FileError
from animoe.rig.rotations import Array

MAX_BYTES = 512 * 2**20
"""Unpacked size of all arrays that are asked for, together."""
MAX_MEMBERS = 4096
_RE_EXPORT = "The file is damaged; export it again."
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OverflowError)
# MemoryError: what Python's parser raises on brackets nested too deeply.
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    EOFError,
    OverflowError,
    RecursionError,
    MemoryError,
)


class NpzArchive:
    """The arrays of an .npz by name. Only those that are asked for are unpacked.

    Raises:
        FileError: no zip, too many members; later, for an array that is an object, damaged or too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._room = MAX_BYTES
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except _ZIP_ERRORS as error:
            raise self.error(f"not an .npz archive ({str(error)[:80]})") from error
        if len(members) > MAX_MEMBERS:
            raise self.error(f"{len(members)} members, at most {MAX_MEMBERS} are read")
        self._sizes = {info.filename.removesuffix(".npy"): info.file_size for info in members}
        self._members = {info.filename.removesuffix(".npy"): info.filename for info in members}

    def error(self, problem: str, place: str = "", remedy: str = _RE_EXPORT) -> FileError:
        return FileError(self.path, problem, place=place, remedy=remedy)

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def first_of(self, names: Iterable[str]) -> str | None:
        """The first of `names` that the archive holds."""
        return next((name for name in names if name in self._members), None)

    def numbers(self, name: str) -> Array:
        """A float64 array; every number in it is finite.

        Raises:
            FileError: no numbers, NaN or infinite ones, damaged, too large.
        """
        array = self.array(name)
        if array.dtype.kind not in "fiu":
            raise self.error(f"it holds {array.dtype}, not real numbers", f"array {name!r:.60}")
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
            raise self.error("NaN or infinite value", f"array {name!r:.60}, row {row}", "Repair the recording.")
        return array.astype(np.float64)

    def text(self, name: str) -> str:
        """A word such as a gender; empty where the array holds no text."""
        array = self.array(name)
        value = array.ravel()[0] if array.size and array.dtype.kind in "US" else ""
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def array(self, name: str) -> Array:
        """The array as stored.

        Raises:
            FileError: an object array, damaged, too large.
        """
        place = f"array {name!r:.60}"
        raw = self._unpacked(name, place)
        shape, fortran, dtype, start = self._header(raw, place)
        if dtype.hasobject:
            remedy = "Save it again as plain arrays (numpy.savez with allow_pickle=False)."
            raise self.error("it holds Python objects, which are never loaded", place, remedy)
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(raw) - start:
            raise self.error(f"shape {shape} of {dtype} does not fit its {len(raw) - start} bytes", place)
        flat = np.frombuffer(raw, dtype, math.prod(shape), start) if math.prod(shape) else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if fortran else "C")

    def _unpacked(self, name: str, place: str) -> bytes:
        """The bytes of a member: what the zip says it unpacks to, and not one more."""
        size = self._sizes[name]
        if size > self._room:
            problem = f"it unpacks to {size >> 20} MiB, more than the {MAX_BYTES >> 20} MiB that are read of a file"
            raise self.error(problem, place, "Split the recording.")
        self._room -= size
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._members[name]) as member:
                raw = member.read(size + 1)
        except _ZIP_ERRORS as error:
            raise self.error(f"it cannot be unpacked ({str(error)[:80]})", place) from error
        if len(raw) != size:
            raise self.error(f"it unpacks to {len(raw)} bytes, {size} were announced", place)
        return raw

    def _header(self, raw: bytes, place: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
        """Shape, whether it is stored column by column, type, and where the numbers start."""
        stream = io.BytesIO(raw)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a header written by Python 2 is no news to the user
                version = np.lib.format.read_magic(stream)
                readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                if version not in readers:
                    raise self.error(f"array format {version} is not read", place)
                shape, fortran, dtype = readers[version](stream)
        except _HEADER_ERRORS as error:
            raise self.error(f"its header is broken ({str(error)[:80]})", place) from error
        return shape, fortran, dtype, stream.tell()
