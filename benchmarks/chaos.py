"""Clients that behave badly, in processes that are killed while they do: what a server must get over.

Each process opens one connection and runs several actors; an actor joins, plays for a while, and leaves in one of many
ways. What they did is written to a file line by line, which outlives the process.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from connections import first_bytes
from script import Script

from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, skeleton_pb2

EXPECTED = {
    "play": {"OK", "CANCELLED"},
    "clip": {"OK", "CANCELLED"},
    "stuck": {"CANCELLED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "OK"},
    "wrong": {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"},
    "flood": {"OK", "CANCELLED", "RESOURCE_EXHAUSTED"},
}
"""How calls may end, by what was done; all may be refused besides, when the server is full."""
_FULL = "RESOURCE_EXHAUSTED"
_LOST, _CUT = "Internal error from Core", "CUT"
"""What grpcio makes of a call that ends while it writes: the status that the server gave is lost."""
_FLOOD = 40
_RIG = skeleton_pb2.RigSelection(profile="mixamo")
_WRONG = (
    pb.AnimateRequest(),
    pb.AnimateRequest(stop=pb.AnimateStop()),
    pb.AnimateRequest(start=pb.AnimateStart(text="", rig=_RIG)),
    pb.AnimateRequest(start=pb.AnimateStart(text="walks", rig=skeleton_pb2.RigSelection(profile="none"))),
)


@dataclass(frozen=True)
class Mischief:
    """What a process of bad clients does. play_s: an actor stays between so long."""

    target: str
    bundle: Path
    actors: int
    play_s: tuple[float, float]


@dataclass
class Report:
    """What was done, and what of it ended otherwise than it may."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Takes in what a process wrote; its last line may be torn."""
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                what, code, message = json.loads(line)
            except ValueError:
                continue
            self.done[what] += 1
            if code not in EXPECTED[what] | {_FULL, _CUT}:
                self.wrong.append(f"{what}: {code}: {message}")


class Gang:
    """Processes of bad clients, killed and replaced again and again.

    Args:
        scratch: folder for what they write. life_s: a process is killed after a time between these.
    """

    def __init__(
        self, mischief: Mischief, processes: int, life_s: tuple[float, float], scratch: Path, seed: int
    ) -> None:
        self._mischief, self._life_s, self._scratch = mischief, life_s, scratch
        self._draw, self._started, self.killed = random.Random(seed), 0, 0
        # Forked from a process that has imported everything and has never used gRPC: a start takes milliseconds.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["chaos"])
        self._wanted = processes
        self._living: list[tuple[float, Any, Path]] = []

    def act(self) -> None:
        """Kills whose time has come and starts others; to be called often."""
        now = time.monotonic()
        for due, process, _ in self._living:
            if now >= due:
                process.kill()  # in mid-stream, with nothing said
                self.killed += 1
        self._living = [entry for entry in self._living if now < entry[0]]
        while len(self._living) < self._wanted:
            path = self._scratch / f"chaos-{self._started}.jsonl"
            seed = self._draw.randrange(2**31)
            process = self._context.Process(target=_misbehave, args=(self._mischief, seed, path), daemon=True)
            process.start()
            self._started += 1
            self._living.append((now + self._draw.uniform(*self._life_s), process, path))

    def end(self) -> None:
        """Kills all."""
        for _, process, _ in self._living:
            process.kill()
            process.join()
            self.killed += 1
        self._living = []

    def report(self) -> Report:
        found = Report()
        for path in sorted(self._scratch.glob("chaos-*.jsonl")):
            found.add(path)
        return found


