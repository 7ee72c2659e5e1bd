"""Body: which round cones are drawn for a skeleton, and how thick.

Built once per skeleton. The ends of every cone are linear combinations of joint positions, so a pose is drawn
from joint positions alone, and points that no rig has (toes, fingertips, the crown) follow the motion. Sizes
in the tables are metres on an adult and scale with the skeleton's bone lengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.errors import IncompatibleSkeleton
from animoe.preview.anatomy import CENTRE, LEFT, RIGHT, Anatomy
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

ADULT_SPAN_M = 1.55
_ADULT_PATH_M = 1.68
"""Bone lengths from toe through hip and spine to the head joint, on an adult."""
_LONGEST_BONE_M = 0.75
"""A longer bone (on an adult) is a helper's."""
# Metres along the limb from its hip or shoulder, and the radius there.
_LEG = ([0.0, 0.10, 0.39, 0.50, 0.76, 0.92], [0.086, 0.083, 0.057, 0.056, 0.036, 0.031])
_ARM = ([0.0, 0.10, 0.26, 0.33, 0.52, 0.62], [0.057, 0.053, 0.042, 0.043, 0.029, 0.026])

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
        span_m: how tall the joints stand, from bone lengths.
        pelvis: joint that carries the legs; the camera follows it.
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
        """The body of any skeleton, from its joint names, hierarchy and bone lengths.

        Raises:
            IncompatibleSkeleton: all bones have length zero.
        """
        return _Builder(skeleton).build()

    def cones(self, positions_m: Array) -> tuple[Array, Array]:
        """Joint positions (J, 3) -> cone start points (S, 3) and end points (S, 3), float32 metres."""
        ends = self.weights @ np.asarray(positions_m, dtype=np.float32)
        return ends[:, 0], ends[:, 1]

    def facing(self, positions_m: Array) -> float:
        """Mean yaw in radians about +Y (0 = +Z) that the character faces in joint positions (T, J, 3)."""
        if not len(self.across):
            return 0.0
        side = (positions_m[:, self.across[:, 0]] - positions_m[:, self.across[:, 1]]).sum(axis=1)
        forward = np.stack([-side[:, 2], side[:, 0]], axis=-1)  # (T, 2): x and z of side x up
        forward = forward / np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9)
        x, z = forward.mean(axis=0)
        if np.hypot(x, z) < 0.2:  # it turns all the way round: keep the first direction
            x, z = forward[0]
        return float(np.arctan2(x, z))


