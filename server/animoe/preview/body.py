"""Body: which round cones are drawn for a skeleton, and how thick.

Built once per skeleton. The end points of every cone are linear combinations of joint positions, so a pose is
drawn from joint positions alone and even points no rig has (toes, fingertips, the crown) follow the motion.
Sizes below are metres on an adult whose joints span ADULT_SPAN_M and scale with the skeleton.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from animoe.errors import IncompatibleSkeleton
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

CENTRE, LEFT, RIGHT = 0, 1, 2
ADULT_SPAN_M = 1.55
_HELPER = re.compile(r"(^|[^a-z])(ik|ctrl|control|pole|target|socket|attach|weapon|helper|virtual|vb|nub)([^a-z]|$)")
_LONGEST_BONE_M = 0.70
"""A longer bone (on an adult) is a helper's, not a limb's."""
# Metres along the limb from the trunk, and the radius there: hip or shoulder, knee or elbow, ankle or wrist.
_LEG = ([0.1, 0.20, 0.50, 0.62, 0.88, 1.05], [0.084, 0.082, 0.056, 0.054, 0.036, 0.031])
_ARM = ([0.1, 0.20, 0.40, 0.47, 0.66, 0.80], [0.056, 0.054, 0.041, 0.042, 0.029, 0.026])
TRUNK, OTHER = 0, 1

Point = dict[int, float]
"""Joint index -> weight; weights sum to 1."""


@dataclass(frozen=True, eq=False)
class Body:
    """S round cones that stand for a character.

    Attributes:
        weights: (S, 2, J) float32: cone ends = weights @ joint positions.
        radii: (S, 2) float32 metres at the two ends.
        tints: (S,) CENTRE, LEFT or RIGHT.
        trunk: (S,) bool: part of the trunk, whose cones are shaded as one smooth surface.
        span_m: largest extent of the drawn joints in the rest pose.
        pelvis: joint where the legs meet; the camera follows it.
        across: (P, 2) pairs of left and right joints that tell which way the character faces; may be empty.
        feet: joints at the end of the legs, for contact marks.
    """

    weights: Array
    radii: Array
    tints: Array
    trunk: Array
    span_m: float
    pelvis: int
    across: Array
    feet: tuple[int, ...]

    @classmethod
    def of(cls, skeleton: Skeleton) -> Body:
        """The body of any skeleton, from its joint names, hierarchy and rest pose.

        Raises:
            IncompatibleSkeleton: all joints lie in one point.
        """
        return _Builder(skeleton).build()

    def cones(self, positions_m: Array) -> tuple[Array, Array]:
        """Joint positions (J, 3) -> cone start points (S, 3) and end points (S, 3), float32 metres."""
        ends = self.weights @ np.asarray(positions_m, dtype=np.float32)
        return ends[:, 0], ends[:, 1]

    def facing(self, positions_m: Array) -> float:
        """Yaw in radians about +Y (0 = +Z) that the character faces in joint positions (T, J, 3), averaged."""
        if not len(self.across):
            return 0.0
        left, right = positions_m[:, self.across[:, 0]], positions_m[:, self.across[:, 1]]
        side = (left - right).sum(axis=1)
        forward = np.stack([-side[:, 2], side[:, 0]], axis=-1)  # (T, 2) x and z of side x up
        forward = forward / np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9)
        x, z = forward.mean(axis=0)
        if np.hypot(x, z) < 0.2:  # it turns all the way round: keep the first direction
            x, z = forward[0]
        return float(np.arctan2(x, z))


def side_of_name(name: str) -> int:
    """LEFT, RIGHT or CENTRE from a joint name such as LeftArm, hand_l, L_Wrist, mixamorig:RightFoot, Bip01 R Toe."""
    base = name.rsplit(":", 1)[-1]
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", base)
    words = re.sub(r"([A-Z])([A-Z][a-z])", r"\1 \2", words)
    for word in re.split(r"[^A-Za-z]+", words):
        low = word.lower()
        if low == "l" or low.startswith("left") or low.endswith("left"):
            return LEFT
        if low == "r" or low.startswith("right") or low.endswith("right"):
            return RIGHT
    return CENTRE


class _Builder:
    """Finds trunk, head and limbs of one skeleton and collects cones."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self.parents = skeleton.parents
        self.rest = skeleton.rest_model[1]
        self.sides = self._sides()
        self.trunk = self._trunk()
        self.pelvis = self._pelvis()
        self.drawn = self._drawn()
        shown = self.rest[self.drawn]
        self.span = float(np.ptp(shown, axis=0).max()) if len(shown) else 0.0
        if self.span <= 1e-9:
            raise IncompatibleSkeleton("all joints of the rest pose lie in one point; there is nothing to draw")
        self.unit = self.span / ADULT_SPAN_M
        self.items: list[tuple[Point, Point, float, float, int, int]] = []
        self.fingers: set[int] = set()

    def build(self) -> Body:
        self._add_trunk()
        self._add_head()
        self._add_limbs()
        if not self.items:
            self._add(self.pelvis_point, self.pelvis_point, 0.1, 0.1, CENTRE)
        weights = np.zeros((len(self.items), 2, self.skeleton.joint_count), dtype=np.float32)
        for row, (start, end, *_rest) in enumerate(self.items):
            for which, point in enumerate((start, end)):
                for joint, weight in point.items():
                    weights[row, which, joint] += weight
        radii = np.array([item[2:4] for item in self.items], dtype=np.float32) * np.float32(self.unit)
        tints = np.array([item[4] for item in self.items])
        trunk = np.array([item[5] == TRUNK for item in self.items])
        across = np.array(self._pairs(), dtype=np.int64).reshape(-1, 2)
        return Body(weights, radii, tints, trunk, self.span, self.pelvis, across, self._feet())

    @property
    def pelvis_point(self) -> Point:
        return {self.pelvis: 1.0}

    def _add(self, start: Point, end: Point, r0: float, r1: float, tint: int, group: int = OTHER) -> None:
        self.items.append((start, end, r0, r1, tint, group))

    def _sides(self) -> list[int]:
        """Side of every joint: by name, else the parent's, else (no name says a side) by the rest pose."""
        named = [side_of_name(n) for n in self.skeleton.joint_names]
        if LEFT not in named or RIGHT not in named:
            x = self.rest[:, 0] - self.rest[0, 0]
            edge = 0.02 * max(float(np.ptp(self.rest, axis=0).max()), 1e-9)
            named = [LEFT if v > edge else RIGHT if v < -edge else CENTRE for v in x]
        for joint, parent in enumerate(self.parents):
            if parent >= 0 and named[joint] == CENTRE:
                named[joint] = named[parent]
        return named

    def _trunk(self) -> list[bool]:
        """Centre joints that carry both a left and a right limb somewhere below them."""
        below: list[set[int]] = [{side} for side in self.sides]
        for joint in range(self.skeleton.joint_count - 1, 0, -1):
            below[self.parents[joint]] |= below[joint]
        return [side == CENTRE and {LEFT, RIGHT} <= b for side, b in zip(self.sides, below, strict=True)]

    def _pelvis(self) -> int:
        """First trunk joint from the root down that has limbs of both sides as children."""
        found = []
        for joint, kids in enumerate(self.skeleton.children):
            sides = {self.sides[k] for k in kids if not self._is_helper(k)}
            if self.trunk[joint] and {LEFT, RIGHT} <= sides:
                found.append(joint)
        # The root may carry IK targets of both sides; prefer a joint that carries a spine besides its two legs.
        with_spine = [j for j in found if any(self.trunk[k] for k in self.skeleton.children[j])]
        below_root = [j for j in with_spine if not any(k in with_spine for k in self.skeleton.children[j])]
        return (below_root or with_spine or found or [0])[0]

    def _is_helper(self, joint: int) -> bool:
        name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", self.skeleton.joint_names[joint]).lower()
        return _HELPER.search(name) is not None

    def _drawn(self) -> list[int]:
        """Joints at or below the pelvis that are not helpers, nor below one."""
        inside = [False] * self.skeleton.joint_count
        for joint, parent in enumerate(self.parents):
            under = joint == self.pelvis or (parent >= 0 and inside[parent])
            inside[joint] = under and not (joint != self.pelvis and self._is_helper(joint))
        return [j for j, shown in enumerate(inside) if shown]

    def _kids(self, joint: int) -> list[int]:
        shown = set(self.drawn)
        return [k for k in self.skeleton.children[joint] if k in shown]

    def _length(self, joint: int) -> float:
        """Length of the bone that ends in `joint`, in adult metres."""
        return float(np.linalg.norm(self.rest[joint] - self.rest[self.parents[joint]])) / self.unit

    def _limb_roots(self, attach: int) -> Iterator[tuple[int, int]]:
        """(side, first joint away from the mid line) of the limbs on a trunk joint."""
        for kid in self._kids(attach):
            if self.sides[kid] == CENTRE:
                continue
            joint = kid
            while self._length(joint) < 0.02 and len(self._kids(joint)) == 1:  # CMU's zero-length hip joints
                joint = self._kids(joint)[0]
            yield self.sides[kid], joint

    def _spine(self) -> list[int]:
        """Trunk joints from the pelvis up to the one that carries the arms."""
        chain = [self.pelvis]
        while nexts := [k for k in self._kids(chain[-1]) if self.trunk[k]]:
            chain.append(max(nexts, key=lambda k: self.rest[k, 1]))
        return chain

    def _add_trunk(self) -> None:
        chain = self._spine()
        heights = np.concatenate([[0.0], np.cumsum([self._length(j) for j in chain[1:]])])
        at = heights / max(heights[-1], 1e-9)
        core = np.interp(at, [0.0, 0.4, 0.85, 1.0], [0.100, 0.090, 0.104, 0.098])
        for (a, b), (r0, r1) in zip(
            zip(chain, chain[1:], strict=False), zip(core, core[1:], strict=False), strict=True
        ):
            self._add({a: 1.0}, {b: 1.0}, r0, r1, CENTRE, TRUNK)
        self._add_flanks(chain)

    def _add_flanks(self, chain: list[int]) -> None:
        """Gives the trunk its width: one cone per side from hip to armpit, and the hips across."""
        top = chain[-1]
        hips = dict(self._limb_roots(self.pelvis))
        arms = dict(self._limb_roots(top)) if top != self.pelvis else {}
        if {LEFT, RIGHT} <= hips.keys():
            self._add({hips[LEFT]: 1.0}, {hips[RIGHT]: 1.0}, 0.087, 0.087, CENTRE, TRUNK)
        for side in (LEFT, RIGHT):
            if side not in hips or side not in arms:
                continue
            tip = arms[side]
            while self._kids(tip) and abs(self.rest[tip, 0] - self.rest[top, 0]) < 0.08 * self.unit:
                tip = self._kids(tip)[0]
            low = {self.pelvis: 0.35, hips[side]: 0.65}
            high = {top: 0.55, tip: 0.45} if tip != arms[side] else {top: 0.45, tip: 0.55}
            self._add(low, high, 0.082, 0.092, CENTRE, TRUNK)
            neck = [k for k in self._kids(top) if self.sides[k] == CENTRE]
            if neck and tip != arms[side]:
                self._add({neck[0]: 1.0}, {neck[0]: 0.25, tip: 0.75}, 0.056, 0.050, CENTRE, TRUNK)

    def _add_head(self) -> None:
        """Neck and head: the centre chain above the trunk."""
        top = self._spine()[-1]
        chain = [top]
        while nexts := [k for k in self._kids(chain[-1]) if self.sides[k] == CENTRE and not self.trunk[k]]:
            if re.search("head", self.skeleton.joint_names[chain[-1]], re.IGNORECASE):
                break
            chain.append(max(nexts, key=lambda k: self.rest[k, 1]))
        if len(chain) == 1:
            return
        for a, b in zip(chain, chain[1:], strict=False):
            self._add({a: 1.0}, {b: 1.0}, 0.054, 0.048, CENTRE)
        neck, head = chain[-2], chain[-1]
        stretch = 0.085 / max(self._length(head), 0.03)  # from the head joint on to the middle of the skull
        crown = {head: 1.0 + stretch, neck: -stretch}
        chin = {head: 1.0 + 0.22 * stretch, neck: -0.22 * stretch}
        self._add(chin, crown, 0.077, 0.097, CENTRE)

    def _add_limbs(self) -> None:
        """Arms and legs: thickness follows the arc length from the trunk, so twist joints disappear inside."""
        chain_joints = set(self._spine())
        arc: dict[int, float] = {}
        for joint in self.drawn:
            parent = int(self.parents[joint])
            if joint == self.pelvis or self.sides[joint] == CENTRE or self._length(joint) > _LONGEST_BONE_M:
                continue
            arc[joint] = arc.get(parent, 0.0) + self._length(joint)
            if parent in chain_joints:  # hip or collar bone: part of the trunk
                width = (0.080, 0.080) if parent == self.pelvis else (0.066, 0.056)
                self._add({parent: 1.0}, {joint: 1.0}, *width, CENTRE, TRUNK)
                continue
            self._add_limb_bone(parent, joint, arc.get(parent, 0.0), arc[joint])

    def _add_limb_bone(self, parent: int, joint: int, start_m: float, end_m: float) -> None:
        leg, side = self._is_leg(joint), self.sides[joint]
        if self._is_finger(joint, start_m):
            radius = float(np.clip(0.17 * self._length(joint), 0.0075, 0.017))
            self.fingers.add(joint)
            self._add({parent: 1.0}, {joint: 1.0}, radius, 0.85 * radius, side)
            return
        at, radii = _LEG if leg else _ARM
        r0, r1 = np.interp([start_m, end_m], at, radii)
        self._add({parent: 1.0}, {joint: 1.0}, float(r0), float(r1), side)
        far = end_m > (0.75 if leg else 0.5)
        if far and not self._kids(joint) and self._length(joint) > 0.04:
            self._add_tip(parent, joint, float(r1))

    def _is_finger(self, joint: int, start_m: float) -> bool:
        """Below a hand or foot that branches, or far out and short."""
        parent = int(self.parents[joint])
        if parent in self.fingers:
            return True
        beyond = start_m > (0.95 if self._is_leg(joint) else 0.58)
        return beyond and len(self._kids(parent)) > 1

    def _is_leg(self, joint: int) -> bool:
        while self.sides[joint] != CENTRE:
            joint = int(self.parents[joint])
        return joint == self.pelvis

    def _add_tip(self, parent: int, joint: int, radius: float) -> None:
        """Toes or a hand beyond the last joint of a limb."""
        leg = self._is_leg(joint)
        reach = (0.045 if leg else 0.10) / self._length(joint)
        tip = {joint: 1.0 + reach, parent: -reach}
        swell, taper = (1.0, 0.85) if leg else (1.12, 0.80)
        self._add({joint: 1.0}, tip, radius * swell, radius * taper, self.sides[joint])

    def _pairs(self) -> list[tuple[int, int]]:
        """Left and right limb roots on the same trunk joint, hips first."""
        pairs = []
        for attach in self._spine():
            roots = dict(self._limb_roots(attach))
            if {LEFT, RIGHT} <= roots.keys():
                pairs.append((roots[LEFT], roots[RIGHT]))
        return pairs

    def _feet(self) -> tuple[int, ...]:
        legs = [j for j in self.drawn if self.sides[j] != CENTRE and self._is_leg(j)]
        return tuple(j for j in legs if not self._kids(j))
