"""The binary side of glTF writing: accessors and buffer views that grow with the data, and the GLB container.

Source: the glTF 2.0 specification (Khronos), sections 3.6 (alignment), 3.11 (animations) and 4 (GLB).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from animoe.rig.rotations import Array

FLOAT, UBYTE, USHORT = 5126, 5121, 5123
_VERTEX_DATA = 34962  # bufferView target ARRAY_BUFFER
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Binary:
    """The binary chunk as it grows, with the accessors and buffer views that describe it.

    Args:
        data: bytes that are there already; new ones go behind them.
        accessors, views: the document's lists, which grow in place.
    """

    def __init__(
        self,
        data: bytes | bytearray = b"",
        accessors: list[dict[str, Any]] | None = None,
        views: list[dict[str, Any]] | None = None,
    ) -> None:
        self.data = bytearray(data)
        self.accessors = [] if accessors is None else accessors
        self.views = [] if views is None else views

    def add(self, values: Array, component: int = FLOAT, *, bounds: bool = False, vertex: bool = False) -> int:
        """Appends (count, width) or (count,) numbers and returns the index of their accessor."""
        dtype = {FLOAT: "<f4", UBYTE: "<u1", USHORT: "<u2"}[component]
        array = np.ascontiguousarray(values, dtype=dtype)
        rows = array.reshape(len(array), -1)
        view = self.add_bytes(array.tobytes())
        if vertex:
            self.views[view]["target"] = _VERTEX_DATA
        accessor = {
            "bufferView": view,
            "componentType": component,
            "count": len(rows),
            "type": _TYPES[rows.shape[1]],
        }
        if bounds:  # of the float32 numbers as stored: a validator compares them exactly
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def add_bytes(self, raw: bytes) -> int:
        """Appends bytes on a four-byte border and returns the index of their buffer view."""
        self.data += bytes(-len(self.data) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)})
        self.data += raw
        self.data += bytes(-len(self.data) % 4)
        return len(self.views) - 1

    def add_animation(self, name: str, times_s: Array, tracks: Sequence[tuple[int, str, Array]]) -> dict[str, Any]:
        """Appends linear tracks of one animation and returns the animation.

        Args:
            name: of the animation.
            times_s: (T,) seconds of the keys.
            tracks: (node index, "rotation" or "translation", (T, 4) or (T, 3) values).
        """
        times = self.add(times_s, bounds=True)
        samplers: list[dict[str, Any]] = []
        channels: list[dict[str, Any]] = []
        for node, path, values in tracks:
            channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
            samplers.append({"input": times, "interpolation": "LINEAR", "output": self.add(values)})
        return {"name": name, "channels": channels, "samplers": samplers}

    def sections(self) -> dict[str, Any]:
        return {
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.data)}],
        }


def pack_glb(document: dict[str, Any], data: bytes) -> bytes:
    """GLB: header, JSON chunk padded with spaces, binary chunk padded with zeros (both to four bytes).

    Raises:
        ValueError: the document holds NaN or infinite numbers, which JSON has no words for.
    """
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    data += bytes(-len(data) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
