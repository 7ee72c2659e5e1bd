"""What the canonical joints do when a rig moves: the way back from `chains`.

A role's canonical rotation is the change of its joint from the rest pose (see `alignment`):
    G_canonical[j] = W^-1 * G_rig[r] * G_rest[r]^-1 * match[j]
Spine and neck chains of any length are read where `chains` puts them: the n-th of N spine joints stands at n/N of the
way from pelvis to spine3, and canonical joints lie between the two joints next to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from animoe.retarget.alignment import CANONICAL_INDEX, RestMatch, facing
from animoe.retarget.rig import Rig
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
    turns |= _chain(rig, ("spine1", "spine2", "spine3"), _SPINE, turns, match, world_rotations)
    turns |= _chain(rig, ("neck",), _NECK, turns, match, world_rotations)
    parents = canonical_skeleton().parents
    for joint, role in enumerate(CANONICAL_JOINTS):
        if role not in turns:
            turns[role] = turns[CANONICAL_JOINTS[parents[joint]]]
    return np.stack([multiply(back, turns[role]) for role in CANONICAL_JOINTS], axis=1)


def _turn(joint: int, role: str, match: RestMatch, world_rotations: Array) -> Array:
    """(T, 4) of one joint, still in the rig's facing."""
    offset = multiply(inverse(match.rest_rotations[joint]), match.match[CANONICAL_INDEX[role]])
    return multiply(world_rotations[:, joint], offset)


def _chain(
    rig: Rig,
    roles: Sequence[str],
    keys: Sequence[str],
    turns: Mapping[str, Array],
    match: RestMatch,
    world_rotations: Array,
) -> dict[str, Array]:
    """Canonical joints between the ends of `keys`, read from a chain of rig joints: the chain's last joint is the last
    key, or stands a step before it where that is a joint of its own (the head)."""
    chain = sorted({joint for role in roles for joint in rig.roles.get(role, ())})
    apart = keys[-1] not in roles
    if keys[0] not in turns or not (chain or keys[-1] in turns):
        return {}
    known = [turns[keys[0]], *(_turn(joint, keys[-1], match, world_rotations) for joint in chain)]
    if apart and keys[-1] in turns:
        known.append(turns[keys[-1]])
    at = np.arange(len(known)) * (len(keys) - 1) / (len(chain) + apart)
    inner = keys[1:-1] if apart else keys[1:]
    return {key: _between(at, known, float(number)) for number, key in enumerate(inner, start=1)}


def _between(at: Array, known: Sequence[Array], place: float) -> Array:
    """(T, 4) at `place` along a chain whose rotations `known` stand at `at`; the last one beyond its end."""
    after = int(np.searchsorted(at, place - 1e-9))
    if after == len(known) or abs(at[after] - place) < 1e-9:
        return known[min(after, len(known) - 1)]
    part = (place - at[after - 1]) / (at[after] - at[after - 1])
    return slerp(known[after - 1], known[after], np.full(len(known[0]), part))
