"""AnimationService: checks a request, runs engine and retargeter in the compute pool, sends what they make.

Stream handlers are coroutines that write to the context (see `interceptors`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

import grpc

from animoe.engine import Engine, LiveSession
from animoe.errors import FailedPrecondition, Unavailable
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.root_motion import check_root_motion
from animoe.retarget.solver import Retargeter, RetargetOptions
from animoe.serving.calls import current_call
from animoe.serving.compute import Compute
from animoe.serving.convert import (
    capabilities_to_proto,
    clip_request_from_proto,
    frames_to_proto,
    header_to_proto,
    retarget_options_from_proto,
    rig_from_proto,
    session_request_from_proto,
)
from animoe.serving.limits import StreamSlots
from animoe.serving.live_stream import LiveStream, Write
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, clip_pb2, skeleton_pb2

Context = grpc.aio.ServicerContext[Any, Any]


class AnimationServicer(animation_service_pb2_grpc.AnimationServiceServicer):
    """Serves clips and live sessions.

    Args:
        compute: where everything that takes time runs.
        slots: how many streams may run at one time.

    Attributes:
        engine: set when it is loaded; until then every call is answered with Unavailable.
        max_upload_bytes: largest pack that the server takes, 0 when it does not learn.
    """

    def __init__(self, compute: Compute, slots: StreamSlots) -> None:
        self.engine: Engine | None = None
        self.max_upload_bytes = 0
        self._compute = compute
        self._slots = slots
        self._live: set[LiveStream] = set()
        self._leaving = False

    async def GetCapabilities(self, request: pb.GetCapabilitiesRequest, context: Context) -> pb.GetCapabilitiesResponse:
        rigs = await self._compute.run(rig_profiles)
        return capabilities_to_proto(self._ready_engine().info, rigs, self._slots.limit, self.max_upload_bytes)

    async def GenerateClip(self, request: pb.GenerateClipRequest, context: Context) -> None:
        engine = self._ready_engine()
        with self._slots.take():
            clip = clip_request_from_proto(request)
            retargeter = await self._compute.run(_retargeter, request.rig)
            blocks = await self._compute.run(engine.generate, clip)
            header = header_to_proto(engine.info, blocks.performance, retargeter, clip.sampling.seed)
            state = retargeter.start()

            def next_frames() -> clip_pb2.FrameBlock | None:
                block = next(blocks, None)
                return None if block is None else frames_to_proto(retargeter.apply(block, state))

            with current_call.get().playing(header, context.write) as write:
                await write(pb.GenerateClipResponse(header=header))
                while (frames := await self._compute.run(next_frames)) is not None:
                    await write(pb.GenerateClipResponse(frames=frames))

    async def Animate(self, requests: AsyncIterator[pb.AnimateRequest], context: Context) -> None:
        engine = self._ready_engine()
        start = await _first_start(requests)
        with self._slots.take():
            session_request = session_request_from_proto(start)
            retargeter = await self._compute.run(_retargeter, start.rig)
            session: LiveSession = await self._compute.run(engine.open_session, session_request)
            header = header_to_proto(engine.info, session.performance, retargeter, session_request.sampling.seed)
            with current_call.get().playing(header, context.write, live=True) as write:
                await write(pb.AnimateResponse(header=header))
                await self._play(
                    LiveStream(session, retargeter, self._compute, engine.info.frame_rate_hz), requests, write
                )

    async def _play(self, live: LiveStream, requests: AsyncIterator[pb.AnimateRequest], write: Write) -> None:
        self._live.add(live)
        if self._leaving:
            live.end(pb.END_REASON_SERVER_SHUTDOWN)
        try:
            await live.run(requests, write)
        finally:
            self._live.discard(live)

    def end_live_streams(self) -> None:
        """Lets every live session say goodbye, so that the server can leave at once."""
        self._leaving = True
        for live in self._live:
            live.end(pb.END_REASON_SERVER_SHUTDOWN)

    def _ready_engine(self) -> Engine:
        if self.engine is None:
            raise Unavailable("the server is still loading its model; wait until its health is SERVING")
        return self.engine


async def _first_start(requests: AsyncIterator[pb.AnimateRequest]) -> pb.AnimateStart:
    async for request in requests:
        if request.WhichOneof("control") == "start":
            return request.start
        kind = request.WhichOneof("control") or "empty"
        raise FailedPrecondition(f"the first message of a live session was `{kind}`; send `start` first")
    raise FailedPrecondition("the live session ended before its first message; send `start` first")


def _retargeter(selection: skeleton_pb2.RigSelection) -> Retargeter:
    options = retarget_options_from_proto(selection.options)
    rig, frame = rig_from_proto(selection)
    check_root_motion(options.root_motion, rig)
    if selection.HasField("skeleton"):
        return Retargeter(rig, frame, options)
    return _profile_retargeter(rig.name, frame, options)


@lru_cache(maxsize=64)
def _profile_retargeter(name: str, frame: EngineFrame, options: RetargetOptions) -> Retargeter:
    """One for all streams alike, since what it remembers of each is in a `RetargetState`: a faster first frame."""
    return Retargeter(rig_profile(name), frame, options)
