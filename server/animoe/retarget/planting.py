"""Standing feet stay where they are: the lock's offsets (`foot_lock`) put into the legs by two-bone IK.

It works on the canonical rotations before they are copied to the rig, but with the rig's own bones: so twist joints,
mirrored axes and engine frames need no second thought. Feet keep their orientation, knees their plane. When a held
foot lies beyond the leg's reach the hips come down a little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animoe.retarget.feet import LEGS, FeetPlacer
from animoe.retarget.foot_lock import FootLock
from animoe.retarget.quadratic import fast_multiply, rotated_constant, squares
from animoe.retarget.two_bone import STRAIGHT, bend_to, conjugate
from animoe.rig.rotations import Array

_LARGEST_DROP = 0.08  # of the leg
_HINGE = np.array([1.0, 0.0, 0.0])  # a canonical knee bends about +X
_FARTHEST = 0.14
"""In leg lengths: how far a held foot may be from its source. Rigs with other hips than ours get as much more: their
feet swing wider with every turn of the pelvis."""
_STILL_M = 1e-5

Feet = tuple[FootLock, FootLock]
"""Left and right foot of one character."""


class Planting:
    """Foot locking for one rig.

    Args:
        feet: its legs.
    """

    def __init__(self, feet: FeetPlacer) -> None:
        self._bones = np.stack([[rotated_constant(bone) for bone in level] for level in feet.bones])  # (4, 2, 16, 3)
        self._hinge = rotated_constant(_HINGE)
        lengths = np.linalg.norm(feet.bones[1:3], axis=-1)  # (2, 2) thigh, shin
        self._reach = lengths.sum(axis=0)
        self.leg_m = float(self._reach.mean())
        self._farthest = _FARTHEST * self.leg_m + feet.hip_mismatch_m

    def start(self) -> Feet:
        """Both feet of a new character."""
        return FootLock(self.leg_m, self._farthest), FootLock(self.leg_m, self._farthest)

    def apply(
        self, local: Array, turns: Array, centres: Array, contacts: Array, states: Sequence[Feet]
    ) -> tuple[Array, Array]:
        """Plants the feet of C characters over n frames each; N = C * n rows, character by character.

        Args:
            local: (N, 22, 4) canonical rotations. turns: (N, 4, 2, 4) of `FeetPlacer.turns`.
            centres: (N, 3) hip centre of the rig in the world, metres. contacts: (N, 4).
            states: of the C characters, moved on.

        Returns:
            local rotations and centres with standing feet (the inputs are not changed).
        """
        square = squares(turns)
        arms = np.matmul(square[..., None, :], self._bones)[..., 0, :]  # (N, 4, 2, 3)
        hips = centres[:, None] + arms[:, 0]
        legs = arms[:, 1] + arms[:, 2]
        ankles = hips + legs
        floor = np.stack([ankles, ankles + arms[:, 3]], axis=2)[..., [0, 2]]  # (N, 2, 2 joints, 2)
        offsets = self._offsets(floor, contacts, states)
        if np.abs(offsets).max(initial=0.0) < _STILL_M:
            return local, centres
        target = legs.copy()
        target[..., [0, 2]] += offsets
        drop = self._drop(legs, target)
        centres = centres.copy()
        centres[:, 1] -= drop
        target[..., 1] += drop[:, None]
        hinges = square[:, 1] @ self._hinge
        bones = np.stack([arms[:, 1], arms[:, 2]], axis=-2)
        thigh, shin, _ = bend_to(turns[:, 1], turns[:, 2], bones, hinges, legs, target)
        back = conjugate(np.stack([turns[:, 0], thigh, shin], axis=1))
        found = local.copy()
        found[:, LEGS[:3]] = fast_multiply(back, np.stack([thigh, shin, turns[:, 3]], axis=1))
        return found, centres

    def _offsets(self, floor: Array, contacts: Array, states: Sequence[Feet]) -> Array:
        """(N, 2, 2) what the locks add to ankles and toes (N, 2, 2, 2) on the floor."""
        found = []
        each = len(floor) // max(len(states), 1)
        places, chances = floor.tolist(), contacts.tolist()
        for row, (place, chance) in enumerate(zip(places, chances, strict=True)):
            left, right = states[row // each]
            found.append(
                (
                    left.advance(place[0][0], place[0][1], chance[0], chance[1]),
                    right.advance(place[1][0], place[1][1], chance[2], chance[3]),
                )
            )
        return np.array(found).reshape(-1, 2, 2)

    def _drop(self, legs: Array, target: Array) -> Array:
        """(N,) metres that the hips come down so that every target lies within reach."""
        reach = np.maximum(np.sqrt(np.einsum("nsi,nsi->ns", legs, legs)), STRAIGHT * self._reach)
        level = target[..., 0] ** 2 + target[..., 2] ** 2
        highest = np.sqrt(np.maximum(reach**2 - level, 0.0))
        drop: Array = np.clip(-target[..., 1] - highest, 0.0, _LARGEST_DROP * self.leg_m).max(axis=1)
        return drop