class _Builder:
    """Collects the cones of one skeleton."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.anatomy = Anatomy(skeleton)
        self.joint_count = skeleton.joint_count
        self.parents = skeleton.parents
        self.unit = self._path_length() / _ADULT_PATH_M
        if not self.unit > 1e-9:
            raise IncompatibleSkeleton("all bones of the skeleton have length zero; there is nothing to draw")
        self.cones: list[tuple[Point, Point, float, float, int, bool]] = []
        self.across: list[tuple[int, int]] = []
        self.feet: list[int] = []

    def build(self) -> Body:
        if self.anatomy.limbs:
            self._add_trunk()
            self._add_head()
            self._add_limbs()
        else:
            self._add_plain_bones()
        weights = np.zeros((len(self.cones), 2, self.joint_count), dtype=np.float32)
        for row, (start, end, *_) in enumerate(self.cones):
            for which, point in enumerate((start, end)):
                weights[row, which, list(point)] = list(point.values())
        return Body(
            weights,
            np.array([c[2:4] for c in self.cones], dtype=np.float32) * np.float32(self.unit),
            np.array([c[4] for c in self.cones]),
            np.array([c[5] for c in self.cones]),
            ADULT_SPAN_M * self.unit,
            self.anatomy.pelvis,
            np.array(self.across, dtype=np.int64).reshape(-1, 2),
            tuple(self.feet),
        )

    def _path_length(self) -> float:
        """Metres along the bones from toe to head."""
        a = self.anatomy
        if not a.limbs:
            return a.reach[0]
        leg = max(a.reach[k] + a.lengths[k] for k in a.limbs[a.pelvis].values())
        spine = sum(a.lengths[b if self.parents[b] == c else c] for c, b in zip(a.spine, a.spine[1:], strict=False))
        return leg + spine + sum(a.lengths[j] for j in a.head_chain[1:])

    def _length(self, joint: int) -> float:
        """Length of the bone that ends in `joint`, in adult metres."""
        return self.anatomy.lengths[joint] / self.unit

    def _add(self, start: Point, end: Point, radii: tuple[float, float], tint: int, trunk: bool = False) -> None:
        self.cones.append((start, end, *radii, tint, trunk))

    def _limb_joint(self, root: int, long_m: float) -> int:
        """The hip or shoulder: first joint of the limb whose next bone is long (collar bones are not)."""
        for joint, following in zip(chain := self.anatomy.chain(root), chain[1:], strict=False):
            if self._length(following) >= long_m:
                return joint
        return root

    def _add_trunk(self) -> None:
        a = self.anatomy
        lengths = [self._length(b if self.parents[b] == c else c) for c, b in zip(a.spine, a.spine[1:], strict=False)]
        at = np.cumsum([0.0, *lengths]) / max(sum(lengths), 1e-9)
        core = np.interp(at, [0.0, 0.4, 0.85, 1.0], [0.100, 0.090, 0.104, 0.098]).tolist()
        for i, (c, b) in enumerate(zip(a.spine, a.spine[1:], strict=False)):
            self._add({c: 1.0}, {b: 1.0}, (core[i], core[i + 1]), CENTRE, True)
        self._add_flanks()

    def _add_flanks(self) -> None:
        """Gives the trunk its width: the hips across, and per side cones from armpit to hip and to neck."""
        a = self.anatomy
        hips = {side: self._limb_joint(root, 0.20) for side, root in a.limbs[a.pelvis].items()}
        self.across.append((hips[LEFT], hips[RIGHT]))
        self._add({hips[LEFT]: 1.0}, {hips[RIGHT]: 1.0}, (0.088, 0.088), CENTRE, True)
        if a.chest == a.pelvis:
            return
        shoulders = {side: self._limb_joint(root, 0.17) for side, root in a.limbs[a.chest].items()}
        self.across.append((shoulders[LEFT], shoulders[RIGHT]))
        for side in (LEFT, RIGHT):
            hip, shoulder = {a.pelvis: 0.35, hips[side]: 0.65}, {a.chest: 0.55, shoulders[side]: 0.45}
            self._add(hip, shoulder, (0.082, 0.092), CENTRE, True)
            base = a.head_chain[min(1, len(a.head_chain) - 1)]
            if base != shoulders[side]:
                self._add({base: 1.0}, {base: 0.12, shoulders[side]: 0.88}, (0.058, 0.054), CENTRE, True)

    def _add_head(self) -> None:
        chain = self.anatomy.head_chain
        if len(chain) == 1:
            return
        for c, b in zip(chain, chain[1:], strict=False):
            self._add({c: 1.0}, {b: 1.0}, (0.054, 0.048), CENTRE)
        neck, head = chain[-2], chain[-1]
        stretch = 0.085 / max(self._length(head), 0.03)  # from the head joint on to the middle of the skull
        low, high = 0.22 * stretch, stretch
        self._add({head: 1 + low, neck: -low}, {head: 1 + high, neck: -high}, (0.077, 0.097), CENTRE)

    def _add_limbs(self) -> None:
        a = self.anatomy
        for attach, sides in a.limbs.items():
            leg = attach == a.pelvis
            for side, root in sides.items():
                first = self._limb_joint(root, 0.20 if leg else 0.17)
                for joint in a.chain(root)[: a.chain(root).index(first) + 1]:  # collar bones belong to the trunk
                    width = (0.080, 0.080) if leg else (0.066, 0.056)
                    self._add({int(self.parents[joint]): 1.0}, {joint: 1.0}, width, CENTRE, True)
                self._add_limb(first, side, leg)
                if leg:
                    self.feet.append(a.chain(root)[-1])

    def _add_limb(self, first: int, side: int, leg: bool) -> None:
        """Thickness follows the length along the limb, so twist joints disappear inside it."""
        a, arc, fingers = self.anatomy, {first: 0.0}, set[int]()
        at, widths = _LEG if leg else _ARM
        for joint in a.below(first):
            parent = int(self.parents[joint])
            length = self._length(joint)
            start, arc[joint] = arc[parent], arc[parent] + length
            if length > _LONGEST_BONE_M or length < 1e-4:
                continue
            branches = len(a.kids[parent]) > 1 and start > (0.70 if leg else 0.42)
            if parent in fingers or branches:
                fingers.add(joint)
                radius = float(np.clip(0.17 * length, 0.0075, 0.022 if leg else 0.017))
                self._add({parent: 1.0}, {joint: 1.0}, (radius, 0.85 * radius), side)
                continue
            r0, r1 = np.interp([start, arc[joint]], at, widths).tolist()
            self._add({parent: 1.0}, {joint: 1.0}, (r0, r1), side)
            if not a.kids[joint] and arc[joint] > (0.70 if leg else 0.42):
                self._add_tip(parent, joint, r1, side, leg)

    def _add_tip(self, parent: int, joint: int, radius: float, side: int, leg: bool) -> None:
        """Toes or a hand beyond the last joint of a limb."""
        reach = (0.045 if leg else 0.10) / max(self._length(joint), 0.05)
        tip = {joint: 1 + reach, parent: -reach}
        swell, taper = (1.0, 0.85) if leg else (1.12, 0.80)
        self._add({joint: 1.0}, tip, (radius * swell, radius * taper), side)

    def _add_plain_bones(self) -> None:
        """Without limbs on both sides nothing is known: every bone is drawn by its length."""
        for joint, parent in enumerate(self.parents.tolist()):
            if parent >= 0:
                radius = float(np.clip(0.12 * self._length(joint), 0.01, 0.08))
                self._add({parent: 1.0}, {joint: 1.0}, (radius, 0.8 * radius), self.anatomy.sides[joint])
