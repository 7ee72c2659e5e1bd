"""The text that `ascii_fbx` writes as binary FBX 7.4: what real exporters produce, and other code in the parser."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

_ARRAY_TYPES = {"KeyTime": "l", "KeyAttrFlags": "i", "KeyAttrRefCount": "i", "Matrix": "d"}
_DTYPES = {"l": "<i8", "i": "<i4", "d": "<f8", "f": "<f4"}
_WORD = re.compile(r'"([^"]*)"|([^",\s{}]+)')
_NULL = bytes(13)


@dataclass
class _Record:
    name: str
    values: list[str | float]
    children: list[_Record] = field(default_factory=list)


def to_binary(text: str, *, compressed: bool = True) -> bytes:
    """Binary form of an `AsciiFbx.text`; number arrays are deflated as exporters do."""
    data = b"Kaydara FBX Binary  \x00\x1a\x00" + struct.pack("<I", 7400)
    lines = iter(text.splitlines())
    for record in _records(lines):
        data += _packed(record, len(data), compressed)
    return data + _NULL + bytes(160)


def _records(lines: object) -> list[_Record]:
    found: list[_Record] = []
    for line in lines:  # type: ignore[attr-defined]
        if line.startswith("}"):
            break
        if line.startswith(";") or ":" not in line:
            continue
        name, _, rest = line.partition(":")
        record = _Record(name.strip(), [_value(word) for word in _WORD.finditer(rest)])
        if line.rstrip().endswith("{"):
            record.children = _records(lines)
        found.append(record)
    return found


def _value(word: re.Match[str]) -> str | float:
    if word[2] is None:
        kind, _, name = word[1].partition("::")
        return f"{name}\0\1{kind}" if "::" in word[1] else word[1]
    try:
        return float(word[2]) if "." in word[2] or "e" in word[2] or "n" in word[2] else int(word[2])
    except ValueError:
        return word[2]


def _packed(record: _Record, at: int, compressed: bool) -> bytes:
    name = record.name.encode()
    if record.values and str(record.values[0]).startswith("*"):
        values = [_array(record, compressed)]
        children: list[_Record] = []
    else:
        values, children = [_single(value) for value in record.values], record.children
    head = struct.pack("<B", len(name)) + name + b"".join(values)
    at += 12 + len(head)
    body = b""
    for child in children:
        body += _packed(child, at + len(body), compressed)
    body += _NULL if children else b""
    sizes = struct.pack("<III", at + len(body), len(values), sum(map(len, values)))
    return sizes + head + body


def _single(value: str | float) -> bytes:
    if isinstance(value, str):
        encoded = value.encode()
        return b"S" + struct.pack("<I", len(encoded)) + encoded
    return b"D" + struct.pack("<d", value) if isinstance(value, float) else b"L" + struct.pack("<q", value)


def _array(record: _Record, compressed: bool) -> bytes:
    kind = _ARRAY_TYPES.get(record.name, "f")
    numbers = np.array(record.children[0].values, dtype=np.float64).astype(_DTYPES[kind])
    raw = numbers.tobytes()
    packed = zlib.compress(raw) if compressed else raw
    return kind.encode() + struct.pack("<III", len(numbers), int(compressed), len(packed)) + packed
