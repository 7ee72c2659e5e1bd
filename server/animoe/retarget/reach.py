"""Hands where they belong: the source's hand places, scaled to the rig, instead of its arm angles alone.

A rig with longer arms that copies the angles of hands on hips has its hands beside its hips. Here each hand's place
relative to the middle of the shoulders is scaled by the length of the arms, and the arm bends to it.
"""

from __future__ import annotations

import numpy as np

from animoe.retarget.alignment import CANONICAL_INDEX, RestMatch
from animoe.retarget.quadratic import fast_multiply, rotated_constant, squares
from animoe.retarget.rig import Rig
from animoe.retarget.two_bone import bend_to, conjugate
from animoe.rig.canonical import canonical_skeleton
from animoe.rig.rotations import Array, inverse, rotate

_SIDES = ("left", "right")
_SPINE = [CANONICAL_INDEX[name] for name in ("pelvis", "spine1", "spine2", "spine3")]
_ARM = np.array([[CANONICAL_INDEX[f"{side}_{j}"] for side in _SIDES] for j in ("collar", "shoulder", "elbow", "wrist")])


class Reaching:
    """Arm correction for one rig.

    Args:
        rig: the target. match: its rest pose tied to the canonical one.
        amount: 0 to 1, how much of the way to the scaled place.
    """

    def __init__(self, rig: Rig, match: RestMatch, amount: float) -> None:
        self._amount = amount
        own = self._own_bones()
        theirs = _rig_bones(rig, match, own)
        self._bones = [
            np.stack([[rotated_constant(bone) for bone in level] for level in bones]) for bones in (own, theirs)
        ]  # each (4, 2, 16, 3): middle of the shoulders -> collar -> shoulder -> elbow -> wrist
        sizes = [np.linalg.norm(bones[2:], axis=-1).sum() for bones in (own, theirs)]
        self._ratio = float(sizes[1] / sizes[0])
        # An elbow of the T-pose bends forwards: left about -Y, right about +Y.
        self._hinges = np.stack([rotated_constant(np.array([0.0, sign, 0.0])) for sign in (-1.0, 1.0)])

    def apply(self, local: Array) -> Array:
        """(n, 22, 4) canonical rotations with shoulders, elbows and wrists changed; hands keep their orientation."""
        chest = local[:, _SPINE[0]]
        for joint in _SPINE[1:]:
            chest = fast_multiply(chest, local[:, joint])
        turns = np.empty((len(local), 5, 2, 4))
        turns[:, 0] = chest[:, None]
        for k in range(4):
            turns[:, k + 1] = fast_multiply(turns[:, k], local[:, _ARM[k]])
        square = squares(turns[:, :4])
        own, theirs = (np.matmul(square[..., None, :], bones)[..., 0, :] for bones in self._bones)
        place = own.sum(axis=1) * self._ratio  # hand from the middle of the shoulders, scaled
        start = theirs[:, 0] + theirs[:, 1]
        source = theirs[:, 2] + theirs[:, 3]
        target = source + self._amount * (place - start - source)
        bones = np.stack([theirs[:, 2], theirs[:, 3]], axis=-2)
        hinges = np.matmul(square[:, 2, :, None, :], self._hinges)[..., 0, :]
        upper, lower, _ = bend_to(turns[:, 2], turns[:, 3], bones, hinges, source, target)
        found = local.copy()
        found[:, _ARM[1]] = fast_multiply(conjugate(turns[:, 1]), upper)
        found[:, _ARM[2]] = fast_multiply(conjugate(upper), lower)
        found[:, _ARM[3]] = fast_multiply(conjugate(lower), turns[:, 4])
        return found

    @staticmethod
    def _own_bones() -> Array:
        """(4, 2, 3) middle of the shoulders -> collar -> shoulder -> elbow -> wrist at rest."""
        rest = canonical_skeleton().rest_model[1]
        middle = rest[_ARM[1]].mean(axis=0)
        bones: Array = np.diff(rest[_ARM], axis=0, prepend=np.broadcast_to(middle, (1, 2, 3)))
        return bones


def _rig_bones(rig: Rig, match: RestMatch, own: Array) -> Array:
    """The same of the rig, each bone in the space of the canonical joint that turns it; no clavicle = no length."""
    positions, bones = match.rest_positions, own.copy()
    middle = positions[[rig.roles[f"{side}_shoulder"][0] for side in _SIDES]].mean(axis=0)
    turners = ("spine3", "collar", "shoulder", "elbow")
    for s, side in enumerate(_SIDES):
        start = middle
        for k, joint in enumerate(("collar", "shoulder", "elbow", "wrist")):
            role = f"{side}_{joint}"
            end = positions[rig.roles[role][0]] if role in rig.roles else start
            turner = CANONICAL_INDEX[turners[k] if k == 0 else f"{side}_{turners[k]}"]
            bones[k, s] = rotate(inverse(match.match[turner]), end - start)
            start = end
    return bones
