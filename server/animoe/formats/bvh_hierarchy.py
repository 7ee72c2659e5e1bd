"""The hierarchy of a BVH: names, parents, offsets and channels, every word checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from animoe.errors import FileError
from animoe.formats.names import unique_names

MAX_JOINTS = 4096
LIMIT = 1e9
"""Numbers beyond this have no place in a motion file, whatever its unit."""
RE_EXPORT = "The file is truncated or was edited by hand; export it again."
_MAX_WORDS = 64 * MAX_JOINTS
_WORD = re.compile(rb"\s+|[{}]|[^\s{}]+")

_Words = Iterator[tuple[int, str]]
"""Words with their line numbers."""


@dataclass
class Joint:
    """One joint; the root has parent -1. `channels` as in the file, "Xrotation" or "Yposition"."""

    name: str
    parent: int
    offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    channels: list[str] = field(default_factory=list)


def parse_hierarchy(path: Path, head: bytes) -> list[Joint]:
    """Reads what stands before MOTION.

    Raises:
        FileError: with the line.
    """
    words = _split_words(path, head)
    joints: list[Joint] = []
    stack: list[int] = []
    line = 1
    try:
        for line, word in words:
            upper = word.upper()
            if upper in ("ROOT", "JOINT"):
                _add_joint(path, joints, stack, _name(path, words, line), line)
            elif upper == "END":
                _name(path, words, line)
                stack.append(-1)  # end sites only close a chain
            elif upper == "}":
                stack.pop()
            elif upper == "OFFSET":
                offset = [_number(path, next(words)) for _ in range(3)]
                if stack[-1] >= 0:
                    joints[stack[-1]].offset = offset
            elif upper == "CHANNELS" and stack[-1] >= 0:
                joints[stack[-1]].channels = _channels(path, words, line)
            elif upper != "HIERARCHY":
                raise FileError(path, f"unexpected word {word[:40]!r} in the hierarchy", place=f"line {line}")
    except (StopIteration, IndexError, ValueError) as error:
        raise FileError(path, "the hierarchy is broken", place=f"line {line}", remedy=RE_EXPORT) from error
    if not joints or stack:
        problem = "the hierarchy is empty or its braces do not match"
        raise FileError(path, problem, place=f"line {line}", remedy=RE_EXPORT)
    for joint, unique in zip(joints, unique_names(j.name for j in joints), strict=True):
        joint.name = unique  # some exporters repeat names such as "Site"
    return joints


def _split_words(path: Path, head: bytes) -> _Words:
    line = 1
    for number, word in enumerate(_WORD.finditer(head)):
        if number > _MAX_WORDS:
            raise FileError(path, "the hierarchy is longer than any", place=f"line {line}", remedy=RE_EXPORT)
        if word[0].isspace():
            line += word[0].count(b"\n")
        else:
            yield line, word[0].decode("utf-8", errors="replace")


def _name(path: Path, words: _Words, line: int) -> str:
    """The words up to the opening brace: 3ds Max has names such as "Bip01 L Thigh"."""
    found: list[str] = []
    for at, word in words:
        if word == "{":
            return " ".join(found)
        if word == "}" or (at != line and found):
            raise FileError(path, f"'{{' expected, found {word[:40]!r}", place=f"line {at}", remedy=RE_EXPORT)
        line = at
        found.append(word)
    raise StopIteration


def _number(path: Path, word: tuple[int, str]) -> float:
    value = float(word[1])
    if not abs(value) <= LIMIT:  # also for NaN
        raise FileError(path, f"OFFSET holds {word[1][:40]}", place=f"line {word[0]}", remedy=RE_EXPORT)
    return value


def _add_joint(path: Path, joints: list[Joint], stack: list[int], name: str, line: int) -> None:
    if joints and not stack:
        raise FileError(path, f"second root {name!r:.60}", place=f"line {line}", remedy="Keep one character per file.")
    if len(joints) >= MAX_JOINTS:
        remedy = "Export one character without its helpers."
        raise FileError(path, f"more than {MAX_JOINTS} joints", place=f"line {line}", remedy=remedy)
    if stack and stack[-1] < 0:
        raise FileError(path, f"joint {name!r:.60} within an end site", place=f"line {line}", remedy=RE_EXPORT)
    joints.append(Joint(name or f"joint_{len(joints)}", stack[-1] if stack else -1))
    stack.append(len(joints) - 1)


def _channels(path: Path, words: _Words, line: int) -> list[str]:
    count = int(next(words)[1])
    names = [next(words)[1] for _ in range(count)] if 0 <= count <= 6 else []
    for name in names:
        if name[:1].upper() not in "XYZ" or name[1:].lower() not in ("rotation", "position"):
            raise FileError(path, f"unknown channel {name[:40]!r}", place=f"line {line}", remedy=RE_EXPORT)
    if len(names) != count or len({name.lower() for name in names}) != count:
        raise FileError(path, f"bad channel list of length {count}", place=f"line {line}", remedy=RE_EXPORT)
    return [name[0].upper() + name[1:].lower() for name in names]
