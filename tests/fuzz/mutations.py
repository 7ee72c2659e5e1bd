"""Ways to spoil a file: blind ones, and ones that know enough of a format to get past its outer shell."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
from collections.abc import Callable

from seeds import pack_glb

_NUMBERS = (
    b"0 -1 1 2 7 255 4096 65536 1000000 2147483647 4294967295 9999999999999 18446744073709551615 1e-30 1e9 1e38 1e300 "
    b'1e999 -1e300 nan NaN inf -inf 0.0 null "" [] {} [[[[[[[[]]]]]]]] true x'
).split()
_WORDS = tuple(
    struct.pack(kind, value)
    for kind, values in (
        ("<I", (0, 1, 2, 0xFF, 0xFFFF, 10**6, 2**31 - 1, 2**31, 2**32 - 1)),
        ("<f", (float("nan"), float("inf"), -1.0, 1e38, 1e-40)),
        ("<d", (float("nan"), float("inf"), 1e300)),
        ("<Q", (2**63 - 1, 2**64 - 1, 2**40)),
    )
    for value in values
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_LINE = re.compile(rb"[^\n]*\n")

Mutation = Callable[[bytes, random.Random], bytes]


def spoil(suffix: str, data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to three mutations of `data`; now and then a piece of `other` comes in."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        choice = rng.random()
        if choice < 0.08:
            data = _splice(data, other, rng)
        elif suffix == ".glb" and choice < 0.5 and data[:4] == b"glTF":
            data = _within_glb(data, rng)
        elif suffix == ".npz" and choice < 0.8:
            data = _within_zip(data, rng)
        else:
            data = rng.choice(_MUTATIONS)(data, rng)
    return data


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _flip_bits(data: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, 8) if data else 0):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _overwrite_word(data: bytes, rng: random.Random) -> bytes:
    word = rng.choice(_WORDS)
    at = rng.randrange(max(len(data) - len(word), 0) + 1)
    at -= at % 4 if rng.random() < 0.5 else 0
    return data[:at] + word + data[at + len(word) :]


def _edit_number(data: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    at = rng.choice(found)
    return data[: at.start()] + rng.choice(_NUMBERS) + data[at.end() :]


def _swap_numbers(data: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if len(found) < 2:
        return data
    at, source = rng.choice(found), rng.choice(found)
    return data[: at.start()] + source[0] + data[at.end() :]


def _repeat_line(data: bytes, rng: random.Random) -> bytes:
    lines = _LINE.findall(data)
    if len(lines) < 2:
        return data
    at = rng.randrange(len(lines))
    lines[at] = b"" if rng.random() < 0.3 else lines[at] * rng.choice((2, 3, 500))
    return b"".join(lines)


def _cut(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.randint(1, 64) :]


def _nest(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice((b"[", b"{", b'{"a":', b"Model: 1 {\n", b"JOINT a {\n")) * 3000 + data[at:]


def _splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start, at = rng.randrange(len(other) + 1), rng.randrange(len(data) + 1)
    return data[:at] + other[start : start + rng.randint(1, 400)] + data[at + rng.randint(0, 400) :]


_MUTATIONS: tuple[Mutation, ...] = (
    _truncate, _flip_bits, _flip_bits, _overwrite_word, _overwrite_word, _edit_number, _edit_number, _edit_number,
    _swap_numbers, _swap_numbers, _repeat_line, _cut, _nest,
)  # fmt: skip


def _within_glb(data: bytes, rng: random.Random) -> bytes:
    """Spoils the JSON or the binary chunk and makes the lengths fit again."""
    size = struct.unpack_from("<I", data, 12)[0] if len(data) >= 28 else 0
    text, binary = data[20 : 20 + size], data[28 + size :]
    if rng.random() < 0.75:
        text = rng.choice((_edit_number, _edit_number, _swap_numbers, _flip_bits))(text, rng)
    else:
        binary = rng.choice((_overwrite_word, _truncate, _flip_bits))(binary, rng)
    return pack_glb(text, binary)


def _within_zip(data: bytes, rng: random.Random) -> bytes:
    """Spoils a member of the archive and packs it again, so that its checksum is right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:
        return data
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name in members:
            content = members[name]
            if rng.random() < 1.5 / len(members):
                content = _spoil_array(content, rng)
            if rng.random() > 0.05:
                archive.writestr(name, content)
    return stream.getvalue()


def _spoil_array(content: bytes, rng: random.Random) -> bytes:
    """An .npy: its header (shape, type), or its numbers."""
    end = content.find(b"\n") + 1
    head, body = content[:end], content[end:]
    choice = rng.random()
    if choice < 0.35:
        spoilt = rng.choice((_edit_number, _swap_numbers))(head[10:], rng)
        head = head[:8] + struct.pack("<H", len(spoilt) & 0xFFFF) + spoilt
    elif choice < 0.5:
        kinds = (b"'|O'", b"'<f2'", b"'<c16'", b"'|V8'", b"'<U1000000'", b"'<M8[s]'", b"'>f8'", b"[('a', '<f8')]")
        head = re.sub(rb"'descr': [^,]*", b"'descr': " + rng.choice(kinds), head)
    else:
        body = rng.choice((_overwrite_word, _truncate, _flip_bits, _cut))(body, rng)
    return head + body
