"""`animoe stream`: a live session, one printed line for each block that arrives."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass

import numpy as np

from animoe.cli.take import FILE_FRAME, skeleton_of
from animoe.client import Client, FrameBlock, LiveStream, Motion, Queued
from animoe.errors import InvalidRequest
from animoe.rig.kinematics import local_to_model


@dataclass(frozen=True)
class Arrival:
    """One block as it came in.

    Attributes:
        frame: index of its first frame.
        root_m: world position of the joint that carries the motion, at its last frame, metres; of a character that
            stays in place, the pelvis over the place where it would be.
        speed_mps: over the floor, since the block before.
        early_ms: how long before it was due on screen; negative is late. Playing starts with the first block.
    """

    frame: int
    root_m: tuple[float, float, float]
    speed_mps: float
    early_ms: float

    def __str__(self) -> str:
        x, y, z = self.root_m
        timing = f"{self.early_ms:4.0f} ms early" if self.early_ms >= 0 else f"{-self.early_ms:4.0f} ms LATE"
        root = f"root ({x:6.2f}, {y:5.2f}, {z:6.2f}) m"
        return f"frame {self.frame:5d}  {root}  {self.speed_mps:4.2f} m/s  {timing}"


class Watcher:
    """Turns blocks into arrivals."""

    def __init__(self, live: LiveStream) -> None:
        self._header = live.header
        self._parents = skeleton_of(live.header).parents
        self._start: float | None = None
        self._before: tuple[float, float, float] | None = None

    def arrive(self, block: FrameBlock) -> Arrival:
        now = time.perf_counter()
        if self._start is None:
            self._start = now
        due = block.first_frame / self._header.frame_rate_hz
        root = self._root(block)
        before = self._before or root
        seconds = block.frame_count / self._header.frame_rate_hz
        speed = float(np.hypot(root[0] - before[0], root[2] - before[2])) / seconds
        self._before = root
        return Arrival(block.first_frame, root, round(speed, 3), round((due - (now - self._start)) * 1000, 1))

    def _root(self, block: FrameBlock) -> tuple[float, float, float]:
        motion = Motion.join(self._header, [block])
        _, positions = local_to_model(motion.local_rotations, motion.all_translations, self._parents)
        x, y, z = positions[-1, self._header.translated_joints[0]]
        if self._header.root_motion == "in_place":
            x, _, z = motion.root_positions[-1]
        return round(float(x), 4), round(float(y), 4), round(float(z), 4)


def run(arguments: argparse.Namespace) -> None:
    if arguments.seconds is not None and not arguments.seconds > 0:
        raise InvalidRequest(f"--seconds must be above 0, got {arguments.seconds:g}")
    queue = [_queued(item) for item in arguments.first]
    with Client(arguments.server) as client:
        live = client.animate(
            "" if queue else arguments.text,
            emotion=arguments.emotion,
            intensity=arguments.intensity,
            rig=arguments.rig,
            frame=FILE_FRAME,
            root_motion=arguments.root_motion,
            foot_lock=arguments.foot_lock,
            reach=arguments.reach,
            ik_bones=arguments.ik_bones,
            seed=arguments.seed,
            queue=queue,
            idle=arguments.text if queue else "",
            pace=arguments.pace,
            buffer_s=arguments.buffer,
            retries=arguments.retries,
        )
        with live:
            try:
                _print_arrivals(live, arguments.seconds, as_json=arguments.json)
            except KeyboardInterrupt:
                live.stop()
        if not arguments.json:
            print(f"ended after {live.frame_count} frames ({live.end_reason})" if live.end_reason else "ended")


def _queued(item: str) -> Queued:
    """ "a person waves:2" -> that prompt for two seconds."""
    text, _, seconds = item.rpartition(":")
    try:
        return Queued(text, float(seconds))
    except ValueError:
        raise InvalidRequest(f"--first {item!r} must end in a colon and seconds, as in 'a person waves:2'") from None


def _print_arrivals(live: LiveStream, seconds: float | None, *, as_json: bool) -> None:
    watcher = Watcher(live)
    last = None if seconds is None else seconds * live.header.frame_rate_hz
    for event in live:
        if not isinstance(event, FrameBlock):
            continue
        arrival = watcher.arrive(event)
        print(json.dumps(asdict(arrival)) if as_json else arrival, flush=True)
        if last is not None and event.first_frame + event.frame_count >= last:
            live.stop()
            last = None
