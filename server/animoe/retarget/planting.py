"""Standing feet stay where they are: the lock's offsets (`foot_lock`) put into the legs by two-bone IK.

It works on the canonical rotations before they are copied to the rig, but with the rig's own bones: so twist joints,
mirrored axes and engine frames need no second thought. Feet keep their orientation, knees their plane. When a held
foot lies beyond the leg's reach the hips come down a little. On rigs with hips unlike ours, whose feet would slide with
every turn of the pelvis, the body also follows its standing feet off the source's path.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from animoe.retarget.feet import LEGS, FeetPlacer
from animoe.retarget.foot_lock import FootLock, Point
from animoe.retarget.quadratic import fast_multiply, rotated_constant, squares
from animoe.retarget.two_bone import STRAIGHT, bend_to, conjugate
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array

_LARGEST_DROP = 0.08  # of the leg
_HINGE = np.array([1.0, 0.0, 0.0])  # a canonical knee bends about +X
_FARTHEST = 0.14
"""In leg lengths: how far a held foot may be from its source. Rigs with other hips than ours get as much more: their
feet swing wider with every turn of the pelvis."""
_STILL_M = 1e-5
_ODD_HIPS = 0.05
"""In leg lengths: from this much mismatch of the hips on, the body follows its standing feet."""
_FOLLOW_PER_S = 8.0


class Stance:
    """The feet of one character, and how far its body has left the source's path to stay over them.

    Args:
        leg_m, farthest_m: as `FootLock`.
        follow: how fast the body follows its standing feet, share per frame; 0 keeps the source's path.
    """

    def __init__(self, leg_m: float, farthest_m: float, follow: float) -> None:
        self.feet = (FootLock(leg_m, farthest_m), FootLock(leg_m, farthest_m))
        self.path = (0.0, 0.0)
        self._follow = follow

    def copy(self) -> Stance:
        """As it is now."""
        found = copy(self)
        found.feet = (copy(self.feet[0]), copy(self.feet[1]))  # a foot's fields are numbers and tuples of them
        return found

    def advance(self, place: list[list[list[float]]], chance: list[float]) -> tuple[Point, Point]:
        """The next frame: ankle and toes of both feet on the floor, four contacts -> what to add to each foot.

        The places are the source's; the offsets are from where they are on the character's own path.
        """
        x, z = self.path
        offsets = []
        for foot, (ankle, toes), ankle_contact, toe_contact in zip(
            self.feet, place, chance[::2], chance[1::2], strict=True
        ):
            here = ((ankle[0] + x, ankle[1] + z), (toes[0] + x, toes[1] + z))
            offsets.append(foot.advance(*here, ankle_contact, toe_contact))
        standing = [offset for foot, offset in zip(self.feet, offsets, strict=True) if foot.standing]
        if self._follow and standing:
            share = self._follow / len(standing)
            self.path = (x + share * sum(o[0] for o in standing), z + share * sum(o[1] for o in standing))
        return offsets[0], offsets[1]


class Planting:
    """Foot locking for one rig.

    Args:
        feet: its legs.

    Attributes:
        leg_m: mean length of its legs. reach: (2,) of each. farthest_m, follow: as in `Stance`.
    """

    def __init__(self, feet: FeetPlacer) -> None:
        self._bones = np.stack([[rotated_constant(bone) for bone in level] for level in feet.bones])  # (4, 2, 16, 3)
        self._hinge = rotated_constant(_HINGE)
        lengths = np.linalg.norm(feet.bones[1:3], axis=-1)  # (2, 2) thigh, shin
        self.reach = lengths.sum(axis=0)
        self.leg_m = float(self.reach.mean())
        self.farthest_m = _FARTHEST * self.leg_m + feet.hip_mismatch_m
        odd = feet.hip_mismatch_m > _ODD_HIPS * self.leg_m
        self.follow = _FOLLOW_PER_S / FRAME_RATE_HZ if odd else 0.0

    def start(self) -> Stance:
        """A new character."""
        return Stance(self.leg_m, self.farthest_m, self.follow)

    def apply(
        self, local: Array, turns: Array, centres: Array, contacts: Array, states: Sequence[Stance]
    ) -> tuple[Array, Array, Array]:
        """Plants the feet of C characters over n frames each; N = C * n rows, character by character.

        Args:
            local: (N, 22, 4) canonical rotations. turns: (N, 4, 2, 4) of `FeetPlacer.turns`.
            centres: (N, 3) hip centre of the rig in the world, metres. contacts: (N, 4).
            states: of the C characters, moved on.

        Returns:
            local rotations and centres with standing feet (the inputs are not changed), and (N, 2) how far the path on
            the floor has left the source's.
        """
        square = squares(turns)
        arms = np.matmul(square[..., None, :], self._bones)[..., 0, :]  # (N, 4, 2, 3)
        hips = centres[:, None] + arms[:, 0]
        legs = arms[:, 1] + arms[:, 2]
        ankles = hips + legs
        floor = np.stack([ankles, ankles + arms[:, 3]], axis=2)[..., [0, 2]]  # (N, 2, 2 joints, 2)
        offsets, path = self._offsets(floor, contacts, states)
        still = (np.abs(offsets).max(axis=(1, 2), initial=0.0) < _STILL_M) & ~path.any(axis=1)
        if still.all():
            return local, centres, path
        target = legs.copy()
        target[..., [0, 2]] += offsets
        drop = self._drop(legs, target)
        before, centres = centres, centres.copy()
        centres[:, 1] -= drop
        centres[:, [0, 2]] += path
        target[..., 1] += drop[:, None]
        hinges = square[:, 1] @ self._hinge
        bones = np.stack([arms[:, 1], arms[:, 2]], axis=-2)
        thigh, shin, _ = bend_to(turns[:, 1], turns[:, 2], bones, hinges, legs, target)
        back = conjugate(np.stack([turns[:, 0], thigh, shin], axis=1))
        found = local.copy()
        planted = fast_multiply(back, np.stack([thigh, shin, turns[:, 3]], axis=1))
        # A frame with nothing to do stays as it is, whatever others need: company must not change it.
        found[:, LEGS[:3]] = np.where(still[:, None, None, None], local[:, LEGS[:3]], planted)
        return found, np.where(still[:, None], before, centres), path

    def _offsets(self, floor: Array, contacts: Array, states: Sequence[Stance]) -> tuple[Array, Array]:
        """(N, 2, 2) what the locks add to ankles and toes (N, 2, 2, 2) on the floor, and (N, 2) of the path."""
        offsets, path = [], []
        each = len(floor) // max(len(states), 1)
        for row, (place, chance) in enumerate(zip(floor.tolist(), contacts.tolist(), strict=True)):
            state = states[row // each]
            path.append(state.path)
            offsets.append(state.advance(place, chance))
        return np.array(offsets).reshape(-1, 2, 2), np.array(path).reshape(-1, 2)

    def _drop(self, legs: Array, target: Array) -> Array:
        """(N,) metres that the hips come down so that every target lies within reach."""
        reach = np.maximum(np.sqrt(np.einsum("nsi,nsi->ns", legs, legs)), STRAIGHT * self.reach)
        level = target[..., 0] ** 2 + target[..., 2] ** 2
        highest = np.sqrt(np.maximum(reach**2 - level, 0.0))
        drop: Array = np.clip(-target[..., 1] - highest, 0.0, _LARGEST_DROP * self.leg_m).max(axis=1)
        return drop
