"""BVH reading: Biovision hierarchy, degrees in the file, any channel order.

The clip comes back in the file's own unit and axes; `formats.normalise` turns the unit into metres.
Quirks of real files that are handled: position channels on every joint; position channels that replace the OFFSET
(Bandai Namco, CMU) or add to it (iClone); zero-length joints; text in any whitespace layout.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from animoe.errors import FileError
from animoe.motion.clip import Clip
from animoe.rig.rotations import Array, from_euler, unroll
from animoe.rig.skeleton import Skeleton

MAX_BYTES = 512 * 2**20
MAX_JOINTS = 4096


@dataclass
class _Joint:
    name: str
    parent: int
    offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    channels: list[str] = field(default_factory=list)


def read_bvh(path: Path) -> Clip:
    """Reads one BVH file: local rotations and translations of every joint, in file units and axes.

    Raises:
        FileError: not a BVH, truncated, counts that disagree, NaN; says the line where it can.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise FileError(path, f"larger than {MAX_BYTES >> 20} MiB", remedy="Split the recording.")
    text = path.read_text(encoding="utf-8", errors="replace")
    head, marker, motion = text.partition("MOTION")
    if not marker:
        raise FileError(path, "no MOTION block", remedy="Export the file again as BVH.")
    joints = _parse_hierarchy(path, head)
    frame_time, values = _parse_motion(path, motion, sum(len(j.channels) for j in joints), head.count("\n"))
    return _to_clip(path, joints, frame_time, values)


def _parse_hierarchy(path: Path, head: str) -> list[_Joint]:
    words = ((number, word) for number, line in enumerate(head.splitlines(), 1) for word in line.split())
    joints: list[_Joint] = []
    stack: list[int] = []
    line = 1
    try:
        for line, word in words:
            upper = word.upper()
            if upper in ("ROOT", "JOINT"):
                _add_joint(path, joints, stack, next(words)[1], line)
            elif upper == "END":
                next(words)
                stack.append(-1)  # end sites only close a chain
            elif upper == "{":
                continue
            elif upper == "}":
                stack.pop()
            elif upper == "OFFSET":
                offset = [float(next(words)[1]) for _ in range(3)]
                if stack[-1] >= 0:
                    joints[stack[-1]].offset = offset
            elif upper == "CHANNELS":
                joints[stack[-1]].channels = _channels(path, words, line)
            elif upper != "HIERARCHY":
                raise FileError(path, f"unexpected word {word[:40]!r} in the hierarchy", place=f"line {line}")
    except (StopIteration, IndexError, ValueError) as error:
        raise FileError(path, "the hierarchy is broken", place=f"line {line}") from error
    if not joints or stack:
        raise FileError(path, "the hierarchy is empty or its braces do not match", place=f"line {line}")
    return joints


def _add_joint(path: Path, joints: list[_Joint], stack: list[int], name: str, line: int) -> None:
    if joints and not stack:
        raise FileError(path, f"second root {name!r}", place=f"line {line}", remedy="Keep one character per file.")
    if len(joints) >= MAX_JOINTS:
        raise FileError(path, f"more than {MAX_JOINTS} joints", place=f"line {line}")
    known = {joint.name for joint in joints}
    unique, copy = name, 2
    while unique in known:  # some exporters repeat names such as "Site"
        unique, copy = f"{name}_{copy}", copy + 1
    joints.append(_Joint(unique, stack[-1] if stack else -1))
    stack.append(len(joints) - 1)


def _channels(path: Path, words: Iterator[tuple[int, str]], line: int) -> list[str]:
    count = int(next(words)[1])
    names = [next(words)[1] for _ in range(count)] if 0 <= count <= 6 else []
    for name in names:
        if name[:1].upper() not in "XYZ" or name[1:].lower() not in ("rotation", "position"):
            raise FileError(path, f"unknown channel {name[:40]!r}", place=f"line {line}")
    if len(names) != count or len(set(names)) != count:
        raise FileError(path, f"bad channel list of length {count}", place=f"line {line}")
    return [name[0].upper() + name[1:].lower() for name in names]


def _parse_motion(path: Path, motion: str, width: int, line: int) -> tuple[float, Array]:
    """Frame time in seconds and channel values (T, width)."""
    lines = motion.split("\n", 3)
    try:
        rows = [row for row in lines[:3] if row.strip()]
        frame_count = int(rows[0].split(":")[1])
        frame_time = float(rows[1].split(":")[1])
        body = motion.split(rows[1], 1)[1]
    except (IndexError, ValueError) as error:
        raise FileError(path, "no 'Frames:' and 'Frame Time:' after MOTION", place=f"line {line + 1}") from error
    if not (np.isfinite(frame_time) and 0 < frame_time < 10):
        raise FileError(path, f"frame time {frame_time} s is not usable", place=f"line {line + 3}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's sign of text that is no number
        try:
            values = np.fromstring(body, sep=" ")
        except (DeprecationWarning, ValueError) as error:
            raise FileError(path, "the motion block holds text that is no number", place=f"line {line + 4}") from error
    if width == 0 or len(values) == 0:
        raise FileError(path, "no motion values", place=f"line {line + 4}")
    if len(values) != frame_count * width:
        raise FileError(
            path,
            f"{frame_count} frames of {width} channels need {frame_count * width} values, found {len(values)}",
            place=f"line {line + 4}",
            remedy="The file is truncated or was edited by hand; export it again.",
        )
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0]) // width
        raise FileError(path, "NaN or infinite value", place=f"frame {bad}")
    return frame_time, values.reshape(frame_count, width)


def _to_clip(path: Path, joints: list[_Joint], frame_time: float, values: Array) -> Clip:
    frames = len(values)
    rotations = np.zeros((frames, len(joints), 4))
    rotations[..., 3] = 1.0
    translations = np.tile(np.array([j.offset for j in joints]), (frames, 1, 1))
    # Below the root position channels replace OFFSET; a file that has such channels does the same at the root.
    replaces = any(joint.parent >= 0 and any(name.endswith("position") for name in joint.channels) for joint in joints)
    column = 0
    for index, joint in enumerate(joints):
        data = values[:, column : column + len(joint.channels)]
        column += len(joint.channels)
        turns = [c for c, name in enumerate(joint.channels) if name.endswith("rotation")]
        moves = [c for c, name in enumerate(joint.channels) if name.endswith("position")]
        if turns:
            order = "".join(joint.channels[c][0] for c in turns)
            rotations[:, index] = unroll(from_euler(np.radians(data[:, turns]), order))
        for c in moves:
            axis = "XYZ".index(joint.channels[c][0])
            base = joint.offset[axis] if not replaces and _adds(joint, data, moves) else 0.0
            translations[:, index, axis] = base + data[:, c]
    skeleton = Skeleton.build([j.name for j in joints], [j.parent for j in joints], [j.offset for j in joints])
    return Clip(skeleton, 1.0 / frame_time, rotations, translations, path.stem)


def _adds(joint: _Joint, data: Array, moves: list[int]) -> bool:
    """Whether position channels add to OFFSET (iClone's root) instead of replacing it (the rest).

    Judged on the largest component of the root's OFFSET, the hip height: where channels replace it, they come near it
    at some time of the clip (an upright frame); where they add to it, they stay near zero.
    """
    offset = np.array([joint.offset["XYZ".index(joint.channels[c][0])] for c in moves])
    main = int(np.argmax(np.abs(offset)))
    if abs(offset[main]) < 1e-6:
        return False
    ratio = data[:, moves[main]] / offset[main]
    return bool(np.percentile(ratio, 90) < 0.5)
