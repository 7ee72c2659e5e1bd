"""Keeps feet on the floor: hip heights at which a rig's feet clear the floor as the canonical ones do.

The clearance of an ankle or toe joint is its height above where it is when the foot stands flat. The lowest
of the four clearances is 0 while a foot stands and grows in a jump; it is kept, in leg lengths, so
proportions of thigh, shin and foot never make a rig float or sink.
"""

from __future__ import annotations

import numpy as np

from animoe.retarget.alignment import CANONICAL_INDEX, RestMatch, leg_length
from animoe.retarget.quadratic import fast_multiply, rotated_constant, squares
from animoe.retarget.rig import Rig
from animoe.rig.canonical import canonical_skeleton
from animoe.rig.rotations import Array, inverse, rotate

_PELVIS = CANONICAL_INDEX["pelvis"]
_CHAIN = ("hip", "knee", "ankle", "foot")
_SIDES = ("left", "right")
LEGS = np.array([[CANONICAL_INDEX[f"{side}_{joint}"] for side in _SIDES] for joint in _CHAIN])  # (4, 2)


class FeetPlacer:
    """Hip heights for one rig.

    Args:
        rig: the target.
        match: its rest pose tied to the canonical one.

    Attributes:
        bones: (4, 2, 3) hip centre -> hip -> knee -> ankle -> toes of both legs of the rig, each in the space of the
            canonical joint that turns it. own_bones: the same of the canonical skeleton.
        rest_heights: (2, 2, 2) of ankles and toes, left and right, canonical and the rig's, when feet stand flat.
        hip_mismatch_m: how much farther out the rig's hips are than ours, scaled to its legs.
    """

    def __init__(self, rig: Rig, match: RestMatch) -> None:
        rest = canonical_skeleton().rest_model[1]
        centre = rest[LEGS[0]].mean(axis=0)
        own_bones = self.own_bones = np.diff(rest[LEGS], axis=0, prepend=np.broadcast_to(centre, (1, 2, 3)))
        bones = self.bones = _rig_bones(rig, match, own_bones)
        # (4, 2, 16, 2): height of each bone's end over its start from the squares of the rotation above it,
        # canonical and rig side by side.
        self._heights = np.stack(
            [
                [np.stack([rotated_constant(b[k, s])[:, 1] for b in (own_bones, bones)], axis=-1) for s in (0, 1)]
                for k in range(4)
            ]
        )
        self._ratio = match.leg_ratio
        self.hip_mismatch_m = float(np.abs(bones[0] - own_bones[0] * match.leg_ratio)[:, 0].max())
        self.rest_heights = np.stack([rest[LEGS[2:], 1], rest_heights(rig, match)], axis=-1)  # (2, 2, 2)

    def turns(self, local: Array) -> Array:
        """(n, 4, 2, 4) model rotations of pelvis, hip, knee and ankle of both legs, from canonical (n, 22, 4)."""
        turns = np.empty((len(local), 4, 2, 4))
        turns[:, 0] = local[:, _PELVIS, None]
        for k in range(3):
            turns[:, k + 1] = fast_multiply(turns[:, k], local[:, LEGS[k]])
        return turns

    def hip_heights(self, turns: Array, canonical_heights: Array) -> Array:
        """Heights (n,) of the rig's hip centre above the floor in metres.

        Args:
            turns: (n, 4, 2, 4) of `turns`.
            canonical_heights: (n,) metres of the canonical hip centre.
        """
        rises = np.matmul(squares(turns)[..., None, :], self._heights)[..., 0, :]  # (n, 4, 2, 2)
        ankles = rises[:, 0] + rises[:, 1] + rises[:, 2]
        below = np.stack([ankles, ankles + rises[:, 3]], axis=1) - self.rest_heights
        lowest = below.reshape(len(turns), 4, 2).min(axis=1)
        heights: Array = self._ratio * (canonical_heights + lowest[:, 0]) - lowest[:, 1]
        return heights


def _rig_bones(rig: Rig, match: RestMatch, own_bones: Array) -> Array:
    """(4, 2, 3) hip centre -> hip -> knee -> ankle -> toes of the rig, each in the space of the canonical
    joint that turns it. A rig without toes gets the canonical ones, scaled."""
    positions, bones = match.rest_positions, own_bones * match.leg_ratio
    hips = [rig.roles[f"{side}_hip"][0] for side in _SIDES]
    centre = positions[hips].mean(axis=0)
    for s, side in enumerate(_SIDES):
        start, turner = centre, _PELVIS
        for k, joint in enumerate(_CHAIN):
            role = f"{side}_{joint}"
            if role in rig.roles:
                end = positions[rig.roles[role][0]]
                bones[k, s] = rotate(inverse(match.match[turner]), end - start)
                start = end
            turner = CANONICAL_INDEX[role]
    return bones


def rest_heights(rig: Rig, match: RestMatch) -> Array:
    """(2, 2) heights in metres above the floor of the rig's ankles, then toes, left and right, when it stands at rest.

    A rig without toes gets the canonical ones, scaled.
    """
    rest = canonical_skeleton().rest_model[1]
    at = match.rest_positions[:, 1]
    heights: Array = rest[LEGS[2:], 1] * match.leg_ratio
    ankle, toe = heights[:, 0]
    ankles = [at[rig.roles[f"{side}_ankle"][0]] for side in _SIDES]
    toes = [at[rig.roles[f"{side}_foot"][0]] for side in _SIDES if f"{side}_foot" in rig.roles]
    lowest = min(*ankles, *toes)
    # Feet just above y = 0 stand on it; otherwise the root is not on the floor and soles are as thick as
    # ours.
    on_origin = 0 <= lowest < 0.5 * match.leg_ratio * leg_length(rest, CANONICAL_INDEX)
    floor = 0.0 if on_origin else min(min(ankles) - ankle, *(t - toe for t in toes))
    for s, side in enumerate(_SIDES):
        heights[0, s] = ankles[s] - floor
        if f"{side}_foot" in rig.roles:
            heights[1, s] = at[rig.roles[f"{side}_foot"][0]] - floor
    return heights
