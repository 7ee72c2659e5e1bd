"""Changes to a clip on its own skeleton: which part of it, which way is up, where it travels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from animoe.errors import IncompatibleSkeleton, InvalidRequest
from animoe.motion.clip import Clip
from animoe.retarget.canonicalise import upright_turn
from animoe.retarget.mapping import RigMapping
from animoe.rig.rotations import Array, inverse, multiply, rotate

TRAVELS_M = 1e-3
"""A joint whose local translation changes by less than this does not carry the character anywhere."""


def part_of(clip: Clip, start_s: float | None, end_s: float | None) -> slice:
    """Frames in [start_s, end_s) seconds from the first one.

    Raises:
        InvalidRequest: the clip ends before.
    """
    if start_s is not None and start_s >= clip.duration_s:
        raise InvalidRequest(f"--start {start_s:g} lies behind the end of clip {clip.name!r} ({clip.duration_s:.2f} s)")
    first = min(round((start_s or 0.0) * clip.frame_rate_hz), clip.frame_count - 1)
    last = clip.frame_count if end_s is None else min(round(end_s * clip.frame_rate_hz), clip.frame_count)
    return slice(first, max(last, first + 1))


def take_part(clip: Clip, part: slice) -> Clip:
    """The clip's frames in `part`."""
    return replace(clip, local_rotations=clip.local_rotations[part], local_translations=clip.local_translations[part])


def upright(clip: Clip, mapping: RigMapping | None = None) -> Clip:
    """The clip with +Y up, turned in right angles; as it is where no standing body is found in it."""
    try:
        turn = upright_turn(clip, mapping)
    except IncompatibleSkeleton:
        return clip
    if abs(turn[3]) > 1 - 1e-9:
        return clip
    rotations, translations = clip.local_rotations.copy(), clip.local_translations.copy()
    rotations[:, 0] = multiply(turn, rotations[:, 0])
    translations[:, 0] = rotate(turn, translations[:, 0])
    old = clip.skeleton
    rest_rotations, rest_translations = old.rest_rotations.copy(), old.rest_translations.copy()
    rest_rotations[0] = multiply(turn, rest_rotations[0])
    rest_translations[0] = rotate(turn, rest_translations[0])
    skeleton = replace(old, rest_rotations=rest_rotations, rest_translations=rest_translations)
    return Clip(skeleton, clip.frame_rate_hz, rotations, translations, clip.name)


def in_place(clip: Clip) -> Clip:
    """The clip without its way over the floor: the joint that travels stays above where it began."""
    joint = travelling_joint(clip)
    rotations, positions = clip.world()
    way = positions[:, joint] - positions[:1, joint]
    way[:, 1] = 0.0
    parent = int(clip.skeleton.parents[joint])
    translations: Array = clip.local_translations.copy()
    translations[:, joint] -= way if parent < 0 else rotate(inverse(rotations[:, parent]), way)
    return replace(clip, local_translations=translations)


def travelling_joint(clip: Clip) -> int:
    """The joint that carries the character: the first whose local translation changes; 0 where none does."""
    moves = np.ptp(clip.local_translations, axis=0).max(axis=-1) > TRAVELS_M
    return int(np.argmax(moves))