class HalfOpen:
    """Connections whose other side has gone silent: nothing is read from them, no ping is answered.

    Some never say a word, some stop after HTTP/2's preface, some in a live session.
    """

    def __init__(self, target: str, seed: int) -> None:
        host, _, port = target.rpartition(":")
        self._address, self._draw = (host, int(port)), random.Random(seed)
        self._open: list[tuple[float, socket.socket]] = []
        self.opened = 0

    def act(self, wanted: int, stay_s: tuple[float, float]) -> None:
        """Keeps so many open, each for a time between `stay_s`; then it is reset."""
        now = time.monotonic()
        for due, connection in self._open:
            if now >= due:
                _reset(connection)
        self._open = [entry for entry in self._open if now < entry[0]]
        while len(self._open) < wanted:
            connection = socket.create_connection(self._address)
            connection.sendall(self._draw.choice(_beginnings()))
            self._open.append((now + self._draw.uniform(*stay_s), connection))
            self.opened += 1

    def end(self) -> None:
        for _, connection in self._open:
            _reset(connection)
        self._open = []


def _beginnings() -> tuple[bytes, ...]:
    start = pb.AnimateRequest(start=pb.AnimateStart(text="a person walks forward", rig=_RIG))
    return b"", first_bytes(), first_bytes(start.SerializeToString())


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _misbehave(mischief: Mischief, seed: int, path: Path) -> None:
    asyncio.run(_Actors(mischief, seed, path).run())


class _Actors:
    def __init__(self, mischief: Mischief, seed: int, path: Path) -> None:
        self._mischief, self._draw = mischief, random.Random(seed)
        self._script = Script(mischief.bundle, seed, plain=True)
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)

    async def run(self) -> None:
        async with grpc.aio.insecure_channel(self._mischief.target) as channel:
            stub = animation_service_pb2_grpc.AnimationServiceStub(channel)
            await asyncio.gather(*(self._actor(stub) for _ in range(self._mischief.actors)))

    async def _actor(self, stub: Any) -> None:
        kinds = {
            "play": self._play,
            "clip": self._clip,
            "stuck": self._stuck,
            "wrong": self._wrong,
            "flood": self._flood,
        }
        while True:
            what = self._draw.choices(list(kinds), weights=(10, 3, 2, 2, 1))[0]
            call = stub.GenerateClip(self._clip_request()) if what == "clip" else stub.Animate()
            try:
                await kinds[what](call)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass  # it has ended, its code says how
            code, message = (await call.code()).name, await call.details()
            code = _CUT if message == _LOST else code
            os.write(self._file, (json.dumps([what, code, message]) + "\n").encode())
            # Whoever was refused waits, as the message asks for.
            await asyncio.sleep(self._draw.uniform(0.5, 1.0) if code == _FULL else self._draw.uniform(0.0, 0.2))

    async def _play(self, call: Any) -> None:
        """A session with changes, left by stop, by closing our side, or by cancelling in the middle."""
        await call.write(self._script.start())
        leaves = time.monotonic() + self._stay_s()
        changes = time.monotonic() + self._stay_s() / 2
        while time.monotonic() < leaves:
            if await call.read() is grpc.aio.EOF:
                return
            if time.monotonic() > changes:
                changes += 1.0
                await call.write(self._script.change(1))
        way = self._draw.choice(("stop", "close", "cancel"))
        if way == "cancel":
            call.cancel()
            return
        await (call.write(pb.AnimateRequest(stop=pb.AnimateStop())) if way == "stop" else call.done_writing())
        await _drained(call)

    async def _clip(self, call: Any) -> None:
        """A clip, read to its end or left in the middle."""
        if self._draw.random() < 0.5:
            await _drained(call)
        else:
            await call.read()
            call.cancel()

    async def _stuck(self, call: Any) -> None:
        """A reader that does not read."""
        await call.write(self._script.start())
        await asyncio.sleep(2 * self._stay_s())
        call.cancel()

    async def _wrong(self, call: Any) -> None:
        """A first message that cannot be."""
        await call.write(self._draw.choice(_WRONG))
        await _drained(call)

    async def _flood(self, call: Any) -> None:
        """Controls as fast as the server takes them."""
        await call.write(self._script.start())
        for number in range(_FLOOD):
            await call.write(self._script.change(number))
        call.cancel()

    def _clip_request(self) -> Any:
        return pb.GenerateClipRequest(text=self._script.text(), seconds=1.0, rig=_RIG)

    def _stay_s(self) -> float:
        return self._draw.uniform(*self._mischief.play_s)


async def _drained(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass
