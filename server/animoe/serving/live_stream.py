"""LiveStream: one live session on the wire: reads controls, makes blocks just in time, paces them.

Where the caller allows it (see `Playback`) a change acts on motion that was sent already: from the first block after
the caller's playhead and its reserve on, frames are made again and replace the old ones.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from animoe.engine import Control, LiveSession, Planned
from animoe.errors import AniMoEError, InvalidRequest, TimedOut
from animoe.retarget.solver import Retargeter, RigBlock
from animoe.serving.calls import Write
from animoe.serving.compute import Compute
from animoe.serving.convert_live import (
    Playback,
    applied_to_proto,
    control_from_proto,
    message_cost,
    playhead_from_proto,
    refusal_to_proto,
)
from animoe.serving.limits import Limits, MessageRate
from animoe.serving.load import Load
from animoe.serving.outbox import Outbox
from animoe.serving.pacing import Pacer
from animoe.serving.reserve import Reserve
from animoe.v1 import animation_service_pb2 as pb

_MAX_WAITING_CONTROLS = 16
"""Controls read ahead of the next block; a caller that sends more is held back by HTTP/2 flow control."""
_MIN_REPLAN_S = 0.2
"""Between two changes that replace frames: a slider that is dragged must not make every block several times."""
_PATIENCE_S = 0.15
"""A block may wait so long for company, little longer than it plays: else no lead would fill up, and while it waits
controls wait for it."""
_HELD_S = 0.2
"""No block is held back for one that is due later than this."""
_TICK_S = 0.005
_LOOK_S = 1.0
"""Longest sleep: what was true then may have changed."""


class Hearer(Protocol):
    """Is told how the caller plays; see `calls.Call`."""

    def plays_at(self, frame: float, *, moves: bool = True) -> None: ...
    def held_up(self, seconds: float) -> None: ...
    def stalled(self, count: int) -> None: ...


class LiveStream:
    """A session that plays until its caller or the server ends it.

    A block is made only when it may leave, and no more than one at a time, so a control acts on the very next block:
    between its arrival and the first changed frame on screen lie at most the lead and one block, or with frames that
    may be replaced the reserve and one block.

    Args:
        session: the engine's side; while it makes frames nobody else touches it.
        retargeter: puts its blocks on the caller's rig; shared, what it remembers of this stream is kept here.
        compute: the pool, for controls: a new prompt takes time.
        frame_rate_hz: frames per second. write: of the call.
        playback: what the caller wants.
        limits: what it may do.
        load: hears of every block. urgent_s: so long before it is needed a block is not put off any more.
        call: hears how the caller plays.
        opened: called when the first frames have left.
    """

    def __init__(
        self,
        session: LiveSession,
        retargeter: Retargeter,
        compute: Compute,
        frame_rate_hz: float,
        write: Write,
        *,
        playback: Playback,
        limits: Limits,
        load: Load,
        urgent_s: Callable[[], float],
        call: Hearer,
        opened: Callable[[], None],
    ) -> None:
        self._session = session
        self._retargeter, self._state = retargeter, retargeter.start()
        self._compute, self._limits, self._load, self._call, self._opened = compute, limits, load, call, opened
        self._frame_rate_hz, self._urgent_s = frame_rate_hz, urgent_s
        self._playback, self._replaceable = playback, playback.replaceable
        self._pacer = Pacer(frame_rate_hz, playback.lead_s(replaceable=self._replaceable), session.clock)
        self._reserve = Reserve(session.clock)
        self._outbox = Outbox(
            write, self._pacer, self._reserve, call.held_up, lambda: load.tight, frame_rate_hz, session.clock
        )
        self._rate = MessageRate(limits, session.clock)
        self._controls: asyncio.Queue[pb.AnimateRequest] = asyncio.Queue(_MAX_WAITING_CONTROLS)
        self._ending = asyncio.Event()
        self._sleep: asyncio.Future[None] | None = None
        self._reason = pb.END_REASON_UNSPECIFIED
        self._cut: AniMoEError | None = None
        self._making = False  # a block is in the engine's hands
        self._block_frames = 0
        self._changed_frame = 0
        self._fresh = True  # the next block is the first one, or the first after frames were taken back
        self._replanned_s = -math.inf
        self._active_s = session.clock()

    def end(self, reason: pb.EndReason) -> None:
        """Ends the stream before its next block; the first reason given counts."""
        if not self._ending.is_set():
            self._reason = reason
            self._ending.set()
            self._wake()

    async def run(self, requests: AsyncIterator[pb.AnimateRequest]) -> None:
        """Plays until the end; `requests` are the messages after `start`.

        Raises:
            TooManyMessages, TimedOut: the caller is cut.
        """
        reader = asyncio.create_task(self._read(requests))
        try:
            while not self._ending.is_set():
                if controls := self._take_controls():
                    await self._outbox.flush()
                    for answer in await self._answers(controls):
                        await self._outbox.write(answer)
                elif delay_s := self._delay_s():
                    if delay_s > _HELD_S:
                        await self._outbox.flush()
                    await self._wait(delay_s)
                else:
                    await self._outbox.put(await self._next_block(), may_wait=self._replaceable)
                    self._opened()
            if self._cut is not None:
                raise self._cut
            await self._outbox.flush()
            ended = pb.AnimateEnded(frame_count=self._pacer.sent_frame, reason=self._reason)
            await self._outbox.write(pb.AnimateResponse(ended=ended))
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            if not self._making:
                self._session.close()

    async def _read(self, requests: AsyncIterator[pb.AnimateRequest]) -> None:
        try:
            async for request in requests:
                if request.WhichOneof("control") == "stop":
                    break
                if delay_s := self._rate.delay_s(message_cost(request)):
                    await asyncio.sleep(delay_s)
                if request.WhichOneof("control") != "playhead" or not self._note_playhead(request.playhead):
                    await self._controls.put(request)
                self._wake()
        except AniMoEError as error:
            self._cut = error
        finally:  # also when the connection breaks
            self.end(pb.END_REASON_STOPPED)

    def _note_playhead(self, report: pb.PlayheadReport) -> bool:
        """Whether it makes sense; the rest of the session answers what does not."""
        try:
            playhead_from_proto(report)
        except InvalidRequest:
            return False
        if not self._replaceable:
            self._replaceable = True
            self._pacer.lead_s = self._playback.lead_s(replaceable=True)
        if report.held_frame_count:
            self._reserve.held(report.held_frame_count, report.held_for_s)
        self._call.plays_at(self._pacer.report(report.frame), moves=not self._pacer.paused)
        self._call.stalled(report.stall_count)
        return True

    def _delay_s(self) -> float:
        """Until the next block may leave, 0 when it may; never longer than until somebody must look again.

        Raises:
            TimedOut: the caller has been idle for too long.
        """
        delay_s = _LOOK_S if self._pacer.paused else min(self._pacer.delay_s(self._block_frames), _LOOK_S)
        if not self._controls.empty():
            delay_s = min(delay_s, max(self._replanned_s + _MIN_REPLAN_S - self._session.clock(), _TICK_S))
        if self._limits.idle_s and (self._pacer.paused or self._pacer.reported):
            idle_s = self._session.clock() - max(self._active_s, 0.0 if self._pacer.paused else self._pacer.moved_s)
            if idle_s > self._limits.idle_s:
                what = "was paused" if self._pacer.paused else "reported a playhead that stood still"
                raise TimedOut(
                    "IDLE",
                    f"the session {what} for more than {self._limits.idle_s:g} s; stop it, and start another when "
                    "it is needed, or start the server with a higher --idle-cut",
                )
            delay_s = min(delay_s, self._limits.idle_s - idle_s + _TICK_S)
        return delay_s

    async def _wait(self, delay_s: float) -> None:
        """Or less, when something happens."""
        if not self._ending.is_set():
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
        if self._replaceable and self._session.clock() < self._replanned_s + _MIN_REPLAN_S:
            return []
        return [self._controls.get_nowait() for _ in range(self._controls.qsize())]

    async def _next_block(self) -> RigBlock:
        """Asks the engine, which makes the blocks of many streams at a time."""
        asked_s = self._session.clock()
        needed_s = self._pacer.runs_out_s() - (self._reserve.round_trip_s if self._pacer.reported else 0.0)
        deadline_s = min(needed_s, asked_s + (0.0 if self._fresh else _PATIENCE_S))  # a change waits for nobody
        found: asyncio.Future[RigBlock] = asyncio.get_running_loop().create_future()
        self._making = True
        self._session.send_frames(found, deadline_s, self._retargeter, self._state)
        block = await found
        self._making = False
        urgent_s = max(asked_s, deadline_s - self._urgent_s())
        self._load.made(urgent_s, deadline_s, needed_s, counts=not self._fresh)
        self._block_frames, self._fresh = len(block.contacts), False
        self._pacer.sent(block.first_frame + self._block_frames)
        return block

    async def _answers(self, requests: Sequence[pb.AnimateRequest]) -> list[pb.AnimateResponse]:
        """A wrong control is refused, the session goes on: a typing error must not freeze a character."""
        # Before anything is taken back: in a crowd planning takes tens of milliseconds, which no reserve holds.
        told = [await self._planned(self._heard(request)) for request in requests]
        replaced, reserve_s = self._take_back() if any(isinstance(what, Planned) for what in told) else (0, 0.0)
        answers = []
        for request, what in zip(requests, told, strict=True):
            if isinstance(what, AniMoEError):
                answers.append(refusal_to_proto(request.control_id, what))
                continue
            if what is not None:
                self._session.apply(what)
            answers.append(applied_to_proto(request.control_id, self._session, replaced, reserve_s))
            replaced = 0  # the first one says what all of them replace
        return answers

    def _heard(self, request: pb.AnimateRequest) -> Control | AniMoEError | None:
        """None where the session need not know: the stream itself pauses."""
        kind = request.WhichOneof("control")
        try:
            if kind == "playhead":
                playhead_from_proto(request.playhead)
            if kind not in ("pause", "resume"):
                control = control_from_proto(request)
                self._active_s = self._session.clock()
                return control
        except AniMoEError as error:
            return error
        if (kind == "pause") != self._pacer.paused:
            self._active_s = self._session.clock()
            (self._pacer.pause if kind == "pause" else self._pacer.resume)()
            self._call.plays_at(self._pacer.frame, moves=not self._pacer.paused)
        return None

    async def _planned(self, heard: Control | AniMoEError | None) -> Planned | AniMoEError | None:
        if heard is None or isinstance(heard, AniMoEError):
            return heard
        if self._session.plans_at_once(heard):
            return self._session.planned(heard)
        return await self._compute.run(self._session.planned, heard)

    def _take_back(self) -> tuple[int, float]:
        """Forgets what was sent and lies beyond the reserve: how many frames, and the reserve in seconds."""
        if not self._replaceable:
            return 0, 0.0
        reserve_s = self._reserve.seconds(self._load.block_s)
        kept = math.ceil(self._pacer.frame + reserve_s * self._frame_rate_hz)
        # Not before the frame from which the last change was said to act.
        first = self._session.rewind(max(kept, self._changed_frame))
        replaced = self._pacer.sent_frame - first
        self._changed_frame = first
        if replaced > 0:
            self._fresh, self._replanned_s = True, self._session.clock()
            self._pacer.sent(first)
            self._reserve.took_back(first)
        return replaced, reserve_s
