"""Call: one call from its arrival to its end, told to the log and to the monitor."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import grpc

from animoe.errors import AniMoEError
from animoe.serving.logs import Ids, fields, new_id
from animoe.serving.monitoring.monitor import Monitor
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import clip_pb2

Write = Callable[[Any], Awaitable[None]]

_OWNERS_CODES = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)
"""What the server's owner, not the caller, can do something about."""

log = logging.getLogger(__name__)
current_call: ContextVar[Call] = ContextVar("animoe_call")


class Call:
    """Methods are called in the order of the life of a call; those of streams by streams of motion only.

    Args:
        method: full name, "/animoe.v1.AnimationService/Animate".
        streams: whether it makes motion: those are logged from start to end, others only when they fail.

    Attributes:
        recording: the file that it will have, of a session that is recorded.
    """

    def __init__(self, method: str, ids: Ids, monitor: Monitor, peer: str, *, streams: bool) -> None:
        self.method, self.ids = method, ids
        self._name = method.rpartition("/")[2]
        self._monitor, self._peer, self._streams = monitor, peer, streams
        self._began = time.perf_counter()
        self._frames = self._missed = self._stalls = 0
        self._playhead: Playhead | None = None
        self._reason = ""
        self.recording: Path | None = None

    @contextmanager
    def playing(self, header: clip_pb2.MotionHeader, write: Write, *, live: bool = False) -> Iterator[Write]:
        """A stream that was let in. Gives `write` back, which from now on tells what passes.

        Args:
            header: of its frames. live: a session, not a clip.
        """
        session = self.ids.session = new_id()
        what = fields(peer=self._peer, rig=header.rig_name, seed=header.seed, bundle=header.bundle_digest)
        log.info("%s started", self._name, extra=what)
        if live:
            self._playhead = Playhead(header.frame_rate_hz)
            self._monitor.live_began(session)
        try:
            yield self._watched(write)
        finally:
            if live:
                self._monitor.live_ended(session)

    def _watched(self, write: Write) -> Write:
        async def passing(response: Any) -> None:
            kind = response.WhichOneof("response")
            if kind == "frames":  # told before they leave: a caller that reads slowly makes nothing late
                self._send(response.frames)
            elif kind in ("header", "control_applied"):
                experts = (response.header if kind == "header" else response.control_applied).experts
                self._monitor.performs(self.ids.session, {item.expert: item.weight for item in experts})
            await write(response)
            if kind == "ended":  # when it could be said
                self._reason = pb.EndReason.Name(response.ended.reason).removeprefix("END_REASON_").lower()

        return passing

    def _send(self, frames: clip_pb2.FrameBlock) -> None:
        now = time.perf_counter()
        if self._frames == 0:
            self._monitor.first_frame(now - self._began)
        margin_s = None if self._playhead is None else self._playhead.margin_s(frames.first_frame, now)
        self._missed += margin_s is not None and margin_s < 0
        self._frames += frames.frame_count
        self._monitor.sent(frames.frame_count, margin_s)

    def plays_at(self, frame: float, *, moves: bool = True) -> None:
        """A live session's caller shows this frame now."""
        if self._playhead is not None:
            self._playhead.at(frame, time.perf_counter(), moves=moves)

    def held_up(self, seconds: float) -> None:
        """It did not read for so long: what follows is not late because of the server."""
        if self._playhead is not None:
            self._playhead.wait(seconds)

    def stalled(self, count: int) -> None:
        """Its caller says how often in all it had no frame to show; what was sent too late is counted already."""
        if count > max(self._stalls, self._missed):
            self._missed += 1  # however many it says: one report, one underrun
            self._monitor.stalled()
        self._stalls = max(self._stalls, count)

    def done(self) -> None:
        """It ended well."""
        self._end("OK", logging.INFO, self._reason or "done")

    def left(self) -> None:
        """The caller went away in the middle."""
        self._end("CANCELLED", logging.INFO, self._reason or "client_gone")

    def refused(self, code: grpc.StatusCode, error: AniMoEError) -> None:
        """An error that is the caller's to know."""
        if self._streams:
            tell = self._monitor.cut if self.ids.session else self._monitor.refused
            tell(error.reason)
        level = logging.WARNING if code in _OWNERS_CODES else logging.INFO
        self._end(code.name, level, error.reason, str(error))

    def failed(self) -> None:
        """An error that nobody planned; inside `except`."""
        self._end(grpc.StatusCode.INTERNAL.name, logging.ERROR, AniMoEError.reason, "unexpected", trace=True)

    def _end(self, code: str, level: int, reason: str, error: str | None = None, *, trace: bool = False) -> None:
        """The line of its end; calls other than streams have one only when they failed."""
        self._monitor.ended(self.method, code)
        if error is None and not self.ids.session:
            return
        event = "ended" if error is None else "failed" if trace else "cut" if self.ids.session else "refused"
        what = fields(
            code=code,
            reason=reason,
            error=error,
            duration_s=round(time.perf_counter() - self._began, 3),
            frames=self._frames if self._streams else None,
            late_blocks=self._missed if self._playhead is not None else None,
            recording=None if self.recording is None else str(self.recording),
            peer=None if self.ids.session else self._peer,  # known since the start
        )
        log.log(level, "%s %s", self._name, event, extra=what, exc_info=trace)


class Playhead:
    """Where a caller that plays every frame in time is: it begins with the first block and waits for a late one.

    Args:
        frame_rate_hz: frames per second.
    """

    def __init__(self, frame_rate_hz: float) -> None:
        self._frame_rate_hz = frame_rate_hz
        self._began_s: float | None = None
        self._stands_at: float | None = None

    def margin_s(self, first_frame: int, now_s: float) -> float | None:
        """How long before it is due a block is here, below 0 when late; None for the first, which begins it all."""
        if self._began_s is None:
            self._began_s = now_s - first_frame / self._frame_rate_hz
            return None
        if self._stands_at is not None:
            return (first_frame - self._stands_at) / self._frame_rate_hz
        margin_s = self._began_s + first_frame / self._frame_rate_hz - now_s
        if margin_s < 0:
            self._began_s -= margin_s
        return margin_s

    def at(self, frame: float, now_s: float, *, moves: bool = True) -> None:
        """It is known to be here, and to go on or to stand."""
        if self._began_s is not None:
            self._began_s = now_s - frame / self._frame_rate_hz
            self._stands_at = None if moves else frame

    def wait(self, seconds: float) -> None:
        """It stood still for so long."""
        if self._began_s is not None:
            self._began_s += seconds
