"""Speed of reading motion files: BVH in MB/s, a GLB of 22 clips and FBX in ms, and where the budgets lie.

    python benchmarks/formats.py

The files are made here. Each figure is the best of several runs, in one thread: what the code costs, not the disk.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from animoe.formats import read_clips, write_clips
from animoe.formats.fbx_process import close_idle
from animoe.motion.clip import Clip
from animoe.rig.canonical import canonical_skeleton
from animoe.rig.rotations import from_axis_angle
from animoe.rig.skeleton import Skeleton

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "fuzz"))
from ascii_fbx import AsciiFbx
from binary_fbx import to_binary

RUNS = 9
BVH_MB_PER_S, GLB_MS = 10.0, 50.0
"""Budgets of design.md."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bvh(folder / "long.bvh", frame_count=2300)
        bvh(folder / "short.bvh", frame_count=90)
        glb(folder / "clips.glb")
        npz(folder / "amass.npz")
        fbx(folder / "take.fbx")


def bvh(path: Path, frame_count: int) -> None:
    """A tree of 60 joints with six decimals, as most exporters write them."""
    write_clips(path, [_moving(_tree(60), frame_count)])
    seconds = _best(lambda: read_clips(path))
    size = path.stat().st_size / 1e6
    print(f"BVH of {size:.2f} MB ({frame_count} frames): {size / seconds:.1f} MB/s (budget {BVH_MB_PER_S:.0f})")


def glb(path: Path) -> None:
    write_clips(path, [_moving(_tree(23), 37, f"clip {i}") for i in range(22)])
    print(f"GLB of 22 clips, 23 joints: {_best(lambda: read_clips(path)) * 1000:.1f} ms (budget {GLB_MS:.0f})")


def npz(path: Path) -> None:
    write_clips(path, [_moving(canonical_skeleton(), 300)])
    print(f"NPZ of 300 frames, 22 joints: {_best(lambda: read_clips(path)) * 1000:.1f} ms")


def fbx(path: Path) -> None:
    """Binary, 65 joints, every rotation keyed on every frame."""
    file = AsciiFbx()
    parents = _tree(65).parents
    nodes: list[int] = []
    for joint, parent in enumerate(parents):
        nodes.append(file.node(f"j{joint}", nodes[parent] if parent >= 0 else 0, T=(0, 10, 0)))
    seconds = [frame / 30 for frame in range(150)]
    wave = [(20 * np.sin(s), 10 * s, 5.0) for s in seconds]
    file.stack("take", {(node, "R"): (seconds, wave) for node in nodes})
    path.write_bytes(to_binary(file.text))
    first = _best(lambda: (close_idle(), read_clips(path)))
    further = _best(lambda: read_clips(path))
    close_idle()
    size = path.stat().st_size / 1e6
    print(
        f"FBX of {size:.2f} MB, 65 joints, 150 frames: {first * 1000:.0f} ms, each further one {further * 1000:.0f} ms"
    )


def _tree(joint_count: int) -> Skeleton:
    parents = [-1, *((joint - 1) // 2 for joint in range(1, joint_count))]
    offsets = np.tile([0.02, 0.1, 0.0], (joint_count, 1))
    return Skeleton.build([f"joint_{i}" for i in range(joint_count)], parents, offsets)


def _moving(skeleton: Skeleton, frame_count: int, name: str = "take") -> Clip:
    random = np.random.default_rng(0)
    time_s = np.arange(frame_count)[:, None] / 30
    angles = np.sin(3 * time_s + random.uniform(0, 6, skeleton.joint_count))
    rotations = from_axis_angle(random.normal(size=(skeleton.joint_count, 3)), angles)
    return Clip.from_root(skeleton, 30.0, rotations, time_s * [1.0, 0.1, 0.5], name)


def _best(action: Callable[[], object]) -> float:
    """Seconds of the fastest of RUNS runs."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
