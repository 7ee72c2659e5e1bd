"""The unit of a file, found from the skeleton: BVH does not say whether it counts in centimetres or something else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from animoe.motion.clip import Clip
from animoe.rig.skeleton import Skeleton

UNITS_M: dict[str, float] = {
    "metre": 1.0,
    "foot": 0.3048,
    "CMU unit": 0.0564444,  # (1 / 0.45) inch: the unit of the CMU motion capture database
    "inch": 0.0254,
    "centimetre": 0.01,
    "millimetre": 0.001,
}
_REACH_M = 1.3
"""Length of bones from where the legs branch off to the farthest finger or toe, of an adult."""
_COMMON = ("centimetre", "metre")
_PLAUSIBLE_M = (0.55, 3.0)
_BELIEVED_M = (0.1, 12.0)


def unit_of(skeleton: Skeleton) -> str:
    """Name of the unit (a key of UNITS_M) in which the skeleton has human size.

    Judged on bone lengths, so that neither the pose nor where the character stands matters. The common units win
    where they give anything from a child to a giant.
    """
    reach = _reach(skeleton)
    if reach <= 0:
        return "centimetre"
    for name in _COMMON:
        if _PLAUSIBLE_M[0] < reach * UNITS_M[name] < _PLAUSIBLE_M[1]:
            return name
    return min(UNITS_M, key=lambda name: abs(np.log(reach * UNITS_M[name] / _REACH_M)))


def to_metres(clip: Clip) -> Clip:
    """The clip with its translations in metres, its unit found by `unit_of`."""
    scale = UNITS_M[unit_of(clip.skeleton)]
    if scale == 1.0:
        return clip
    skeleton = scaled(clip.skeleton, scale)
    return replace(clip, skeleton=skeleton, local_translations=clip.local_translations * scale)


def absurdity(skeleton: Skeleton) -> float:
    """By how much lengths must be multiplied where the unit of a file is declared, but cannot be true: mostly 1.

    A power of ten that gives human size: what is declared wrong is centimetres for metres and the like. Anything from
    a rat to an elephant is believed.
    """
    reach = _reach(skeleton)
    if reach <= 0 or _BELIEVED_M[0] <= reach <= _BELIEVED_M[1]:
        return 1.0
    return float(10.0 ** round(np.log10(_REACH_M / reach)))


def scaled(skeleton: Skeleton, factor: float) -> Skeleton:
    """The skeleton with all lengths multiplied."""
    if factor == 1.0:
        return skeleton
    rest = skeleton.rest_translations * factor
    return Skeleton(skeleton.joint_names, skeleton.parents, rest, skeleton.rest_rotations)


def _reach(skeleton: Skeleton) -> float:
    """Longest path of bones from the first branching joint to a leaf, in the skeleton's unit.

    Above that joint lies at most a root whose offset says where the character stands, not how large it is.
    """
    hips = next((j for j, children in enumerate(skeleton.children) if len(children) > 1), 0)
    lengths = np.linalg.norm(skeleton.rest_translations, axis=1)
    reach = np.full(skeleton.joint_count, -np.inf)
    reach[hips] = 0.0
    for joint in range(hips + 1, skeleton.joint_count):
        reach[joint] = reach[skeleton.parents[joint]] + lengths[joint]
    return float(reach.max())
