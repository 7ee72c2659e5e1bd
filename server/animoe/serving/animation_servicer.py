"""AnimationService: checks a request, runs engine and retargeter in the compute pool, sends what they make.

Stream handlers are coroutines that write to the context (see `interceptors`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import grpc

from animoe.engine import Control, Engine, LiveSession, SessionRequest
from animoe.errors import FailedPrecondition, Overloaded, TimedOut, Unavailable
from animoe.retarget.profiles import rig_profiles
from animoe.retarget.solver import Retargeter
from animoe.serving.admission import Admission
from animoe.serving.calls import Write, current_call
from animoe.serving.compute import Compute
from animoe.serving.convert import (
    capabilities_to_proto,
    clip_request_from_proto,
    frames_to_proto,
    header_to_proto,
    session_request_from_proto,
)
from animoe.serving.convert_live import limits_to_proto, playback_from_proto, start_controls
from animoe.serving.limits import Limits, StreamSlots
from animoe.serving.live_stream import LiveStream
from animoe.serving.load import Load
from animoe.serving.recordings import Recorder
from animoe.serving.retargeters import retargeter_for
from animoe.serving.stuck import StuckWatch
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, clip_pb2, skeleton_pb2

_MIN_SILENT = 64
"""Calls without a `start` that may wait for it; more only where more streams may run."""

Context = grpc.aio.ServicerContext[Any, Any]


class AnimationServicer(animation_service_pb2_grpc.AnimationServiceServicer):
    """Serves clips and live sessions.

    Args:
        compute: where everything that takes time runs. clips: the same for clips, so that no control waits for one.
        slots: how many streams may run at one time.
        limits: what each may do.
        recorder: keeps live sessions for later; None keeps none.

    Attributes:
        engine: set when it is loaded; until then every call is answered with Unavailable.
        max_upload_bytes: largest pack that the server takes, 0 when it does not learn.
    """

    def __init__(
        self,
        compute: Compute,
        clips: Compute,
        slots: StreamSlots,
        limits: Limits,
        recorder: Recorder | None = None,
    ) -> None:
        self.engine: Engine | None = None
        self.max_upload_bytes = 0
        self._compute, self._clips = compute, clips
        self._slots, self._limits, self._recorder = slots, limits, recorder
        self._admission = Admission(slots, Load(), limits)
        self._silent = 0
        self._live: set[LiveStream] = set()
        self._leaving = False

    async def GetCapabilities(self, request: pb.GetCapabilitiesRequest, context: Context) -> pb.GetCapabilitiesResponse:
        rigs = await self._compute.run(rig_profiles)
        limits = limits_to_proto(self._limits, self._slots.clip_limit)
        return capabilities_to_proto(self._ready_engine().info, rigs, self._slots.limit, self.max_upload_bytes, limits)

    async def GenerateClip(self, request: pb.GenerateClipRequest, context: Context) -> None:
        engine = self._ready_engine()
        with self._admission.clip():
            clip = clip_request_from_proto(request)
            retargeter = await self._clips.run(retargeter_for, request.rig)
            blocks = await self._clips.run(engine.generate, clip)
            header = header_to_proto(engine.info, blocks.performance, retargeter, clip.sampling.seed)
            state = retargeter.start()

            def next_frames() -> clip_pb2.FrameBlock | None:
                block = next(blocks, None)
                return None if block is None else frames_to_proto(retargeter.apply(block, state))

            with self._timed(context.write) as timed, current_call.get().playing(header, timed) as write:
                await write(pb.GenerateClipResponse(header=header))
                while (frames := await self._clips.run(next_frames)) is not None:
                    await write(pb.GenerateClipResponse(frames=frames))
                    await self._admission.yield_to_live()

    async def Animate(self, requests: AsyncIterator[pb.AnimateRequest], context: Context) -> None:
        engine = self._ready_engine()
        start = await self._first_start(requests)
        controls, playback = start_controls(start), playback_from_proto(start.playback)
        session_request = session_request_from_proto(start)
        async with self._admission.live() as opening:
            retargeter = await self._compute.run(retargeter_for, start.rig)
            session = await self._compute.run(self._open, engine, session_request, controls)
            header = header_to_proto(engine.info, session.performance, retargeter, session_request.sampling.seed)
            call = current_call.get()
            with (
                self._timed(context.write) as timed,
                call.playing(header, timed, live=True) as write,
                self._recording(session, start.rig, retargeter, call.ids.session) as call.recording,
            ):
                await write(pb.AnimateResponse(header=header))
                live = LiveStream(
                    session,
                    retargeter,
                    self._compute,
                    engine.info.frame_rate_hz,
                    write,
                    playback=playback,
                    limits=self._limits,
                    load=self._admission.load,
                    urgent_s=lambda: engine.urgent_s,
                    call=call,
                    opened=opening.done,
                )
                await self._play(live, requests)

    def _open(self, engine: Engine, request: SessionRequest, controls: Sequence[Control]) -> LiveSession:
        """In the pool: prompts are planned."""
        session = engine.open_session(request, recorded=self._recorder is not None)
        for control in controls:
            session.tell(control)
        return session

    async def _play(self, live: LiveStream, requests: AsyncIterator[pb.AnimateRequest]) -> None:
        self._live.add(live)
        if self._leaving:
            live.end(pb.END_REASON_SERVER_SHUTDOWN)
        try:
            await live.run(requests)
        finally:
            self._live.discard(live)

    def _recording(
        self, session: LiveSession, selection: skeleton_pb2.RigSelection, retargeter: Retargeter, session_id: str
    ) -> AbstractContextManager[Path | None]:
        if self._recorder is None:
            return nullcontext()
        return self._recorder.recording(session, selection, retargeter, session_id)

    def end_live_streams(self) -> None:
        """Lets every live session say goodbye, so that the server can leave at once."""
        self._leaving = True
        for live in self._live:
            live.end(pb.END_REASON_SERVER_SHUTDOWN)

    async def _first_start(self, requests: AsyncIterator[pb.AnimateRequest]) -> pb.AnimateStart:
        """Raises TimedOut, FailedPrecondition, or Overloaded when many say nothing."""
        if self._silent >= max(self._slots.limit, _MIN_SILENT):
            raise Overloaded(f"{self._silent} sessions have begun without saying `start`; try again", retry_after_s=1.0)
        self._silent += 1
        try:
            async with asyncio.timeout(self._limits.start_s):
                request = await anext(aiter(requests), None)
        except TimeoutError:
            raise TimedOut("NO_START", f"no `start` came within {self._limits.start_s:g} s; send it first") from None
        finally:
            self._silent -= 1
        if request is None:
            raise FailedPrecondition("the live session ended before its first message; send `start` first")
        if request.WhichOneof("control") == "start":
            return request.start
        kind = request.WhichOneof("control") or "empty"
        raise FailedPrecondition(f"the first message of a live session was `{kind}`; send `start` first")

    @contextmanager
    def _timed(self, write: Write) -> Iterator[Write]:
        """Ends a call whose caller leaves a message unread for too long."""
        watch = StuckWatch(write, self._limits.stuck_s)
        try:
            yield watch.write
        finally:
            watch.close()

    def _ready_engine(self) -> Engine:
        if self.engine is None:
            raise Unavailable("the server is still loading its model; wait until its health is SERVING")
        return self.engine
