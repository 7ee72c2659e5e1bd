"""Speed of making clips: seconds of motion per second, one clip at a time, over loopback gRPC.

    python benchmarks/perform.py [--takes 20]

Starts the real server on the default bundle. For the first frame see first_frame.py, for the generator alone step.py,
for many characters crowd.py.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from served import machine, serving

from animoe.bundle import default_bundle
from animoe.client import Client

TEXT = "a person walks forward"
SECONDS = 4.0
FPS = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--takes", type=int, default=20)
    takes = parser.parse_args().takes
    print(machine())
    with serving(default_bundle()) as server, Client(server.target) as client:
        _factor(client, takes)
        low, middle, high = np.quantile([_factor(client, seed) for seed in range(takes)], [0.25, 0.5, 0.75])
    print(f"real-time factor, {takes} clips of {SECONDS:.0f} s: {middle:.1f} ({low:.1f}-{high:.1f})")


def _factor(client: Client, seed: int) -> float:
    """Seconds of motion per second of one clip."""
    start, frames = time.perf_counter(), 0
    for block in client.generate(TEXT, seconds=SECONDS, emotion="happy", seed=seed):
        frames += len(block.local_rotations)
    return frames / FPS / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
