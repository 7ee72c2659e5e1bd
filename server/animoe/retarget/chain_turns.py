"""What the canonical joints do when a rig moves: the way back from `chains`.

A role's canonical rotation is the change of its joint from the rest pose (see `alignment`):
    G_canonical[j] = W^-1 * G_rig[r] * G_rest[r]^-1 * match[j]
Spine and neck chains of any length are read where `chains` puts them: the n-th of N spine joints stands at n/N of the
way from pelvis to spine3, and canonical joints lie between the two joints next to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animoe.retarget.alignment import CANONICAL_INDEX, RestMatch, facing
from animoe.retarget.rig import Rig
from animoe.retarget.topology import SPINE_ROLES
from animoe.rig.canonical import CANONICAL_JOINTS, canonical_skeleton
from animoe.rig.rotations import Array, inverse, multiply, slerp

_SPINE = ("pelvis", "spine1", "spine2", "spine3")
_NECK = ("spine3", "neck", "head")


def canonical_turns(rig: Rig, match: RestMatch, world_rotations: Array) -> Array:
    """Model rotations (T, 22, 4) of the canonical joints from a rig's world rotations (T, J, 4).

    A role that the rig lacks turns with its canonical parent.
    """
    back = inverse(facing(match.body))
    turns = {role: _turn(joints[-1], role, match, world_rotations) for role, joints in rig.roles.items()}
    spine = sorted({joint for role in SPINE_ROLES for joint in rig.roles.get(role, ())})
    turns |= read_spine(turns["pelvis"], [_turn(joint, "spine3", match, world_rotations) for joint in spine])
    neck = [_turn(joint, "neck", match, world_rotations) for joint in sorted(rig.roles.get("neck", ()))]
    turns |= read_neck(turns.get("spine3", turns["pelvis"]), neck, turns.get("head"))
    parents = canonical_skeleton().parents
    for joint, role in enumerate(CANONICAL_JOINTS):
        if role not in turns:
            turns[role] = turns[CANONICAL_JOINTS[parents[joint]]]
    return np.stack([multiply(back, turns[role]) for role in CANONICAL_JOINTS], axis=1)


def _turn(joint: int, role: str, match: RestMatch, world_rotations: Array) -> Array:
    """(T, 4) of one joint, still in the rig's facing."""
    offset = multiply(inverse(match.rest_rotations[joint]), match.match[CANONICAL_INDEX[role]])
    return multiply(world_rotations[:, joint], offset)


def read_spine(pelvis: Array, chain: Sequence[Array]) -> dict[str, Array]:
    """Rotations (T, 4) of spine1 to spine3 from those of the pelvis and of all spine joints; empty without any."""
    return _read(_SPINE[1:], [pelvis, *chain], len(chain)) if chain else {}


def read_neck(chest: Array, chain: Sequence[Array], head: Array | None) -> dict[str, Array]:
    """Rotation (T, 4) of the neck from those of spine3, of all neck joints and of the head, as far as there are any."""
    known = [chest, *chain] if head is None else [chest, *chain, head]
    return _read(_NECK[1:-1], known, len(chain) + 1) if len(known) > 1 else {}


def _read(keys: Sequence[str], known: Sequence[Array], steps: int) -> dict[str, Array]:
    """What stands at 1, 2, ... of a chain whose rotations `known` stand `steps` to its whole length, the first at 0."""
    length = 3 if keys[-1] == _SPINE[-1] else 2
    at = np.arange(len(known)) * length / steps
    return {key: _between(at, known, float(number)) for number, key in enumerate(keys, start=1)}


def _between(at: Array, known: Sequence[Array], place: float) -> Array:
    """(T, 4) at `place` along a chain whose rotations `known` stand at `at`; the last one beyond its end."""
    after = int(np.searchsorted(at, place - 1e-9))
    if after == len(known) or abs(at[after] - place) < 1e-9:
        return known[min(after, len(known) - 1)]
    part = (place - at[after - 1]) / (at[after] - at[after - 1])
    return slerp(known[after - 1], known[after], np.full(len(known[0]), part))
