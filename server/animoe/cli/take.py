"""Take: a generated clip with how it was made, whether by a server or in this process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from animoe.client import Client, FrameBlock, Motion, MotionHeader
from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.rig.skeleton import Skeleton

FILE_FRAME = "gltf"
"""The engine frame whose numbers are AniMoE's own: what files are written from."""
Block = TypeVar("Block")


@dataclass(frozen=True)
class Order:
    """What to make; `emotion` None leaves it to the text. The last four: see `retarget.solver.RetargetOptions`."""

    text: str
    seconds: float
    emotion: str | None
    intensity: float
    rig: str
    seed: int
    root_motion: str = "world"
    foot_lock: bool = True
    reach: float = 0.0
    ik_bones: bool = False


@dataclass(frozen=True, eq=False)
class Take:
    """A clip and its figures.

    Attributes:
        clip: in our axes, metres.
        bundle: name of the model bundle that made it.
        bundle_digest: its identity.
        first_frame_s: seconds from asking to the first frames.
        total_s: seconds from asking to the last.
    """

    clip: Clip
    bundle: str
    bundle_digest: str
    first_frame_s: float
    total_s: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of motion made per second."""
        return self.clip.duration_s / self.total_s

    @property
    def distance_m(self) -> float:
        """Length of the path over the floor."""
        steps = np.diff(pelvis_path(self.clip)[:, [0, 2]], axis=0)
        return float(np.linalg.norm(steps, axis=-1).sum())

    def figures(self) -> dict[str, Any]:
        """For --json."""
        return {
            "frames": self.clip.frame_count,
            "seconds": round(self.clip.duration_s, 3),
            "frame_rate_hz": self.clip.frame_rate_hz,
            "joints": self.clip.skeleton.joint_count,
            "distance_m": round(self.distance_m, 3),
            "first_frame_ms": round(self.first_frame_s * 1000, 2),
            "real_time_factor": round(self.real_time_factor, 2),
            "bundle": self.bundle,
            "bundle_digest": self.bundle_digest,
        }


class Stopwatch(Generic[Block]):
    """Passes blocks on and notes when the first and the last one came, from its own making on."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.first_s = self.last_s = 0.0

    def watch(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for number, block in enumerate(blocks):
            self.last_s = time.perf_counter() - self._start
            if number == 0:
                self.first_s = self.last_s
            yield block


def take_from_server(client: Client, order: Order, retries: int = 0) -> Take:
    """Streams a take from a server."""
    watch: Stopwatch[FrameBlock] = Stopwatch()
    stream = client.generate(
        order.text,
        seconds=order.seconds,
        emotion=order.emotion,
        intensity=order.intensity,
        rig=order.rig,
        frame=FILE_FRAME,
        root_motion=order.root_motion,
        foot_lock=order.foot_lock,
        reach=order.reach,
        ik_bones=order.ik_bones,
        seed=order.seed,
        retries=retries,
    )
    header = stream.header
    motion = Motion.join(header, list(watch.watch(stream)))
    clip = Clip(skeleton_of(header), header.frame_rate_hz, motion.local_rotations, motion.all_translations, order.text)
    return Take(clip, header.bundle_name, header.bundle_digest, watch.first_s, watch.last_s)


def take_in_process(order: Order, bundle: Path | None) -> Take:
    """Makes a take without a server. The request is checked before the model is loaded."""
    from animoe.engine.requests import ClipRequest, Sampling
    from animoe.motion.emotion import EmotionCurve
    from animoe.motion.pose_block import PoseBlock
    from animoe.retarget.frames import EngineFrame
    from animoe.retarget.profiles import rig_profile
    from animoe.retarget.root_motion import RootMotion, check_root_motion
    from animoe.retarget.solver import Retargeter, RetargetOptions

    emotion = None if order.emotion is None else EmotionCurve.constant(order.emotion, order.intensity)
    request = ClipRequest(order.text, order.seconds, emotion, Sampling(seed=order.seed))
    rig, options = (
        rig_profile(order.rig),
        RetargetOptions(RootMotion.parse(order.root_motion), order.foot_lock, order.reach, order.ik_bones),
    )
    check_root_motion(options.root_motion, rig)
    retargeter = Retargeter(rig, EngineFrame(FILE_FRAME), options)

    from animoe.engine import Engine

    engine = Engine.load(bundle)
    watch: Stopwatch[PoseBlock] = Stopwatch()
    state = retargeter.start()
    blocks = [retargeter.apply(block, state) for block in watch.watch(engine.generate(request))]
    clip = retargeter.to_clip(blocks, order.text)
    return Take(clip, engine.info.bundle_name, engine.info.bundle_digest, watch.first_s, watch.last_s)


def skeleton_of(header: MotionHeader) -> Skeleton:
    """The skeleton of a stream that was asked for in FILE_FRAME."""
    return Skeleton.build(header.joint_names, header.parents, header.rest_translations, header.rest_rotations)


def pelvis_path(clip: Clip) -> np.ndarray[Any, Any]:
    """(T, 3) world metres of the joint that carries the motion: the first that leaves its rest place."""
    moves = np.abs(clip.local_translations - clip.skeleton.rest_translations).max(axis=(0, 2)) > 1e-6
    joint = int(np.argmax(moves)) if moves.any() else 0
    path: np.ndarray[Any, Any] = clip.world()[1][:, joint]
    return path


def check_writable(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuses an output that cannot work before any work is done. Raises InvalidRequest."""
    if path.suffix.lower() not in suffixes:
        raise InvalidRequest(f"--out {path} must end in {' or '.join(suffixes)}")
    if not path.absolute().parent.is_dir():
        raise InvalidRequest(f"--out {path}: there is no folder {path.absolute().parent}; make it first")
    if path.is_dir():
        raise InvalidRequest(f"--out {path} is a folder; name a file")
