"""Live characters as a game has them, many in one process: a crowd that plays, counts what is late, changes its mind.

Frames are counted, not unpacked. A character's playhead starts with its first frame; when the next frame is not there
the playhead waits for it, as a game does, and goes on from there. Every thirtieth of a second in which a character
stands still like this is an underrun; so is one that shows an old frame because its replacement came too late. Like
`Client.perform` a character lets frames be replaced that it has not shown, and says where it plays.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import connections
from script import Script

from animoe.client.character import REPORT_S
from animoe.v1 import animation_service_pb2 as pb

FPS = 30.0
CHANGE_S = (3.0, 6.0)
"""Every character changes its prompt or its emotion after a time between these."""
_HEADER, _FRAMES, _APPLIED, _REJECTED, _ENDED = 0x0A, 0x12, 0x1A, 0x22, 0x2A
"""First byte of an AnimateResponse: field number and wire type of its `response`."""


@dataclass
class Window:
    """What a crowd saw in one stretch of time. Times are seconds.

    Attributes:
        late: (moment by the monotonic clock, so long) of every standstill. gaps: frames that never came.
        waiting: for how long characters have been waiting, at its end, that have not had their first frame.
        margins: how long before its time each block arrived. changes: from each control to the frame that shows it.
        first_frames: of newcomers, from the call to the first frames.
    """

    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    client_cpu_s: float = 0.0
    live: int = 0
    frames: int = 0
    gaps: int = 0
    late: list[tuple[float, float]] = field(default_factory=list)
    margins: array[float] = field(default_factory=lambda: array("d"))
    changes: array[float] = field(default_factory=lambda: array("d"))
    first_frames: array[float] = field(default_factory=lambda: array("d"))
    waiting: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def underruns(late: Iterable[tuple[float, float]]) -> int:
    """Frames for which characters stood still, out of (moment, so long)."""
    return sum(math.ceil(late_s * FPS) for _, late_s in late)


@dataclass(frozen=True)
class Cast:
    """Who plays.

    Attributes:
        count: characters that stay. join_s: the time in which they come in. newcomer_s: one more comes every so many
            seconds once they are in, and leaves with its first frames; 0 for none. client: one of connections.CLIENTS.
        plain: as in Script.
    """

    target: str
    bundle: Path
    count: int
    join_s: float
    newcomer_s: float = 0.0
    client: str = "lean"
    seed: int = 0
    plain: bool = False


class Crowd:
    """A crowd in a process of its own; a context manager, inside of which everybody has joined.

    Raises:
        RuntimeError: it broke.
    """

    def __init__(self, cast: Cast) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_play, args=(cast, theirs))
        self._process.start()
        theirs.close()

    def __enter__(self) -> Crowd:
        self.joining = self._receive()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._pipe.send("stop")
        except BrokenPipeError:
            pass
        self._process.join(timeout=10)
        self._process.kill()

    def window(self) -> Window:
        """What there was since the window before; from now on a new one."""
        self._pipe.send("window")
        return self._receive()

    def _receive(self) -> Window:
        try:
            found: Window = self._pipe.recv()
        except EOFError:
            raise RuntimeError("the client's process broke; see above") from None
        return found


def _play(cast: Cast, pipe: Pipe) -> None:
    asyncio.run(_Stage(cast, pipe).run())


class _Stage:
    def __init__(self, cast: Cast, pipe: Pipe) -> None:
        self.cast, self._pipe = cast, pipe
        self.window, self._cpu_s = Window(), time.process_time()
        self.characters: dict[int, _Character] = {}
        self.connection: connections.Connection
        self._over = asyncio.Event()

    async def run(self) -> None:
        self.connection = await connections.connect(self.cast.target, self.cast.client)
        for index in range(self.cast.count):
            self.characters[index] = _Character(self, index)
            await asyncio.sleep(self.cast.join_s / self.cast.count)
        newcomers = asyncio.create_task(self._newcomers())
        self._tell()
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._asked)
        await self._over.wait()
        newcomers.cancel()
        for character in self.characters.values():
            character.leave()
        await asyncio.sleep(0.2)  # until the last messages have left
        await self.connection.close()

    def _asked(self) -> None:
        try:
            asked = self._pipe.recv()
        except EOFError:  # whoever started us is gone
            asked = "stop"
        if asked == "window":
            self._tell()
        else:
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._over.set()

    def _tell(self) -> None:
        told, self.window = self.window, Window()
        now, cpu_s = time.monotonic(), time.process_time()
        for character in self.characters.values():
            character.look(now, told)
        told.client_cpu_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        told.seconds, told.live = self.window.began - told.began, len(self.characters)
        self._pipe.send(told)

    async def _newcomers(self) -> None:
        index = self.cast.count
        while self.cast.newcomer_s:
            self.characters[index] = _Character(self, index, stays=False)
            index += 1
            await asyncio.sleep(self.cast.newcomer_s)


class _Character:
    """One live session. With `stays` False it leaves with its first frames, and is measured by them."""

    def __init__(self, stage: _Stage, index: int, *, stays: bool = True) -> None:
        self._stage, self._index, self._stays = stage, index, stays
        self._script = Script(stage.cast.bundle, stage.cast.seed * 1_000_003 + index, plain=stage.cast.plain)
        self._sent: dict[int, float] = {}
        self._control_id = 0
        self._next, self._start, self._came, self._stalls = 0, 0.0, 0.0, 0
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._began = time.monotonic()
        first = self._script.start().SerializeToString()
        self._call = stage.connection.open(first, self._received, self._ended)
        if stays:
            self._think()

    def leave(self) -> None:
        self._rest()
        self._call.cancel()

    def look(self, now: float, window: Window) -> None:
        """What a window that ends now must know of frames that have not come."""
        if not self._start:
            window.waiting.append(now - self._began)
        else:
            self._wait_until(now, window)

    def _wait_until(self, now: float, window: Window) -> float:
        """Puts off the playhead when the next frame is late. Returns how long before its time it is."""
        margin = self._start + self._next / FPS - now
        if margin < 0:
            window.late.append((now, -margin))
            self._start -= margin
            self._stalls += 1
        return margin

    def _think(self) -> None:
        pause_s = self._script.pause_s(*CHANGE_S)
        self._alarms["change"] = asyncio.get_running_loop().call_later(pause_s, self._change)

    def _report(self) -> None:
        """Says where it plays, as often as `Client.perform` does."""
        now = time.monotonic()
        frame = min((now - self._start) * FPS, self._next)
        report = pb.PlayheadReport(
            frame=frame, held_frame_count=self._next, held_for_s=now - self._came, stall_count=self._stalls
        )
        self._call.send(pb.AnimateRequest(playhead=report).SerializeToString())
        self._alarms["report"] = asyncio.get_running_loop().call_later(REPORT_S, self._report)

    def _rest(self) -> None:
        for alarm in self._alarms.values():
            alarm.cancel()

    def _change(self) -> None:
        self._control_id += 1
        self._sent[self._control_id] = time.monotonic()
        self._call.send(self._script.change(self._control_id).SerializeToString())
        self._think()

    def _received(self, message: bytes) -> None:
        kind = message[0]
        if kind == _FRAMES:
            self._arrived(time.monotonic(), *frames_of(message))
        elif kind == _APPLIED:
            applied = pb.AnimateResponse.FromString(message).control_applied
            shows = self._start + applied.first_frame / FPS
            self._stage.window.changes.append(shows - self._sent.pop(applied.control_id))
        elif kind == _REJECTED:
            self._stage.window.errors.append(pb.AnimateResponse.FromString(message).control_rejected.message)

    def _arrived(self, now: float, first: int, count: int) -> None:
        window = self._stage.window
        if not self._stays:
            window.first_frames.append(now - self._began)
            self._gone()
            self.leave()
            return
        if not self._start:
            self._start = now
            self._alarms["report"] = asyncio.get_running_loop().call_later(REPORT_S, self._report)
        self._came = now
        window.gaps += max(0, first - self._next)
        self._next = first  # earlier than expected where it replaces frames after a change
        window.margins.append(self._wait_until(now, window))
        window.frames += count
        self._next = first + count

    def _ended(self, how: str) -> None:
        self._gone()
        self._rest()
        self._stage.window.errors.append(f"character {self._index} ended: {how}")

    def _gone(self) -> None:
        self._stage.characters.pop(self._index, None)


def frames_of(message: bytes) -> tuple[int, int]:
    """first_frame and frame_count of an AnimateResponse with frames; nothing else of it is read."""
    _, at = _varint(message, 1)
    first = count = 0
    if message[at] == 0x08:  # left out when 0
        first, at = _varint(message, at + 1)
    if message[at] == 0x10:
        count, at = _varint(message, at + 1)
    return first, count


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
