"""Speed of performing: first frame and real-time factor over loopback gRPC, and the generator step against torch.

    python benchmarks/perform.py [--takes 20]

Starts the real server on the default bundle. The baseline for the generator is the same work in eager torch with one
thread, in the same run: read the ratio, machines differ.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from animoe.bundle import default_bundle
from animoe.client import Client
from animoe.engine.character import Character
from animoe.engine.requests import Sampling
from animoe.engine.runtime import Runtime

TEXT = "a person walks forward"
RUNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--takes", type=int, default=20)
    takes = parser.parse_args().takes
    over_loopback(takes)
    generator_step()


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


def generator_step() -> None:
    """Prints ms per token in ONNX Runtime and in torch, one character, 30 tokens."""
    runtime = Runtime(default_bundle())

    def with_onnx() -> None:
        character = Character(runtime, TEXT, None, Sampling())
        for _ in range(30):
            character.next_block()

    ours, baseline = _milliseconds(with_onnx), _milliseconds(_torch_steps())
    print(f"one token, generator + decoder in ONNX Runtime: {ours / 30:.2f} ms")
    print(f"one token, the same in eager torch: {baseline / 30:.2f} ms")
    print(f"ratio: {baseline / ours:.1f}x")


def _torch_steps() -> Callable[[], None]:
    """The same work in eager torch: decode step with its cache, then the tokenizer's decoder."""
    import torch

    from animoe.bundle.export import example_inputs
    from animoe.models.decode_step import DecodeStep
    from animoe_trainer.base import load_motion_lm
    from animoe_trainer.tokenizer import load_tokenizer

    torch.set_num_threads(1)
    step = DecodeStep(load_motion_lm(default_bundle())).eval()
    tokenizer = load_tokenizer(default_bundle())
    feeds = [example_inputs(step, batch=1, new=5 if token == 0 else 1, past=max(1, 4 + token)) for token in range(30)]

    def run() -> None:
        state = None
        with torch.no_grad():
            for feed in feeds:
                codes, _ = step(*feed.values())
                _, state = tokenizer.decode(codes[None], state)

    return run


def _milliseconds(work: Callable[[], None]) -> float:
    work()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


if __name__ == "__main__":
    main()
