"""Which of two mirrored sides is the left: where toes, knees, elbows and eyes point is forward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

_TOES, _KNEES, _ELBOWS, _EYES, _HEAD, _HABIT = 3.0, 1.5, 0.75, 1.0, 0.3, 0.25
"""Weights of the votes. The habit is that a rest pose faces +Z."""


def forward_votes(
    skeleton: Skeleton,
    poses: Array,
    limbs: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]],
    up: Array,
    head: int | None,
) -> float:
    """Votes for the first side being the left one: positive yes, negative no, near 0 undecided.

    Args:
        skeleton: the rig.
        poses: (T, J, 3) model positions of poses in which the body stands.
        limbs: legs (hip, knee, ankle and perhaps toes) and arms (shoulder, elbow, wrist), first side first.
        up: (T, 3) unit direction of the trunk.
        head: head joint, None when unknown.
    """
    legs, arms = limbs
    across = sum(poses[:, a[0]] - poses[:, b[0]] for a, b in (legs, arms))
    across = across - up * np.sum(across * up, axis=-1, keepdims=True)
    forward = np.cross(across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-12), up)
    votes = 0.0
    if len(legs[0]) > 3:
        votes += _TOES * float(np.mean([_along(poses[:, leg[3]] - poses[:, leg[2]], forward) for leg in legs]))
    votes += _KNEES * float(np.mean([np.clip(15 * _bulge(poses, leg, forward), -1, 1) for leg in legs]))
    votes -= _ELBOWS * float(np.mean([np.clip(8 * _bulge(poses, arm, forward), -1, 1) for arm in arms]))
    if head is not None:
        parent = int(skeleton.parents[head])
        votes += _HEAD * float(np.mean(_along(poses[:, head] - poses[:, parent], forward)))
        eyes = _eyes(skeleton, head, poses[0])
        if eyes:
            middle = poses[:, list(eyes)].mean(axis=1) - poses[:, head]
            votes += _EYES * float(np.mean(_along(middle, forward)))
    rest = forward[0] if abs(up[0, 1]) > 0.9 else np.zeros(3)
    return votes + _HABIT * float(rest[2])


def _along(v: Array, direction: Array) -> Array:
    """(T,) cosine between vectors (T, 3)."""
    cosine: Array = np.sum(v * direction, axis=-1) / np.maximum(np.linalg.norm(v, axis=-1), 1e-12)
    return cosine


def _bulge(poses: Array, limb: Sequence[int], forward: Array) -> Array:
    """(T,) how far the hinge lies forward of the line from start to end, in lengths of that line."""
    start, hinge, end = (poses[:, joint] for joint in limb[:3])
    line = end - start
    square = np.maximum(np.sum(line * line, axis=-1, keepdims=True), 1e-12)
    foot = start + line * (np.sum((hinge - start) * line, axis=-1, keepdims=True) / square)
    bulge: Array = np.sum((hinge - foot) * forward, axis=-1) / np.sqrt(square[:, 0])
    return bulge


def _eyes(skeleton: Skeleton, head: int, pose: Array) -> tuple[int, ...]:
    """Two leaves of the head at the same distance from it: eyes."""
    leaves = [child for child in skeleton.children[head] if not skeleton.children[child]]
    if len(leaves) != 2:
        return ()
    a, b = (float(np.linalg.norm(pose[leaf] - pose[head])) for leaf in leaves)
    return tuple(leaves) if min(a, b) > 0.95 * max(a, b) > 0 else ()
