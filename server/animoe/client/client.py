"""Client: one connection to one server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc

from animoe.client.character import LiveCharacter
from animoe.client.emotion import Emotion, emotion_curve
from animoe.client.errors import ClientError, plain_errors, refused, retrying
from animoe.client.jobs import JobClient
from animoe.client.limits import StreamLimits, read_limits
from animoe.client.messages import frame_name
from animoe.client.queue import Queued, queue_change
from animoe.client.rig import CustomRig, rig_selection
from animoe.client.scenarios import ScenarioClient
from animoe.client.status import Status, StatusClient
from animoe.client.streams import ClipStream, LiveStream, Requests
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc

DEFAULT_TARGET = "127.0.0.1:50151"
_UNARY_DEADLINE_S = 10.0
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),  # finds a dead server behind a live stream
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_http_proxy", 0),  # game tools talk to their own machine or studio network
)


@dataclass(frozen=True)
class RigInfo:
    """A rig that the server knows by name; `root_motion="root_bone"` needs one with a root bone."""

    name: str
    title: str
    joint_count: int
    frame: str
    has_root_bone: bool


@dataclass(frozen=True)
class Capabilities:
    """What the server runs, knows and allows.

    generation: of the experts in use. experts: NAME@VERSION of them. max_upload_bytes: 0 where nothing is learnt.
    limits: of one session; None from a server that does not say.
    """

    server_version: str
    bundle_name: str
    bundle_digest: str
    emotions: tuple[str, ...]
    rigs: tuple[RigInfo, ...]
    frame_rate_hz: float
    frames_per_block: int
    max_prompt_chars: int
    min_seconds: float
    max_seconds: float
    max_joint_count: int
    max_stream_count: int
    generation: int = 0
    experts: tuple[str, ...] = ()
    max_upload_bytes: int = 0
    limits: StreamLimits | None = None


class Client:
    """A connection to an AniMoE server; use it in a `with` statement.

    Args:
        target: "host:port".

    Attributes:
        scenarios: what the server has learnt, and how it learns more.
        jobs: its long work.

    Every method raises ClientError.
    """

    def __init__(self, target: str = DEFAULT_TARGET) -> None:
        self._target = target
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._stub = animation_service_pb2_grpc.AnimationServiceStub(self._channel)
        self.scenarios = ScenarioClient(self._channel, target)
        self.jobs = JobClient(self._channel, target)
        self._status = StatusClient(self._channel, target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection and every stream on it."""
        self._channel.close()

    def capabilities(self) -> Capabilities:
        """What the server runs, knows and allows."""
        with plain_errors(self._target):
            answer = self._stub.GetCapabilities(pb.GetCapabilitiesRequest(), timeout=_UNARY_DEADLINE_S)
        return Capabilities(
            server_version=answer.server_version,
            bundle_name=answer.bundle_name,
            bundle_digest=answer.bundle_digest,
            emotions=tuple(answer.emotions),
            rigs=tuple(
                RigInfo(r.name, r.title, r.joint_count, frame_name(r.frame), r.has_root_bone) for r in answer.rigs
            ),
            frame_rate_hz=answer.frame_rate_hz,
            frames_per_block=answer.frames_per_block,
            max_prompt_chars=answer.max_prompt_chars,
            min_seconds=answer.min_seconds,
            max_seconds=answer.max_seconds,
            max_joint_count=answer.max_joint_count,
            max_stream_count=answer.max_stream_count,
            generation=answer.generation,
            experts=tuple(answer.experts),
            max_upload_bytes=answer.max_upload_bytes,
            limits=read_limits(answer.limits) if answer.HasField("limits") else None,
        )

    def status(self) -> Status:
        """How the server does now; answers also while it loads."""
        return self._status.get()

    def watch_status(self, interval_s: float = 1.0) -> Iterator[Status]:
        """How it does now, then again every `interval_s` seconds (0.1 to 60), until the server stops."""
        return self._status.watch(interval_s)

    def wait_until_ready(self, timeout_s: float = 30.0) -> Capabilities:
        """Waits for a server that is still starting."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.capabilities()
            except ClientError as error:
                if error.code != "UNAVAILABLE" or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def generate(
        self,
        text: str,
        *,
        seconds: float = 4.0,
        emotion: Emotion | None = None,
        intensity: float = 1.0,
        rig: str | CustomRig = "ue5_manny",
        frame: str | None = None,
        root_motion: str = "world",
        foot_lock: bool = True,
        reach: float = 0.0,
        ik_bones: bool = False,
        seed: int = 0,
        retries: int = 0,
    ) -> ClipStream:
        """One clip; its frames arrive as they are decoded.

        Args:
            text: what the character does.
            seconds: length, 0.2 to 60.
            emotion: see `Emotion`; None leaves it to the text.
            intensity: 0 to 2, multiplies the emotion; 1 is as acted.
            rig: profile name (see `capabilities`) or the caller's own skeleton.
            frame: engine frame of the answer; None is the profile's own.
            root_motion: where the way through the world goes: "world" = into the pelvis; "in_place" = out of the pose,
                see FrameBlock.root_positions; "root_bone" = onto the rig's root joint above its pelvis.
            foot_lock: hold standing feet in place.
            reach: 0 = arms copy the turns of the source; 1 = hands come to the place they have on the source's body,
                scaled to the rig; between, a blend.
            ik_bones: Unreal's IK bones, where the rig has them, follow feet and hands.
            seed: same seed, request and bundle give the same motion.
            retries: how often to try again, when the server says, if it is too busy to begin now.
        """
        request = pb.GenerateClipRequest(
            text=text,
            seconds=seconds,
            rig=rig_selection(rig, frame, root_motion, foot_lock, reach, ik_bones),
            emotion=emotion_curve(emotion, intensity),
            seed=_checked_seed(seed),
        )
        return retrying(lambda: ClipStream(self._stub.GenerateClip(request), self._target), retries)

    def animate(
        self,
        text: str = "",
        *,
        emotion: Emotion | None = None,
        intensity: float = 1.0,
        rig: str | CustomRig = "ue5_manny",
        frame: str | None = None,
        root_motion: str = "world",
        foot_lock: bool = True,
        reach: float = 0.0,
        ik_bones: bool = False,
        seed: int = 0,
        queue: Sequence[Queued] = (),
        idle: str = "",
        pace: float = 1.0,
        buffer_s: float = 0.0,
        replaceable: bool = False,
        retries: int = 0,
    ) -> LiveStream:
        """A live session that plays until it is stopped; `perform` is easier where poses are shown as they come.

        Args:
            text: what the character does; leave it out with a queue. From here to `seed`: as for `generate`.
            queue: prompts with their times, one after the other. idle: after the last of them; empty stands still.
            pace: 0.5 to 2; 2 moves twice as quickly.
            buffer_s: seconds of motion ahead, 0.1 to 1; 0 leaves it to the server.
            replaceable: changes may replace frames that have come, see ControlApplied.replaced_frame_count.
            retries: how often to try again, when the server says, if it is too busy to begin now.
        """
        start = pb.AnimateStart(
            text=text,
            rig=rig_selection(rig, frame, root_motion, foot_lock, reach, ik_bones),
            emotion=emotion_curve(emotion, intensity),
            seed=_checked_seed(seed),
            playback=pb.Playback(buffer_s=buffer_s, replaceable=replaceable),
            queue=queue_change(queue, idle) if queue or idle else None,
            pace=None if pace == 1 else pb.PaceChange(pace=pace),
        )

        def begin() -> LiveStream:
            requests = Requests(start)
            return LiveStream(self._stub.Animate(iter(requests)), requests, self._target)

        return retrying(begin, retries)

    def perform(
        self,
        text: str = "",
        *,
        emotion: Emotion | None = None,
        intensity: float = 1.0,
        rig: str | CustomRig = "ue5_manny",
        frame: str | None = None,
        root_motion: str = "world",
        foot_lock: bool = True,
        reach: float = 0.0,
        ik_bones: bool = False,
        seed: int = 0,
        queue: Sequence[Queued] = (),
        idle: str = "",
        pace: float = 1.0,
        buffer_s: float = 0.0,
        retries: int = 0,
    ) -> LiveCharacter:
        """A character to ask for its pose of each moment; arguments as for `animate`.

        Its frames are buffered, its playhead is reported, and what a change replaces is dropped, all by itself.
        """
        stream = self.animate(
            text,
            emotion=emotion,
            intensity=intensity,
            rig=rig,
            frame=frame,
            root_motion=root_motion,
            foot_lock=foot_lock,
            reach=reach,
            ik_bones=ik_bones,
            seed=seed,
            queue=queue,
            idle=idle,
            pace=pace,
            buffer_s=buffer_s,
            replaceable=True,
            retries=retries,
        )
        return LiveCharacter(stream)


def _checked_seed(seed: int) -> int:
    """protobuf would raise its own ValueError for what does not fit into 64 bits."""
    if not 0 <= seed < 2**63:
        raise refused(f"seed must be between 0 and 2^63 - 1, got {seed}")
    return seed
