"""How long a character takes to appear: from the call to its first frames, over loopback gRPC, on an idle server.

    python benchmarks/first_frame.py [--calls 200] [--starts 5] [--bundle DIR] [--json]

Client and server are processes of their own; the client is grpcio's, as in `animoe.client`. Calls with prompts that the
server has never seen take turns with calls of one that it knows, and with an empty RPC (health), which is the
transport's part. Then the server is started some more times: time to SERVING, and the first call that it ever answers.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from script import Script
from served import machine, serving

from animoe.bundle import default_bundle
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, skeleton_pb2

KNOWN = "a person walks forward"
RIG = "ue5_manny"
PAUSE_S = 0.05
"""Between two calls: the one before has left, the server is idle."""
BUDGETS = {"first frame, p50": 15.0, "first frame, p99": 40.0, "start to SERVING": 2000.0, "RSS": 700.0}
"""Milliseconds; RSS in MB."""


@dataclass(frozen=True)
class Times:
    """Milliseconds over calls; spread: quartiles."""

    what: str
    calls: int
    p50: float
    spread: tuple[float, float]
    p90: float
    p99: float
    most: float

    @staticmethod
    def of(what: str, seconds: list[float]) -> Times:
        low, middle, high, p90, p99, most = 1000 * np.quantile(seconds, [0.25, 0.5, 0.75, 0.9, 0.99, 1.0])
        return Times(what, len(seconds), middle, (low, high), p90, p99, most)

    def line(self) -> str:
        low, high = self.spread
        return (
            f"{self.what:42s} {self.calls:5d} {self.p50:8.2f} ({low:.2f}-{high:.2f})".ljust(75)
            + f"{self.p90:8.2f} {self.p99:8.2f} {self.most:8.2f}"
        )


HEAD = f"{'ms':42s} {'calls':>5} {'p50 (quartiles)':>17}".ljust(75) + f"{'p90':>8} {'p99':>8} {'most':>8}"


class _Caller:
    """Calls one server, one call at a time."""

    def __init__(self, channel: grpc.Channel, bundle: Path) -> None:
        self._animation = animation_service_pb2_grpc.AnimationServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._script = Script(bundle, 0)
        self._count = 0

    def fresh(self) -> tuple[float, float]:
        """Seconds to the header and to the first frames, of a prompt that nobody has sent before."""
        self._count += 1
        return self._play(f"{self._script.text()}, take {self._count}")

    def known(self) -> tuple[float, float]:
        return self._play(KNOWN)

    def empty(self) -> float:
        """Seconds of an RPC that asks for nothing: the transport."""
        began = time.perf_counter()
        self._health.Check(health_pb2.HealthCheckRequest())
        return time.perf_counter() - began

    def capabilities(self) -> float:
        """The same of the product's own smallest RPC."""
        began = time.perf_counter()
        self._animation.GetCapabilities(pb.GetCapabilitiesRequest())
        return time.perf_counter() - began

    def _play(self, text: str) -> tuple[float, float]:
        self._count += 1
        start = pb.AnimateStart(text=text, rig=skeleton_pb2.RigSelection(profile=RIG), seed=self._count)
        leave = threading.Event()

        def requests() -> Iterator[Any]:
            yield pb.AnimateRequest(start=start)
            leave.wait()  # at its end our side would close, which means stop

        began, header = time.perf_counter(), 0.0
        call = self._animation.Animate(requests())
        try:
            for response in call:
                now = time.perf_counter() - began
                if response.WhichOneof("response") == "frames":
                    return header, now
                header = header or now
            raise SystemExit("a live session ended by itself")
        finally:
            call.cancel()
            leave.set()
            time.sleep(PAUSE_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=200, help="of each kind")
    parser.add_argument("--starts", type=int, default=5, help="of the server")
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout, the table on stderr")
    options = parser.parse_args()
    out = sys.stderr if options.json else sys.stdout
    print(f"{machine()}\n{HEAD}", file=out, flush=True)
    times, rss_mb = warm(options.bundle, options.calls)
    times += cold(options.bundle, options.starts)
    for found in times:
        print(found.line(), file=out)
    verdicts = judge(times, rss_mb)
    for verdict in verdicts:
        print("{what}: {value:.1f}, budget {budget:.0f}: {met}".format(**verdict), file=out)
    if options.json:
        print(json.dumps({"times": [asdict(found) for found in times], "rss_mb": rss_mb, "budgets": verdicts}))
    return 0 if all(verdict["met"] == "met" for verdict in verdicts) else 1


def warm(bundle: Path, calls: int) -> tuple[list[Times], float]:
    """Of one server that has answered before; with what it holds in memory at the end."""
    kinds: dict[str, list[float]] = {}

    def note(what: str, seconds: float) -> None:
        kinds.setdefault(what, []).append(seconds)

    with serving(bundle) as server, grpc.insecure_channel(server.target) as channel:
        caller = _Caller(channel, bundle)
        for _ in range(5):
            caller.fresh(), caller.known(), caller.capabilities()
        for _ in range(calls):
            note("empty RPC (health)", caller.empty())
            note("GetCapabilities", caller.capabilities())
            for name, play in (("fresh prompt", caller.fresh), ("known prompt", caller.known)):
                header, frames = play()
                note(f"{name}: header", header)
                note(f"{name}: first frame", frames)
        return [Times.of(what, seconds) for what, seconds in kinds.items()], server.rss_mb()


def cold(bundle: Path, starts: int) -> list[Times]:
    """Of servers that have just started, each with its very first call."""
    ready, first = [], []
    for _ in range(starts):
        with serving(bundle) as server, grpc.insecure_channel(server.target) as channel:
            ready.append(server.ready_s)
            caller = _Caller(channel, bundle)
            caller.empty()  # the connection is there, as on the warm server
            first.append(caller.fresh()[1])
    return [Times.of("server start to SERVING", ready), Times.of("first call of a cold server: first frame", first)]


def judge(times: list[Times], rss_mb: float) -> list[dict[str, Any]]:
    """Budget by budget."""
    by_name = {found.what: found for found in times}
    fresh, start = by_name["fresh prompt: first frame"], by_name["server start to SERVING"]
    values = (fresh.p50, fresh.p99, start.p50, rss_mb)
    return [
        {"what": what, "value": value, "budget": budget, "met": "met" if value <= budget else "NOT MET"}
        for (what, budget), value in zip(BUDGETS.items(), values, strict=True)
    ]


if __name__ == "__main__":
    raise SystemExit(main())
