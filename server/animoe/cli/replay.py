"""`animoe replay`: a recorded live session, performed again to the last bit."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from animoe.bundle.child import current_bundle
from animoe.cli.take import check_writable
from animoe.errors import InvalidRequest
from animoe.formats import WRITABLE, write_clip
from animoe.formats.blender import require_blender
from animoe.printable import printable
from animoe.retarget.frames import EngineFrame
from animoe.retarget.solver import Retargeter, RigBlock
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.serving.recordings import RecordedSession, read_session

MAX_FILE_S = 3600.0
"""Longest motion that is written: a file of more would take gigabytes of memory to make."""


@dataclass
class Performance:
    """What a replay gave.

    Attributes:
        frame_count: frames performed. seconds: that it took.
        digest: SHA-256 of them, see `frame_bytes`.
        kept: blocks for a file.
    """

    frame_count: int = 0
    seconds: float = 0.0
    digest: str = ""
    kept: list[RigBlock] = field(default_factory=list)


def run(arguments: argparse.Namespace) -> None:
    _check(arguments)
    session = read_session(arguments.file)
    if arguments.out is not None and not session.recording.tokens:
        raise InvalidRequest(f"{arguments.file} holds no frames: the session ended before its first one")
    retargeter = session.retargeter(arguments.rig, EngineFrame(arguments.frame) if arguments.frame else None)

    from animoe.engine import Engine, replay

    engine = Engine.load(arguments.bundle or current_bundle())
    state = retargeter.start()
    blocks = (retargeter.apply(block, state) for block in replay(engine, session.recording))
    done = _perform(blocks, arguments)
    if arguments.out is not None:
        if not done.kept:
            raise InvalidRequest(
                f"--start {arguments.start:g} is behind the end, {done.frame_count / FRAME_RATE_HZ:g} s"
            )
        write_clip(arguments.out, retargeter.to_clip(done.kept, session.recording.text))
    figures = _figures(session, retargeter, done, arguments.out)
    figures |= {"bundle": engine.info.bundle_name, "bundle_digest": engine.info.bundle_digest}
    print(json.dumps(figures) if arguments.json else _sentences(arguments.file, figures))


def _check(arguments: argparse.Namespace) -> None:
    """Refuses before any work is done what cannot work."""
    end = math.inf if arguments.end is None else arguments.end
    if not 0 <= arguments.start < end:
        raise InvalidRequest(f"--start {arguments.start:g} and --end {end:g} must be 0 or more, in this order")
    if arguments.out is not None:
        check_writable(arguments.out, WRITABLE)
        if arguments.out.suffix.lower() == ".fbx":
            require_blender(arguments.out)


def _perform(blocks: Iterable[RigBlock], arguments: argparse.Namespace) -> Performance:
    done, hashed, began = Performance(), hashlib.sha256(), time.perf_counter()
    first = round(arguments.start * FRAME_RATE_HZ)
    for block in _until(blocks, arguments.end):
        hashed.update(frame_bytes(block))
        done.frame_count += len(block.contacts)
        if arguments.out is not None and done.frame_count > first:
            done.kept.append(_part(block, first, done.frame_count))
            if done.frame_count - first > MAX_FILE_S * FRAME_RATE_HZ:
                raise InvalidRequest(
                    f"the motion is longer than {MAX_FILE_S:g} s, which no file should be; write a part of it with "
                    "--start and --end"
                )
    done.seconds, done.digest = time.perf_counter() - began, hashed.hexdigest()
    return done


def _until(blocks: Iterable[RigBlock], end_s: float | None) -> Iterator[RigBlock]:
    end = math.inf if end_s is None else round(end_s * FRAME_RATE_HZ)
    for block in blocks:
        if block.first_frame >= end:
            return
        yield block if block.first_frame + len(block.contacts) <= end else _part(block, 0, int(end))


def _part(block: RigBlock, first: int, end: int) -> RigBlock:
    """Its frames from `first` to before `end`, indices of the session."""
    rows = slice(max(first - block.first_frame, 0), max(end - block.first_frame, 0))
    parts = (
        block.local_rotations,
        block.local_translations,
        block.contacts,
        block.root_positions,
        block.root_rotations,
    )
    return RigBlock(block.first_frame + rows.start, *(part[rows] for part in parts))


def frame_bytes(block: RigBlock) -> bytes:
    """As on the wire, float32 in little-endian order: of each frame the rotations of all joints, then translations."""
    count = len(block.contacts)
    rotations, translations = block.local_rotations.reshape(count, -1), block.local_translations.reshape(count, -1)
    return np.concatenate([rotations, translations], axis=1).astype("<f4").tobytes()


def _figures(
    session: RecordedSession, retargeter: Retargeter, done: Performance, out: Path | None
) -> dict[str, str | int | float | bool | None]:
    recording, motion_s = session.recording, done.frame_count / FRAME_RATE_HZ
    return {
        "out": None if out is None else str(out),
        "session": session.session,
        "began": session.began,
        "rig": retargeter.rig.name,
        "frame": retargeter.frame.value,
        "frames": done.frame_count,
        "seconds": round(motion_s, 3),
        "tokens": recording.tokens,
        "controls": len(recording.entries),
        "cut": recording.cut,
        "digest": f"sha256:{done.digest}",
        "real_time_factor": round(motion_s / max(done.seconds, 1e-9), 2),
    }


def _sentences(file: Path, figures: dict[str, str | int | float | bool | None]) -> str:
    which = f"session {figures['session']} of {figures['began']}" if figures["session"] else str(file)
    lines = [
        f"replayed {which}: {figures['frames']} frames ({figures['seconds']:.1f} s), {figures['controls']} controls, "
        f"on {figures['rig']} in the frame of {figures['frame']}, {figures['real_time_factor']} times real time",
        f"frames {figures['digest']}",
    ]
    lines += [f"wrote {figures['out']}"] if figures["out"] else []
    if figures["cut"]:
        lines.append("the session was told more than a recording holds: what followed is missing")
    return "\n".join(map(printable, lines))
