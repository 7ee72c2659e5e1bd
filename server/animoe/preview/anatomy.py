"""Anatomy: where a skeleton has pelvis, chest, head and limbs, from names of sides, hierarchy and lengths.

Rest poses are not trusted beyond bone lengths: in many BVH files every bone of the rest pose points up.
(`animoe.retarget.roles` names joints precisely, for rigs that can be driven; pictures must work for all.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from animoe.rig.skeleton import Skeleton

CENTRE, LEFT, RIGHT = 0, 1, 2
_HELPER = re.compile(
    r"(^|[^a-z])(ik|ctrl|control|pole|target|socket|attach|weapon|helper|virtual|vb|handslot)([^a-z]|$)"
)
_SUBSTANTIAL = 0.3
"""A limb is at least this share of the longest limb; the rest are eyes, ribs, breasts."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What is where on one skeleton. Joints are indices; lengths are metres."""

    skeleton: Skeleton

    @cached_property
    def sides(self) -> list[int]:
        """Side of every joint: by name, else the parent's, else (no name tells a side) by the rest pose."""
        named = [side_of_name(n) for n in self.skeleton.joint_names]
        if LEFT not in named or RIGHT not in named:
            rest = self.skeleton.rest_model[1]
            x = rest[:, 0] - rest[0, 0]
            edge = 0.02 * float(np.ptp(rest, axis=0).max())
            named = [LEFT if v > edge else RIGHT if v < -edge else CENTRE for v in x]
        for joint, parent in enumerate(self.skeleton.parents):
            if parent >= 0 and named[joint] == CENTRE:
                named[joint] = named[parent]
        return named

    @cached_property
    def lengths(self) -> list[float]:
        """Length of the bone that ends in each joint."""
        lengths: list[float] = np.linalg.norm(self.skeleton.rest_translations, axis=-1).tolist()
        lengths[0] = 0.0
        return lengths

    @cached_property
    def helpers(self) -> list[bool]:
        """Joints that are, or hang below, controls and IK targets."""
        flags: list[bool] = []
        for name, parent in zip(self.skeleton.joint_names, self.skeleton.parents, strict=True):
            plain = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
            plain = re.sub(r"([A-Z])([A-Z][a-z])", r"\1_\2", plain).lower()
            plain = re.sub(r"([a-z])ik\b", r"\1_ik", plain)  # kneeIK.l
            flags.append(_HELPER.search(plain) is not None or (parent >= 0 and flags[parent]))
        return flags

    @cached_property
    def kids(self) -> list[list[int]]:
        """Children of every joint, without helpers."""
        return [[k for k in kids if not self.helpers[k]] for kids in self.skeleton.children]

    @cached_property
    def reach(self) -> list[float]:
        """Length of the longest chain that hangs below each joint."""
        reach = [0.0] * self.skeleton.joint_count
        for joint in range(self.skeleton.joint_count - 1, 0, -1):
            if not self.helpers[joint]:
                parent = int(self.skeleton.parents[joint])
                reach[parent] = max(reach[parent], reach[joint] + self.lengths[joint])
        return reach

    @cached_property
    def limbs(self) -> dict[int, dict[int, int]]:
        """Trunk joint -> side -> first joint of the limb there; only where both sides have one."""
        found: dict[int, dict[int, int]] = {}
        for joint, kids in enumerate(self.kids):
            if self.sides[joint] != CENTRE or self.helpers[joint]:
                continue
            for kid in kids:
                side = self.sides[kid]
                if side == CENTRE or len(self.chain(kid)) < 2:
                    continue
                best = found.setdefault(joint, {}).get(side)
                if best is None or self.reach[kid] > self.reach[best]:
                    found[joint][side] = kid
        pairs = {joint: sides for joint, sides in found.items() if len(sides) == 2}
        longest = max((self.reach[k] for sides in pairs.values() for k in sides.values()), default=0.0)
        return {
            joint: sides
            for joint, sides in pairs.items()
            if min(self.reach[k] for k in sides.values()) >= _SUBSTANTIAL * longest
        }

    @cached_property
    def pelvis(self) -> int:
        """The trunk joint that carries the legs: nearest to the root."""
        return min(self.limbs, key=lambda j: len(self.ancestors(j)), default=0)

    @cached_property
    def chest(self) -> int:
        """The trunk joint that carries the arms: farthest from the root."""
        return max(self.limbs, key=lambda j: len(self.ancestors(j)), default=0)

    @cached_property
    def spine(self) -> list[int]:
        """Joints from pelvis to chest; the way may lead up and down again through a common hip joint."""
        up, down = [*self.ancestors(self.pelvis), self.pelvis], [*self.ancestors(self.chest), self.chest]
        shared = [a for a, b in zip(up, down, strict=False) if a == b]
        return [*reversed(up[len(shared) :]), shared[-1], *down[len(shared) :]]

    @cached_property
    def head_chain(self) -> list[int]:
        """Chest, neck joints, head; only the chest when there is no head."""
        chain = [self.chest]
        while not _is_head(self.skeleton.joint_names[chain[-1]]):
            nexts = [k for k in self.kids[chain[-1]] if self.sides[k] == CENTRE and k not in self.spine]
            if not nexts:
                break
            chain.append(max(nexts, key=lambda k: (self._holds_head(k), self.reach[k] + self.lengths[k])))
        return chain

    def ancestors(self, joint: int) -> list[int]:
        """From the root down to the parent of `joint`."""
        line: list[int] = []
        while (joint := int(self.skeleton.parents[joint])) >= 0:
            line.append(joint)
        return line[::-1]

    def chain(self, joint: int) -> list[int]:
        """`joint` and, each time, the child with the longest chain, down to a leaf."""
        line = [joint]
        while self.kids[line[-1]]:
            line.append(max(self.kids[line[-1]], key=lambda k: self.reach[k] + self.lengths[k]))
        return line

    def below(self, joint: int) -> list[int]:
        """All joints under `joint`, parents first."""
        line = list(self.kids[joint])
        for kid in line:
            line.extend(self.kids[kid])
        return line

    def _holds_head(self, joint: int) -> bool:
        return any(_is_head(self.skeleton.joint_names[j]) for j in (joint, *self.below(joint)))


def side_of_name(name: str) -> int:
    """LEFT, RIGHT or CENTRE from a joint name: LeftArm, hand_l, L_Wrist, mixamorig:RightFoot, Bip01 R Toe."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name.rsplit(":", 1)[-1])
    words = re.sub(r"([A-Z])([A-Z][a-z])", r"\1 \2", words)
    for word in re.split(r"[^A-Za-z]+", words):
        low = word.lower()
        if low == "l" or low.startswith("left") or low.endswith("left"):
            return LEFT
        if low == "r" or low.startswith("right") or low.endswith("right"):
            return RIGHT
    return CENTRE


def _is_head(name: str) -> bool:
    return name.rsplit(":", 1)[-1].lower().endswith("head")
