"""The container side of glTF 2.0: GLB chunks, JSON, buffers and accessors, every index and count checked.

Knows nothing of motion. Source: the glTF 2.0 specification (Khronos), sections 3.6 (binary data) and 4 (GLB).
"""

from __future__ import annotations

import base64
import binascii
import json
import reprlib
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from animoe.errors import FileError
from animoe.rig.rotations import Array

MAX_BYTES = 256 * 2**20
"""Of the file and the buffers beside it, together."""
MAX_JSON_BYTES = 64 * 2**20
MAX_JSON_VALUES = 1_500_000
"""Objects, lists and what is in them: Python takes up to a hundred bytes for each."""
MAX_ELEMENTS = 1 << 22
"""Elements of one accessor: one without data (all zeros) could otherwise ask for any amount of memory."""
MAX_NUMBERS = 1 << 24
"""Numbers of all accessors together: many of them may share a few bytes of data."""

Json = dict[str, Any]
_JSON_CHUNK, _BIN_CHUNK = 0x4E4F534A, 0x004E4942
_DTYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_RE_EXPORT = "The file is damaged; export it again."


_brief = reprlib.repr
"""Any JSON value in a few words: a hostile one may be long or deeply nested."""


class Document:
    """An opened glTF file. Its lookups raise FileError, naming the place, for whatever does not fit.

    Args:
        path: .glb or .gltf; which of the two it is, its first bytes tell.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes_left = MAX_BYTES
        data = self._read(path)
        text, self._chunk = self._split_glb(data) if data.startswith(b"glTF") else (data, memoryview(b""))
        self.json = self._parse(text)
        version = self._object(self.json.get("asset", {}), "asset").get("version")
        if not (isinstance(version, str) and version.startswith("2")):
            raise self.error(f"glTF version {_brief(version)}", "asset", "Export it as glTF 2.0.")
        self._accessor_list = self.items("accessors")
        self._views = self.items("bufferViews")
        self._buffer_list = self.items("buffers")
        self._buffers: dict[int, bytes | memoryview] = {}
        self._accessors: dict[tuple[int, str], Array] = {}
        self._key_times: dict[int, Array] = {}
        self._numbers_left = MAX_NUMBERS

    def error(self, problem: str, place: str = "", remedy: str = _RE_EXPORT) -> FileError:
        return FileError(self.path, problem, place=place, remedy=remedy)

    def items(self, key: str, holder: Json | None = None, place: str = "") -> list[Json]:
        """The list of objects under `key` of `holder` (default: the top level); empty when absent."""
        value = (self.json if holder is None else holder).get(key, [])
        if type(value) is not list or not all(type(item) is dict for item in value):
            raise self.error(f"{key!r} is not a list of objects", place)
        return value

    def index(self, holder: Json, key: str, count: int, place: str) -> int:
        """The index under `key` of `holder`, known to lie in [0, count)."""
        value = holder.get(key)
        if type(value) is not int or not 0 <= value < count:
            raise self.error(f"{key!r} is {_brief(value)}, expected an index below {count}", place)
        return value

    def indices(self, holder: Json, key: str, count: int, place: str) -> list[int]:
        """The list of indices under `key`, each in [0, count); empty when absent."""
        value = holder.get(key, [])
        if type(value) is not list or not all(type(i) is int and 0 <= i < count for i in value):
            raise self.error(f"{key!r} is not a list of indices below {count}", place)
        return value

    def numbers(self, holder: Json, key: str, default: tuple[float, ...], place: str) -> Array:
        """The finite numbers under `key`, as many as `default` has, which stands in when it is absent."""
        if key not in holder:
            return np.array(default, dtype=np.float64)
        value = holder[key]
        if type(value) is not list or len(value) != len(default):
            raise self.error(f"{key!r} needs {len(default)} numbers", place)
        if not all(type(x) in (int, float) and abs(x) <= 1e9 for x in value):  # also false for NaN
            raise self.error(f"{key!r} holds NaN, an absurdly large number or no number", place)
        return np.array(value, dtype=np.float64)

    def accessor(self, index: int, kind: str) -> Array:
        """(count, width) float64 values of an accessor whose type must be `kind` ("SCALAR", "VEC3", …)."""
        if (index, kind) not in self._accessors:
            self._accessors[index, kind] = self._decode(index, kind)
        return self._accessors[index, kind]

    @property
    def accessor_count(self) -> int:
        return len(self._accessor_list)

    def key_times(self, index: int) -> Array:
        """(K,) ascending finite seconds of a sampler's input accessor, K >= 1."""
        if index not in self._key_times:
            times = self.accessor(index, "SCALAR").ravel()
            if len(times) == 0 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
                raise self.error("key times are missing, NaN or not in ascending order", f"accessor {index}")
            self._key_times[index] = times
        return self._key_times[index]

    def _decode(self, index: int, kind: str) -> Array:
        place = f"accessor {index}"
        accessor = self._accessor_list[index]
        if accessor.get("type") != kind:
            raise self.error(f"type is {_brief(accessor.get('type'))}, expected {kind}", place)
        count, component = self._size(accessor, "count", place), accessor.get("componentType")
        width = _WIDTHS[kind]
        self._take_numbers(count * width, place)
        if "bufferView" in accessor:
            raw = self._elements(accessor, component, count, width, place)
        else:
            raw = np.zeros((count, width), dtype="<f4")
        with np.errstate(invalid="ignore"):  # some NaN of float32; whoever uses the numbers refuses them
            values = raw.astype(np.float64)
        if "sparse" in accessor:
            self._apply_sparse(values, self._object(accessor["sparse"], place), component, place)
        if accessor.get("normalized") is True and raw.dtype.kind in "iu":
            # Section 3.11: signed integers are divided by their largest value and clamped to -1.
            values = np.maximum(values / np.iinfo(raw.dtype).max, -1.0)
        return values

    def _take_numbers(self, count: int, place: str) -> None:
        self._numbers_left -= count
        if self._numbers_left < 0:
            raise self.error(f"the file holds more than {MAX_NUMBERS} numbers", place, "Split it into several files.")

    def _apply_sparse(self, values: Array, sparse: Json, component: object, place: str) -> None:
        count = self._size(sparse, "count", place)
        self._take_numbers(count * values.shape[1], place)
        at = self._object(sparse.get("indices"), place)
        rows = self._elements(at, at.get("componentType"), count, 1, place).ravel()
        source = self._object(sparse.get("values"), place)
        new = self._elements(source, component, count, values.shape[1], place)
        if rows.dtype.kind != "u" or (count and rows.max() >= len(values)):
            raise self.error("a sparse index lies outside the accessor", place)
        values[rows] = new

    def _elements(self, holder: Json, component: object, count: int, width: int, place: str) -> Array:
        """(count, width) raw numbers of the buffer view that `holder` (all or part of an accessor) names."""
        dtype = np.dtype(_DTYPES[component]) if type(component) is int and component in _DTYPES else None
        if dtype is None:
            raise self.error(f"unknown componentType {_brief(component)}", place)
        view = self._views[self.index(holder, "bufferView", len(self._views), place)]
        if "EXT_meshopt_compression" in self._object(view.get("extensions", {}), place):
            raise self.error("its data is compressed", place, "Export it without meshopt compression.")
        data = self.buffer(self.index(view, "buffer", len(self._buffer_list), place))
        start = self._size(view, "byteOffset", place, 0)
        end = start + self._size(view, "byteLength", place)
        first = start + self._size(holder, "byteOffset", place, 0)
        packed = dtype.itemsize * width
        stride = self._size(view, "byteStride", place, packed)
        if stride < packed or end > len(data) or (count and first + stride * (count - 1) + packed > end):
            raise self.error(f"{count} elements do not fit into its {max(end - start, 0)} bytes", place)
        if stride == packed:
            return np.frombuffer(data, dtype, count * width, first).reshape(count, width)
        if count == 0:
            return np.zeros((0, width), dtype)
        return np.ndarray((count, width), dtype, data, first, (stride, dtype.itemsize))

    def _size(self, holder: Json, key: str, place: str, default: int = -1) -> int:
        value = holder.get(key, default)
        limit = MAX_ELEMENTS if key == "count" else MAX_BYTES
        if type(value) is not int or not 0 <= value <= limit:
            raise self.error(f"{key!r} is {_brief(value)}, expected a whole number from 0 to {limit}", place)
        return value

    def _object(self, value: object, place: str) -> Json:
        if type(value) is not dict:
            raise self.error(f"an object was expected, found {_brief(value)}", place)
        return value

    def buffer(self, index: int) -> bytes | memoryview:
        """The bytes of a buffer: the GLB's own chunk, base64 in the file, or a file beside it."""
        if index not in self._buffers:
            uri = self._buffer_list[index].get("uri")
            place = f"buffer {index}"
            if uri is None and index == 0 and self._chunk:
                self._buffers[index] = self._chunk
            elif type(uri) is not str:
                raise self.error("it has neither data nor an address", place)
            else:
                load = self._embedded if uri.startswith("data:") else self.beside
                self._buffers[index] = load(uri, place)
        return self._buffers[index]

    def _embedded(self, uri: str, place: str) -> bytes:
        head, comma, body = uri.partition(",")
        if not comma or not head.endswith(";base64"):
            raise self.error("its data: address is not base64", place)
        self._spend(len(body) * 3 // 4, "its data", place)
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self.error("its base64 data is broken", place) from error

    def beside(self, uri: str, place: str) -> bytes:
        """A buffer file in this file's folder or below; a pack must not reach files elsewhere."""
        folder = self.path.parent.resolve()
        try:
            target = (folder / unquote(uri)).resolve()
            inside = target.is_relative_to(folder) and "://" not in uri
        except (OSError, ValueError, RuntimeError) as error:  # NUL bytes, names too long, loops of links
            raise self.error(f"its address {uri!r:.80} is not a file name", place) from error
        if not inside:
            problem = f"its address {uri!r:.80} leads out of the folder"
            raise self.error(problem, place, "Keep the .bin beside the .gltf.")
        return self._read(target, place, "Put it back beside the .gltf, or export as .glb.")

    def _read(self, target: Path, place: str = "", remedy: str = "") -> bytes:
        try:
            if not target.is_file():
                raise self.error(f"{target.name!r:.80} is not a file", place, remedy)
            self._spend(target.stat().st_size, f"{target.name!r:.80}", place)
            return target.read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise self.error(f"{target.name!r:.80} cannot be opened ({reason})", place, remedy) from error

    def _spend(self, byte_count: int, what: str, place: str) -> None:
        self._bytes_left -= byte_count
        if self._bytes_left < 0:
            problem = f"{what} and what it goes with take more than {MAX_BYTES >> 20} MiB"
            raise self.error(problem, place, "Export the animations without meshes and textures.")

    def _split_glb(self, data: bytes) -> tuple[bytes, memoryview]:
        """JSON text and binary chunk of a GLB."""
        if len(data) < 20:
            raise self.error("the GLB header is cut off")
        version, length = struct.unpack_from("<II", data, 4)
        if version != 2:
            raise self.error(f"GLB version {version}", remedy="Export it as glTF 2.0.")
        if length > len(data):
            problem = f"truncated: {len(data)} of {length} bytes"
            raise self.error(problem, remedy="Copy or export the file again.")
        chunks: dict[int, memoryview] = {}
        view = memoryview(data)  # a slice of it is no copy
        at = 12
        while at + 8 <= length:
            size, kind = struct.unpack_from("<II", data, at)
            if at + 8 + size > length:
                raise self.error("a chunk is longer than the file", f"byte {at}")
            chunks.setdefault(kind, view[at + 8 : at + 8 + size])
            at += 8 + size
        if _JSON_CHUNK not in chunks:
            raise self.error("the GLB has no JSON chunk")
        text = chunks[_JSON_CHUNK]
        if len(text) > MAX_JSON_BYTES:
            raise self.error(f"its JSON is larger than {MAX_JSON_BYTES >> 20} MiB")
        return bytes(text), chunks.get(_BIN_CHUNK, memoryview(b""))

    def _parse(self, text: bytes) -> Json:
        if text.startswith(b"version https://git-lfs"):
            raise self.error("it is a Git LFS pointer, not the file itself", remedy="Run 'git lfs pull'.")
        if len(text) > MAX_JSON_BYTES:
            raise self.error(f"its JSON is larger than {MAX_JSON_BYTES >> 20} MiB", remedy="Export it as .glb.")
        if sum(text.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_VALUES:
            raise self.error(f"its JSON holds more than {MAX_JSON_VALUES} values")
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError) as error:
            kind = "GLB or glTF" if not text.lstrip().startswith(b"{") else "valid glTF"
            reason = f"not a {kind} file ({str(error)[:80]})"
            raise self.error(reason, remedy="Export it again as glTF 2.0 (.glb).") from error
        return self._object(parsed, "top level")
