"""Acceleration where a live character is told otherwise, against its own motion in flow and against real clips.

    python benchmarks/seams.py [--bundle DIR] [--packs DIR] [--seams 120] [--json]

Characters perform one prompt, are then taken back by some frames and told otherwise: another prompt, another emotion
(at once, or over half a second), nothing at all (taken back only), another pace. The seam is the block that follows and
the one after it: the largest acceleration of any joint there, in model space (relative to the place and heading of the
body on the floor), and of the root over the floor, m/s^2. In flow: as many blocks of the same characters before any
seam; at that pace: half a second after a change of pace. Real: windows as long in the clips of the packs, retargeted to
the canonical skeleton. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from animoe.bundle import default_bundle
from animoe.engine import Engine, LiveSession, Sampling, SessionRequest
from animoe.motion.emotion import EMOTIONS, EmotionCurve
from animoe.motion.features import heading
from animoe.motion.pose_block import PoseBlock
from animoe.rig.canonical import FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import Array, from_yaw, inverse, rotate

SEAM_FRAMES = 8
BEFORE_BLOCKS, AFTER_BLOCKS, TAKEN_BACK = 22, 12, 3
PROMPTS = (
    "a person walks forward",
    "a person waves goodbye",
    "a person stands still",
    "someone runs forward",
    "a person dances",
    "someone throws a punch",
    "a person sits down",
    "a man jumps",
    "a person bows politely",
    "someone walks backwards",
)
Told = Callable[[LiveSession, np.random.Generator], None]


def _other_prompt(session: LiveSession, random: np.random.Generator) -> None:
    session.set_prompt(PROMPTS[random.integers(len(PROMPTS))])


def _other_emotion(session: LiveSession, random: np.random.Generator, transition_s: float = 0.0) -> None:
    session.set_emotion(EmotionCurve.constant(EMOTIONS[random.integers(1, len(EMOTIONS))]), transition_s)


KINDS: dict[str, Told] = {
    "prompt": _other_prompt,
    "emotion": _other_emotion,
    "emotion, 0.5 s": lambda session, random: _other_emotion(session, random, 0.5),
    "taken back": lambda session, random: None,
    "pace": lambda session, random: session.set_pace(float(random.choice([0.7, 1.4]))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--packs", type=Path, help="folder of animation packs: what real people do")
    parser.add_argument("--seams", type=int, default=120, help="of each kind")
    parser.add_argument("--json", action="store_true", help="print figures as JSON as well")
    options = parser.parse_args()
    engine = Engine.load(options.bundle)
    found: dict[str, list[tuple[float, float]]] = {"in flow": []}
    for kind, tell in KINDS.items():
        seams = [_seam(engine, tell, seed) for seed in range(options.seams)]
        found["in flow"] += [before for before, _, _ in seams]
        found[kind] = [seam for _, seam, _ in seams]
        if kind == "pace":  # at pace 1.4 everything has twice the acceleration, seam or not
            found["at that pace"] = [after for _, _, after in seams]
    if options.packs is not None:
        found["real clips"] = _real(options.packs)
    print(f"{'m/s^2':16s}{'windows':>8s}   joints p50   p90   p99      root p50   p90   p99   above real p99")
    limit = np.percentile(found["real clips"], 99, axis=0) if "real clips" in found else np.full(2, np.nan)
    figures: dict[str, Any] = {}
    for kind, windows in found.items():
        joints, root = np.percentile(windows, [50, 90, 99], axis=0).T
        above = np.mean(np.array(windows) > limit, axis=0) * 100
        figures[kind] = {"windows": len(windows), "joints": joints.tolist(), "root": root.tolist()}
        print(f"{kind:16s}{len(windows):8d}   {_row(joints)}   {_row(root)}", end="")
        print(f"   {above[0]:5.1f} % joints {above[1]:.1f} % root")
    if options.json:
        print(json.dumps(figures))


def _row(values: Array) -> str:
    return "".join(f"{value:9.1f}" for value in values)


def _seam(engine: Engine, tell: Told, seed: int) -> list[tuple[float, float]]:
    """Largest accelerations before a seam, at it and after it."""
    random = np.random.default_rng(seed)
    emotion = EmotionCurve.constant(EMOTIONS[random.integers(len(EMOTIONS))])
    session = engine.open_session(SessionRequest(PROMPTS[random.integers(len(PROMPTS))], emotion, Sampling(seed)))
    blocks = [session.next_block() for _ in range(BEFORE_BLOCKS)]
    seam = session.rewind(blocks[-TAKEN_BACK].first_frame)
    tell(session, random)
    blocks = blocks[:-TAKEN_BACK] + [session.next_block() for _ in range(AFTER_BLOCKS)]
    joints, root = accelerations(blocks)
    before = 4 * int(random.integers(3, BEFORE_BLOCKS - TAKEN_BACK - 3))
    return [(_largest(joints, frame), _largest(root, frame)) for frame in (before, seam, seam + 2 * SEAM_FRAMES)]


def _largest(values: Array, frame: int) -> float:
    """Of (T - 2,) accelerations at frames 1..T-2, those that see a frame of the seam and one before or in it."""
    return float(values[max(frame - 2, 0) : frame - 1 + SEAM_FRAMES].max())


def accelerations(blocks: Sequence[PoseBlock]) -> tuple[Array, Array]:
    """(T - 2,) of the fastest changing joint in model space, and of the root over the floor, m/s^2."""
    rotations = np.concatenate([block.local_rotations for block in blocks])
    positions = np.concatenate([block.root_positions for block in blocks])
    headings = np.concatenate([_headings(block) for block in blocks])
    return of_motion(rotations, positions, headings)


def _headings(block: PoseBlock) -> Array:
    assert block.headings is not None
    return block.headings


def of_motion(rotations: Array, positions: Array, headings: Array) -> tuple[Array, Array]:
    """As `accelerations`, of local rotations (T, 22, 4), pelvis positions (T, 3) and headings (T,)."""
    skeleton = canonical_skeleton()
    translations = np.tile(skeleton.rest_translations, (len(rotations), 1, 1))
    translations[:, 0] = positions
    world = local_to_model(rotations, translations, skeleton.parents)[1]
    place = positions * [1.0, 0.0, 1.0]
    model = rotate(inverse(from_yaw(headings))[:, None], world - place[:, None])
    square = FRAME_RATE_HZ**2
    joints = np.linalg.norm(np.diff(model, n=2, axis=0), axis=-1).max(axis=1) * square
    return joints, np.linalg.norm(np.diff(place, n=2, axis=0), axis=-1) * square


def _real(packs: Path) -> list[tuple[float, float]]:
    from animoe_trainer.packs import UsableRow, canonical_rows

    found = []
    for pack in sorted(path for path in packs.iterdir() if (path / "pack.csv").is_file()):
        for row in canonical_rows(pack):
            if not isinstance(row, UsableRow) or row.clip.frame_count < 2 * SEAM_FRAMES:
                continue
            clip = row.clip
            joints, root = of_motion(clip.local_rotations, clip.root_positions, heading(clip.local_rotations[:, 0]))
            found += [
                (_largest(joints, frame), _largest(root, frame))
                for frame in range(SEAM_FRAMES, clip.frame_count - SEAM_FRAMES, SEAM_FRAMES)
            ]
    return found


if __name__ == "__main__":
    main()
