"""Speed of performing: first frame and real-time factor over loopback gRPC.

    python benchmarks/perform.py [--takes 20]

Starts the real server on the default bundle. For the generator alone see step.py, for many characters crowd.py.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np

from animoe.client import Client

TEXT = "a person walks forward"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--takes", type=int, default=20)
    takes = parser.parse_args().takes
    over_loopback(takes)


def over_loopback(takes: int) -> None:
    """Prints first-frame times and real-time factors of 4 s takes from a real server."""
    command = [sys.executable, "-m", "animoe.cli", "serve", "--port", "0"]
    started = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    target = server.stdout.readline().split(" listening on ")[1].strip()
    try:
        with Client(target) as client:
            client.wait_until_ready()
            print(f"server start to SERVING: {time.perf_counter() - started:.2f} s")
            first, factor = zip(*(_take(client, seed) for seed in range(takes)), strict=True)
    finally:
        server.terminate()
        server.wait()
    print(f"first frame, {takes} takes at idle: p50 {np.median(first):.1f} ms, p90 {np.percentile(first, 90):.1f} ms")
    print(f"real-time factor: median {statistics.median(factor):.1f}")


def _take(client: Client, seed: int) -> tuple[float, float]:
    """First-frame time in ms and seconds of motion per second of one 4 s clip."""
    start = time.perf_counter()
    first, frames = 0.0, 0
    for block in client.generate(TEXT, seconds=4.0, emotion="happy", seed=seed):
        first = first or (time.perf_counter() - start) * 1000
        frames += len(block.local_rotations)
    return first, frames / 30.0 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
