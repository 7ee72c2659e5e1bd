"""From drawn codes to frames: decoded and the best candidate chosen; posed, put on rigs, handed out. In batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from animoe.engine.runtime import Runtime
from animoe.engine.scheduler import Pull
from animoe.motion.features import RootState
from animoe.motion.native_poses import ToPoses
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.solver import Retargeter, RigBlock
from animoe.rig.rotations import Array


def finish(pulls: Sequence[Pull], features: Array, to_poses: ToPoses) -> None:
    """Hands out the frames of a step; an error goes to everybody who waits.

    Args:
        features: (B, 4, 140), see `choose`. to_poses: `features_to_poses`.
    """
    try:
        found = _on_rigs(pulls, _posed(pulls, features, to_poses))
    except BaseException as error:
        fail(pulls, error)
    else:
        hand_out([partial(pull.done, frames, None) for pull, frames in zip(pulls, found, strict=True)], pulls)


def fail(pulls: Sequence[Pull], error: BaseException) -> None:
    """Tells everybody who waits still."""
    hand_out([partial(pull.done, None, error) for pull in pulls], pulls)


def hand_out(answers: Sequence[Callable[[], object]], pulls: Sequence[Pull]) -> None:
    """Gives each pull its answer. An event loop is woken once for all who wait in it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Callable[[], object]]] = {}
    for answer, pull in zip(answers, pulls, strict=True):
        if isinstance(pull.found, asyncio.Future):
            by_loop.setdefault(pull.found.get_loop(), []).append(answer)
        else:
            answer()
    for loop, waiting in by_loop.items():
        with suppress(RuntimeError):  # it is closed: nobody waits there any more
            loop.call_soon_threadsafe(_all, waiting)


def _all(answers: Sequence[Callable[[], object]]) -> None:
    for answer in answers:
        answer()


def choose(runtime: Runtime, pulls: Sequence[Pull], codes: Array) -> Array:
    """Features (B, 4, 140) of the best of each character's candidates.

    Args:
        codes: (R, G) candidates of the first pull, then of the second, and so on.
    """
    counts = [len(pull.row.inputs.uniforms) for pull in pulls]
    before = [pull.character.state for pull, count in zip(pulls, counts, strict=True) for _ in range(count)]
    features, states = runtime.decode_next(codes, before)
    ends = np.cumsum(counts)
    parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    return np.stack(
        [p.character.take(codes[part], features[part], states[part]) for p, part in zip(pulls, parts, strict=True)]
    )


def _posed(pulls: Sequence[Pull], features: Array, to_poses: ToPoses) -> list[PoseBlock]:
    roots = [RootState(before.yaw, before.planar) for before in (pull.character.root for pull in pulls)]
    rotations, positions, contacts, headings = to_poses(features, roots)
    return [
        pull.character.pose((rotations[i], positions[i], contacts[i], headings[i]), roots[i])
        for i, pull in enumerate(pulls)
    ]


def _on_rigs(pulls: Sequence[Pull], blocks: Sequence[PoseBlock]) -> list[PoseBlock | RigBlock]:
    """Characters on the same rig are put on it together."""
    by_rig: dict[Retargeter, list[int]] = {}
    for index, pull in enumerate(pulls):
        if pull.rig is not None:
            by_rig.setdefault(pull.rig[0], []).append(index)
    found: list[PoseBlock | RigBlock] = list(blocks)
    for retargeter, members in by_rig.items():
        states = [rig[1] for rig in (pulls[i].rig for i in members) if rig is not None]
        made = retargeter.apply_many([blocks[i] for i in members], states)
        for index, block in zip(members, made, strict=True):
            found[index] = block
    return found
