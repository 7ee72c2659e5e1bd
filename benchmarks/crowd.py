"""How many live characters one server keeps at 30 frames/s, over loopback gRPC, and what each costs.

    python benchmarks/crowd.py [--characters 1,8,32,100,200] [--seconds 60] [--bundle DIR] [--json]

Starts the real server (`animoe serve`) for each crowd and plays it from a process of its own: every character has its
own prompt, emotion, seed and rig, and changes its prompt or emotion every few seconds. A frame that arrives after it
should have been shown is an underrun; a character's playhead starts with its first frame. Newcomers join the full crowd
one by one, and their first frame is timed. Linux only: processor time and memory are read from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from animoe.bundle import default_bundle
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, clip_pb2, skeleton_pb2

FPS = 30.0
JOIN_S = 8.0
"""The crowd comes in over so long."""
CHANGE_S = (3.0, 6.0)
"""Every character changes its prompt or its emotion after a time between these."""
NEWCOMERS = 40
RIGS = ("ue5_manny", "mixamo", "kaykit_medium")
EMOTIONS = ("neutral", "happy", "sad", "angry", "tired", "fearful")
PROMPTS = (
    "a person walks forward",
    "someone runs",
    "a man waves the right hand",
    "she dances slowly",
    "a guard looks around",
    "someone punches with the left hand",
    "a person jumps forward",
    "a boy kicks a ball",
    "someone sits down and rests",
    "a person turns left and walks away",
)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Crowd:
    """What one crowd was given and what it took.

    Attributes:
        underruns: frames that were not there in time; worst_s: the latest of them by so much.
        margin_ms: p1 of how long before its time a block arrives. first_frame_ms: p50, p99 of newcomers.
        change_ms: p50, p99 from a control to the first frames made under it. server_cpu, client_cpu: processors used.
        rss_mb: of the server when the crowd is complete and at the end.
    """

    characters: int
    seconds: float
    frames: int = 0
    underruns: int = 0
    worst_s: float = 0.0
    margin_ms: float = 0.0
    first_frame_ms: tuple[float, float] = (0.0, 0.0)
    change_ms: tuple[float, float] = (0.0, 0.0)
    server_cpu: float = 0.0
    client_cpu: float = 0.0
    rss_mb: tuple[float, float] = (0.0, 0.0)
    errors: list[str] = field(default_factory=list)

    def line(self) -> str:
        cost = self.server_cpu * 1000 / self.characters
        return (
            f"{self.characters:10d} {self.underruns:9d} {self.margin_ms:9.0f} "
            f"{self.first_frame_ms[0]:8.1f} {self.first_frame_ms[1]:8.1f} "
            f"{self.change_ms[0]:8.0f} {self.change_ms[1]:8.0f} "
            f"{self.server_cpu:7.2f} {cost:9.2f} {self.client_cpu:7.2f} {self.rss_mb[0]:6.0f} {self.rss_mb[1]:6.0f}"
        )


HEAD = (
    f"{'characters':>10} {'underruns':>9} {'margin':>9} {'first':>8} {'frame':>8} {'change':>8} {'shows':>8} "
    f"{'server':>7} {'per char':>9} {'client':>7} {'RSS':>6} {'RSS':>6}\n"
    f"{'':>10} {'frames':>9} {'p1 ms':>9} {'p50 ms':>8} {'p99 ms':>8} {'p50 ms':>8} {'p99 ms':>8} "
    f"{'cores':>7} {'mcores':>9} {'cores':>7} {'MB':>6} {'end':>6}"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--characters", default="1,8,32,100,200", help="sizes of crowds, with commas")
    parser.add_argument("--seconds", type=float, default=60.0, help="that a complete crowd plays")
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    crowds = []
    print(HEAD, file=sys.stderr if options.json else sys.stdout, flush=True)
    for count in (int(part) for part in options.characters.split(",")):
        crowds.append(measure(count, options.seconds, options.bundle))
        print(crowds[-1].line(), file=sys.stderr if options.json else sys.stdout, flush=True)
        for error in crowds[-1].errors[:5]:
            print(f"    {error}", file=sys.stderr)
    if options.json:
        print(json.dumps([asdict(crowd) for crowd in crowds]))
    total = sum(crowd.underruns + len(crowd.errors) for crowd in crowds)
    print(f"underruns: {total}", file=sys.stderr if options.json else sys.stdout)
    return 1 if total else 0


def measure(count: int, seconds: float, bundle: Path) -> Crowd:
    """One crowd on a fresh server."""
    command = [sys.executable, "-m", "animoe.cli", "serve", "--port", "0", "--bundle", str(bundle)]
    command += ["--max-streams", str(count + NEWCOMERS)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        target = server.stdout.readline().split(" listening on ")[1].strip()
        while "ready in" not in server.stdout.readline():
            pass
        threading.Thread(target=server.stdout.read, daemon=True).start()  # a full pipe would hold the server up
        context = multiprocessing.get_context("spawn")
        results: Any = context.Queue()
        client = context.Process(target=_play, args=(target, count, seconds, server.pid, results))
        client.start()
        crowd: Crowd = results.get(timeout=seconds + JOIN_S + 120)
        client.join()
    finally:
        server.terminate()
        server.wait()
    return crowd


def _play(target: str, count: int, seconds: float, server: int, results: Any) -> None:
    results.put(asyncio.run(_Play(target, count, seconds, server).run()))


class _Play:
    """The client's process: every character is one stream; frames are counted, not unpacked."""

    def __init__(self, target: str, count: int, seconds: float, server: int) -> None:
        self._target, self._count, self._seconds, self._server = target, count, seconds, server
        self.crowd = Crowd(count, seconds)
        self._margins: list[float] = []
        self._changes: list[float] = []
        self._first: list[float] = []
        self._ending = False
        self._counting = False

    async def run(self) -> Crowd:
        async with grpc.aio.insecure_channel(self._target) as channel:
            stub = animation_service_pb2_grpc.AnimationServiceStub(channel)
            players = []
            for index in range(self._count):
                players.append(asyncio.create_task(self._character(stub, index)))
                await asyncio.sleep(JOIN_S / self._count)
            await asyncio.sleep(2.0)
            self._counting = True
            began, cpu, own = time.monotonic(), _cpu_s(self._server), time.process_time()
            rss = _rss_mb(self._server)
            for index in range(NEWCOMERS):
                self._first.append(await self._newcomer(stub, self._count + index))
                await asyncio.sleep(max(0.0, self._seconds / NEWCOMERS - self._first[-1]))
            took = time.monotonic() - began
            crowd = self.crowd
            crowd.server_cpu = (_cpu_s(self._server) - cpu) / took
            crowd.client_cpu = (time.process_time() - own) / took
            crowd.rss_mb = (rss, _rss_mb(self._server))
            self._counting, self._ending = False, True
            for player in players:
                player.cancel()
            await asyncio.gather(*players, return_exceptions=True)
        crowd.margin_ms = float(np.percentile(self._margins, 1) * 1000) if self._margins else 0.0
        crowd.first_frame_ms = _quantiles_ms(self._first)
        crowd.change_ms = _quantiles_ms(self._changes)
        return crowd

    async def _character(self, stub: Any, index: int) -> None:
        """Plays until it is cancelled."""
        draw = random.Random(index)
        sent: dict[int, float] = {}
        call = stub.Animate(self._requests(index, draw, sent))
        start, waiting = 0.0, 0.0
        try:
            async for response in call:
                now = time.monotonic()
                kind = response.WhichOneof("response")
                if kind == "frames":
                    block = response.frames
                    start = start or now
                    if waiting:
                        self._changes.append(now - waiting)
                        waiting = 0.0
                    if self._counting:
                        self._arrived(start + block.first_frame / FPS - now, block.frame_count)
                elif kind == "control_applied":
                    waiting = sent.pop(response.control_applied.control_id, 0.0)
                elif kind == "control_rejected":
                    self.crowd.errors.append(response.control_rejected.message)
        except grpc.aio.AioRpcError as error:
            if not self._ending:
                self.crowd.errors.append(f"character {index}: {error.code().name}: {error.details()}")

    def _arrived(self, margin_s: float, frame_count: int) -> None:
        self.crowd.frames += frame_count
        self._margins.append(margin_s)
        late_s = -margin_s
        if late_s > 0:
            self.crowd.underruns += min(frame_count, int(late_s * FPS) + 1)
            self.crowd.worst_s = max(self.crowd.worst_s, late_s)

    async def _requests(self, index: int, draw: random.Random, sent: dict[int, float]) -> AsyncIterator[Any]:
        yield pb.AnimateRequest(start=_start(index, draw))
        control_id = 0
        while True:
            await asyncio.sleep(draw.uniform(*CHANGE_S))
            control_id += 1
            sent[control_id] = time.monotonic()
            if draw.random() < 0.5:
                change = pb.AnimateRequest(control_id=control_id, prompt=pb.PromptChange(text=_text(draw)))
            else:
                change = pb.AnimateRequest(control_id=control_id, emotion=pb.EmotionChange(emotion=_curve(draw)))
            yield change

    async def _newcomer(self, stub: Any, index: int) -> float:
        """Seconds from the call to the first frames of one more character, which then leaves."""
        began = time.monotonic()
        call = stub.Animate(_only(pb.AnimateRequest(start=_start(index, random.Random(index)))))
        async for response in call:
            if response.WhichOneof("response") == "frames":
                break
        took = time.monotonic() - began
        call.cancel()
        return took


async def _only(request: Any) -> AsyncIterator[Any]:
    yield request
    await asyncio.sleep(60)


def _start(index: int, draw: random.Random) -> Any:
    rig = skeleton_pb2.RigSelection(profile=RIGS[index % len(RIGS)])
    emotion = None if index % 3 == 0 else _curve(draw)
    return pb.AnimateStart(text=_text(draw), rig=rig, emotion=emotion, seed=index)


def _text(draw: random.Random) -> str:
    return (
        f"{draw.choice(PROMPTS)} {draw.choice(('', 'slowly', 'quickly', 'again', 'in a hurry', 'carefully'))}".strip()
    )


def _curve(draw: random.Random) -> Any:
    """Two emotions, one leading into the other."""
    keys = []
    for time_s in (0.0, 1.0):
        felt = clip_pb2.EmotionIntensity(emotion=draw.choice(EMOTIONS), intensity=draw.uniform(0.5, 1.5))
        keys.append(clip_pb2.EmotionKey(time_s=time_s, emotions=[felt]))
    return clip_pb2.EmotionCurve(keys=keys)


def _quantiles_ms(values: list[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 0.0
    middle, most = np.percentile(values, [50, 99]) * 1000
    return float(middle), float(most)


def _cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    raise SystemExit(main())
