"""BVH reading: Biovision hierarchy, degrees in the file, any channel order.

The clip comes back in the file's own unit and axes; `formats.normalise` turns the unit into metres.
Quirks of real files that are handled: position channels on every joint; position channels that replace the OFFSET
(Bandai Namco, CMU) or add to it (iClone); zero-length joints; spaces in names (3ds Max); text in any whitespace layout.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from animoe.errors import FileError
from animoe.formats.bvh_hierarchy import LIMIT, RE_EXPORT, Joint, parse_hierarchy
from animoe.motion.clip import Clip
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array, from_euler, unroll
from animoe.rig.skeleton import Skeleton

MAX_BYTES = 512 * 2**20
MAX_JOINT_FRAMES = 4_000_000
"""Joints x frames, also once resampled to 30 fps: half an hour of a 70-joint rig at that rate, 220 MB."""
MAX_NUMBERS = 1 << 24
MAX_SECONDS = 7200.0
FRAME_TIMES_S = (0.0005, 10.0)
_HEAD_BYTES = 48 * 2**20
_TIMING_BYTES = 4096
_BLOCK_BYTES = 4 * 2**20
_BLOCK_POSES = 1 << 16
_MOTION = b"MOTION"
_TIMING = re.compile(rb"(?i)\s*Frames\s*:\s*(\S{1,20})\s+Frame\s*Time\s*:\s*(\S{1,40})\s")


@dataclass(frozen=True)
class _Timing:
    """What stands between MOTION and the numbers."""

    frame_count: int
    frame_time_s: float
    line: int


def read_bvh(path: Path) -> Clip:
    """Reads one BVH file: local rotations and translations of every joint, in file units and axes.

    Raises:
        FileError: not a BVH, truncated, counts that disagree, NaN, too long; says the line where it can.
    """
    path = Path(path)
    with path.open("rb") as file:
        if path.stat().st_size > MAX_BYTES:
            raise FileError(path, f"larger than {MAX_BYTES >> 20} MiB", remedy="Split the recording.")
        head, motion = _read_head(path, file)
        joints = parse_hierarchy(path, head[:motion].removeprefix(b"\xef\xbb\xbf"))
        width = sum(len(joint.channels) for joint in joints)
        timing, start = _parse_timing(path, head, motion + len(_MOTION))
        _refuse_length(path, timing, len(joints), width)
        values = _parse_values(path, file, head[start:], timing, width)
    return _to_clip(path, joints, timing.frame_time_s, values)


def _read_head(path: Path, file: IO[bytes]) -> tuple[bytes, int]:
    """The first bytes of the file, up to some numbers, and where in them MOTION stands."""
    head, at = b"", -1
    while at < 0:
        more = file.read(_BLOCK_BYTES) if len(head) < _HEAD_BYTES else b""
        if not more:
            problem = "no MOTION block" if len(head) < _HEAD_BYTES else f"no MOTION within {_HEAD_BYTES >> 20} MiB"
            raise FileError(path, problem, remedy="Export the file again as BVH.")
        searched = max(len(head) - len(_MOTION), 0)
        head += more  # long only for deep chains, which are indented far
        at = _find_motion(head, searched)
    return head + file.read(_TIMING_BYTES), at


def _find_motion(head: bytes, start: int) -> int:
    """Where MOTION follows the last brace (elsewhere it is part of a name); -1 if nowhere."""
    at = head.find(_MOTION, start)
    while at >= 0 and head[max(at - 64, 0) : at].rstrip()[-1:] not in (b"", b"}"):
        at = head.find(_MOTION, at + 1)
    return at


def _parse_timing(path: Path, head: bytes, start: int) -> tuple[_Timing, int]:
    """Frame count and time, and where the numbers begin."""
    line = head.count(b"\n", 0, start) + 1
    found = _TIMING.match(head + b"\n", start)
    try:
        if found is None:
            raise ValueError
        frame_count, frame_time_s = int(found[1]), float(found[2])
    except ValueError as error:
        problem = "no 'Frames:' and 'Frame Time:' after MOTION"
        raise FileError(path, problem, place=f"line {line}", remedy=RE_EXPORT) from error
    if not FRAME_TIMES_S[0] <= frame_time_s <= FRAME_TIMES_S[1]:
        remedy = "Write the seconds per frame, such as 0.0333333, after 'Frame Time:'."
        raise FileError(path, f"frame time {frame_time_s} s is not usable", place=f"line {line + 2}", remedy=remedy)
    return _Timing(frame_count, frame_time_s, line + 3), min(found.end(), len(head))


def _refuse_length(path: Path, timing: _Timing, joint_count: int, width: int) -> None:
    seconds = timing.frame_count * timing.frame_time_s
    poses = max(timing.frame_count, seconds * FRAME_RATE_HZ) * joint_count
    if seconds > MAX_SECONDS or poses > MAX_JOINT_FRAMES or timing.frame_count * width > MAX_NUMBERS:
        problem = f"{timing.frame_count} frames of {joint_count} joints ({seconds:.0f} s) are more than is read at once"
        remedy = f"Split the recording: at most {MAX_SECONDS:.0f} s and {MAX_JOINT_FRAMES} joint poses."
        raise FileError(path, problem, place=f"line {timing.line - 2}", remedy=remedy)
    if timing.frame_count <= 0 or width == 0:
        raise FileError(path, "no motion values", place=f"line {timing.line - 2}", remedy=RE_EXPORT)


def _parse_values(path: Path, file: IO[bytes], text: bytes, timing: _Timing, width: int) -> Array:
    """Channel values (T, width). Read in blocks: a long text and its numbers need not both be in memory."""
    place, wanted = f"line {timing.line}", timing.frame_count * width
    values: Array = np.empty(wanted)
    found = 0
    while text and found <= wanted:
        more = file.read(_BLOCK_BYTES)
        if more:
            cut = max(text.rfind(b" "), text.rfind(b"\n"), text.rfind(b"\t")) + 1  # not within a number
            if cut == 0 and len(text) > _TIMING_BYTES:
                raise FileError(path, "no space between its numbers", place=place, remedy=RE_EXPORT)
            text, more = text[:cut], text[cut:] + more
        numbers = _to_numbers(path, text, place)
        values[found : found + len(numbers)] = numbers[: max(wanted - found, 0)]
        found += len(numbers)
        text = more
    if found != wanted:
        counted = f"{found}{' or more' if text else ''}"
        problem = f"{timing.frame_count} frames of {width} channels need {wanted} values, found {counted}"
        raise FileError(path, problem, place=place, remedy=RE_EXPORT)
    values = values.reshape(timing.frame_count, width)
    usable = np.abs(values).max(axis=1) <= LIMIT  # also false for NaN
    if not usable.all():
        bad = int(np.argmin(usable))
        raise FileError(path, "NaN, infinite or absurdly large value", place=f"frame {bad}", remedy="Repair the curve.")
    return values


def _to_numbers(path: Path, text: bytes, place: str) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's sign of text that is no number
        try:
            return np.fromstring(text.decode("latin-1"), sep=" ")
        except (DeprecationWarning, ValueError) as error:
            problem = "the motion block holds text that is no number"
            raise FileError(path, problem, place=place, remedy=RE_EXPORT) from error


def _to_clip(path: Path, joints: list[Joint], frame_time: float, values: Array) -> Clip:
    frames = len(values)
    rotations = np.zeros((frames, len(joints), 4))
    rotations[..., 3] = 1.0
    translations = np.tile(np.array([j.offset for j in joints]), (frames, 1, 1))
    # Below the root position channels replace OFFSET; a file that has such channels does the same at the root.
    replaces = any(joint.parent >= 0 and any(name.endswith("position") for name in joint.channels) for joint in joints)
    turning: dict[str, tuple[list[int], list[int]]] = {}  # order of axes -> joints, columns: turned all at once
    column = 0
    for index, joint in enumerate(joints):
        data = values[:, column : column + len(joint.channels)]
        turns = [c for c, name in enumerate(joint.channels) if name.endswith("rotation")]
        moves = [c for c, name in enumerate(joint.channels) if name.endswith("position")]
        if turns:
            group, columns = turning.setdefault("".join(joint.channels[c][0] for c in turns), ([], []))
            group.append(index)
            columns.extend(column + c for c in turns)
        adds = not replaces and bool(moves) and _adds(joint, data, moves)
        for c in moves:
            axis = "XYZ".index(joint.channels[c][0])
            translations[:, index, axis] = (joint.offset[axis] if adds else 0.0) + data[:, c]
        column += len(joint.channels)
    for order, (group, columns) in turning.items():
        step = max(1, _BLOCK_POSES // frames)  # joints: a long take as a whole would fill the memory
        for start in range(0, len(group), step):
            part = group[start : start + step]
            degrees = values[:, columns[start * len(order) : (start + step) * len(order)]]
            angles = np.radians(degrees).reshape(frames, len(part), len(order))
            rotations[:, part] = unroll(from_euler(angles, order))
    skeleton = Skeleton.build([j.name for j in joints], [j.parent for j in joints], [j.offset for j in joints])
    return Clip(skeleton, 1.0 / frame_time, rotations, translations, path.stem)


def _adds(joint: Joint, data: Array, moves: list[int]) -> bool:
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
