"""How each joint of a rig gets its rotation from canonical ones: as a product of powers of canonical local
rotations.

A rig joint turns with a canonical joint, or with a point between two of them (spine and neck chains of any
length). That point's model rotation is the product of local rotations from the pelvis outwards, the last one
in part:
    G = l[pelvis] * l[spine1] * l[spine2]^0.4
so the turn of a rig joint relative to its driven parent is what remains when the common start cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from animoe.retarget.alignment import CANONICAL_INDEX
from animoe.retarget.rig import Rig
from animoe.retarget.topology import is_ancestor
from animoe.rig.canonical import canonical_skeleton

Factor = tuple[int, float]
"""Canonical joint and the power of its local rotation."""

_SPINE = ("pelvis", "spine1", "spine2", "spine3")
_NECK = ("spine3", "neck", "head")


@dataclass(frozen=True)
class Drive:
    """What drives one rig joint.

    Attributes:
        joint: rig joint index.
        parent: nearest driven joint above it, -1 when there is none.
        role: canonical joint whose match applies.
        path: factors of its model rotation, from the canonical pelvis outwards.
    """

    joint: int
    parent: int
    role: int
    path: tuple[Factor, ...]


def drives(rig: Rig) -> tuple[Drive, ...]:
    """One drive per joint that canonical motion moves, parents before children."""
    paths = {joints[0]: (role, _path(role)) for role, joints in rig.roles.items()}
    paths.update(_spread(rig, ("spine1", "spine2", "spine3"), _SPINE, reaches_end=True))
    # The neck shares the turn from chest to head; its only joint follows the canonical neck.
    paths.update(_spread(rig, ("neck",), _NECK, reaches_end=False))
    parents = rig.skeleton.parents
    found = []
    for joint in sorted(paths):
        above = [j for j in paths if is_ancestor(parents, j, joint)]
        role, path = paths[joint]
        found.append(Drive(joint, max(above, default=-1), CANONICAL_INDEX[role], path))
    return tuple(found)


def remainder(above: Sequence[Factor], path: Sequence[Factor]) -> tuple[Factor, ...]:
    """Factors of above^-1 * path, shortened by their common start."""
    same = 0
    while same < min(len(above), len(path)) and above[same] == path[same]:
        same += 1
    rest, ahead = list(above[same:]), list(path[same:])
    if len(rest) == 1 and ahead and rest[0][0] == ahead[0][0]:  # two parts of one turn
        share = ahead[0][1] - rest[0][1]
        return ((ahead[0][0], share), *ahead[1:])
    return (*((joint, -weight) for joint, weight in reversed(rest)), *ahead)


def _path(role: str) -> tuple[Factor, ...]:
    parents = canonical_skeleton().parents
    joint, path = CANONICAL_INDEX[role], []
    while joint >= 0:
        path.append((joint, 1.0))
        joint = int(parents[joint])
    return tuple(reversed(path))


def _spread(
    rig: Rig, roles: Sequence[str], keys: Sequence[str], reaches_end: bool
) -> Mapping[int, tuple[str, tuple[Factor, ...]]]:
    """Spreads a chain of n joints evenly over the canonical joints `keys`; the n-th reaches the last key
    when `reaches_end`, else one step more (the head) does."""
    chain = sorted({joint for role in roles for joint in rig.roles.get(role, ())})
    steps = len(chain) if reaches_end else len(chain) + 1
    spread = {}
    for number, joint in enumerate(chain, start=1):
        at = number * (len(keys) - 1) / steps
        whole = min(int(at + 1e-9), len(keys) - 1)
        part = at - whole
        path = _path(keys[whole])
        if part > 1e-9:
            path = (*path, (CANONICAL_INDEX[keys[whole + 1]], part))
        spread[joint] = (keys[whole], path)
    return spread
