"""LiveStream: one live session on the wire: reads controls, makes blocks just in time, paces them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from animoe.engine import LiveSession
from animoe.engine.requests import check_prompt
from animoe.errors import AniMoEError, FailedPrecondition, InvalidRequest
from animoe.retarget.solver import Retargeter
from animoe.serving.compute import Compute
from animoe.serving.convert import emotion_from_proto, experts_to_proto, frames_to_proto
from animoe.serving.pacing import Pacer
from animoe.v1 import animation_service_pb2 as pb

_MAX_WAITING_CONTROLS = 16
"""Controls read ahead of the next block; a caller that sends more is held back by HTTP/2 flow control."""

Write = Callable[[pb.AnimateResponse], Awaitable[None]]


class LiveStream:
    """A session that plays until its caller or the server ends it.

    A block is made only when it may leave, so a control acts on the very next block: between its arrival and
    the first changed frame on screen lie at most the lead (0.25 s) and one block.

    Args:
        session: the engine's side; while it makes frames nobody else touches it.
        retargeter: puts its blocks on the caller's rig; shared, what it remembers of this stream is kept here.
        compute: the pool, for controls: a new prompt takes time.
        frame_rate_hz: frames per second.
    """

    def __init__(self, session: LiveSession, retargeter: Retargeter, compute: Compute, frame_rate_hz: float) -> None:
        self._session = session
        self._retargeter, self._state = retargeter, retargeter.start()
        self._compute = compute
        self._pacer = Pacer(frame_rate_hz)
        self._controls: asyncio.Queue[pb.AnimateRequest] = asyncio.Queue(_MAX_WAITING_CONTROLS)
        self._ending = asyncio.Event()
        self._sleep: asyncio.Future[None] | None = None
        self._reason = pb.END_REASON_UNSPECIFIED
        self._frame_count = 0
        self._block_frames = 0

    def end(self, reason: pb.EndReason) -> None:
        """Ends the stream before its next block; the first reason given counts."""
        if not self._ending.is_set():
            self._reason = reason
            self._ending.set()
            self._wake()

    async def run(self, requests: AsyncIterator[pb.AnimateRequest], write: Write) -> None:
        """Plays until the end; `requests` are the messages after `start`."""
        reader = asyncio.create_task(self._read(requests))
        try:
            while not self._ending.is_set():
                if controls := self._take_controls():
                    for answer in await self._compute.run(self._answers, controls):
                        await write(answer)
                await write(await self._next_frames())
                await self._wait()
            ended = pb.AnimateEnded(frame_count=self._frame_count, reason=self._reason)
            await write(pb.AnimateResponse(ended=ended))
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, requests: AsyncIterator[pb.AnimateRequest]) -> None:
        try:
            async for request in requests:
                if request.WhichOneof("control") == "stop":
                    break
                await self._controls.put(request)
        finally:  # also when the connection breaks
            self.end(pb.END_REASON_STOPPED)

    async def _wait(self) -> None:
        """Until the next block may leave, or the end."""
        delay_s = self._pacer.delay_s(self._frame_count + self._block_frames)
        if delay_s > 0 and not self._ending.is_set():
            self._sleep = asyncio.get_running_loop().create_future()
            alarm = asyncio.get_running_loop().call_later(delay_s, self._wake)
            try:
                await self._sleep
            finally:
                alarm.cancel()

    def _wake(self) -> None:
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    def _take_controls(self) -> list[pb.AnimateRequest]:
        return [self._controls.get_nowait() for _ in range(self._controls.qsize())]

    async def _next_frames(self) -> pb.AnimateResponse:
        """Asks the engine, which makes the blocks of many streams at a time."""
        deadline_s = self._pacer.time_of_s(self._frame_count)
        made = self._session.ask_frames(deadline_s, self._retargeter, self._state)
        frames = frames_to_proto(await asyncio.wrap_future(made))
        self._frame_count += frames.frame_count
        self._block_frames = frames.frame_count
        return pb.AnimateResponse(frames=frames)

    def _answers(self, controls: Sequence[pb.AnimateRequest]) -> list[pb.AnimateResponse]:
        """In the pool: a new prompt is planned."""
        return [self._answer(control) for control in controls]

    def _answer(self, control: pb.AnimateRequest) -> pb.AnimateResponse:
        """A wrong control is refused, the session goes on: a typing error must not freeze a character."""
        try:
            self._apply(control)
        except AniMoEError as error:
            refusal = pb.ControlRejected(control_id=control.control_id, reason=error.reason, message=str(error))
            return pb.AnimateResponse(control_rejected=refusal)
        performance = self._session.performance
        applied = pb.ControlApplied(
            control_id=control.control_id,
            first_frame=self._frame_count,
            experts=experts_to_proto(performance),
            generation=performance.generation,
            bundle_digest=performance.bundle_digest,
        )
        return pb.AnimateResponse(control_applied=applied)

    def _apply(self, control: pb.AnimateRequest) -> None:
        kind = control.WhichOneof("control")
        if kind == "prompt":
            check_prompt(control.prompt.text)
            self._session.set_prompt(control.prompt.text)
        elif kind == "emotion":
            change = control.emotion
            self._session.set_emotion(emotion_from_proto(change.emotion) if change.HasField("emotion") else None)
        elif kind == "start":
            raise FailedPrecondition("the session has started already; send `prompt` or `emotion` to change it")
        else:
            raise InvalidRequest("the message is empty; set one of prompt, emotion and stop")
