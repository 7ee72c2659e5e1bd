"""Limbs of an unknown skeleton: mirror pairs of chains, and which joints of a chain are knee, ankle, elbow, wrist.

Everything here is judged on bone lengths and hierarchy first: they are the same in every pose, and rest poses of real
files are often no pose at all (every bone along one axis). Names are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

_MIN_JOINTS = 3
_MAX_SIBLINGS, _MAX_CHAIN = 16, 10
_ALIKE = 0.75
"""Least ratio of the extents of two chains that may be left and right of one body."""
_WORTH = 0.25
"""Shortest limb in terms of the longest chain pair: shorter ones are eyes, ribs, fingers."""
_TWIST_SHARE = (0.3, 0.7)
"""Where along a bone a joint in line may divide it and be a twist joint."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two chains alike that leave one joint.

    Attributes:
        branch: the joint that they leave.
        sides: two tuples of n joints, outwards.
        lengths: (n,) mean length of the bone that ends in each joint, both sides.
        fans: (n,) how many further chains alike leave each joint (fingers, toes).
    """

    branch: int
    sides: tuple[tuple[int, ...], tuple[int, ...]]
    lengths: Array
    fans: tuple[int, ...]

    @property
    def extent(self) -> float:
        """Length of the chains from their first joint on."""
        return float(self.lengths[1:].sum())


@dataclass(frozen=True)
class Fit:
    """Which joints of a chain are its hinges.

    Attributes:
        score: higher is more like a limb; above 1.2 is plausible, about 2.5 is clear.
        start: number in the chain of the hip or shoulder.
        hinge: knee or elbow.
        end: ankle or wrist.
        tip: toes, None for an arm or when there are none.
    """

    score: float
    start: int
    hinge: int
    end: int
    tip: int | None = None


def bone_lengths(skeleton: Skeleton) -> Array:
    """(J,) length of the bone that ends in each joint; 0 for the root."""
    lengths: Array = np.linalg.norm(skeleton.rest_translations, axis=-1)
    lengths[0] = 0.0
    return lengths


def extents(skeleton: Skeleton, lengths: Array) -> Array:
    """(J,) length of the longest chain that ends below each joint, with the bone that ends in the joint."""
    reach = lengths.copy()
    below = np.zeros_like(lengths)
    for joint in range(skeleton.joint_count - 1, 0, -1):
        reach[joint] = lengths[joint] + below[joint]
        parent = int(skeleton.parents[joint])
        below[parent] = max(below[parent], reach[joint])
    reach[0] = below[0]
    return reach


def mirror_pairs(skeleton: Skeleton) -> list[Pair]:
    """Every pair of chains of three or more joints that may be legs or arms."""
    lengths = bone_lengths(skeleton)
    reach = extents(skeleton, lengths)
    found = []
    for joint, children in enumerate(skeleton.children):
        # IK targets and props are single joints: a limb has at least two bones below its first joint.
        kids = sorted((c for c in children if reach[c] > lengths[c]), key=lambda c: -reach[c])[:_MAX_SIBLINGS]
        for a, b in combinations(kids, 2):
            # A weapon in one hand makes that chain longer: bones of one length are enough to go on.
            if _alike(reach[a], reach[b]) >= _ALIKE or _alike(lengths[a], lengths[b]) >= _ALIKE:
                pair = _pair(skeleton, lengths, reach, joint, a, b)
                if len(pair.lengths) >= _MIN_JOINTS:
                    found.append(pair)
    longest = max((pair.extent for pair in found), default=0.0)
    return [pair for pair in found if pair.extent >= _WORTH * longest > 0]


def fit_leg(pair: Pair, positions: Array) -> Fit | None:
    """Hip, knee, ankle and toes of a chain in a pose (J, 3): two long bones, then a foot that turns forward."""
    points, at = _points(pair, positions), np.cumsum(pair.lengths)
    best = None
    for start, hinge, end in combinations(range(len(points)), 3):
        upper, lower = at[hinge] - at[start], at[end] - at[hinge]
        if min(upper, lower) <= 0.05 * (at[-1] - at[0]):
            continue
        score = 1.0 - abs(np.log(upper / lower)) + (at[end] - at[start]) / (at[-1] - at[0])
        score -= _skipped(points, at, start, hinge) + _skipped(points, at, hinge, end) + 0.05 * start
        tip = next((t for t in range(end + 1, len(points)) if at[t] - at[end] > 0.04 * (upper + lower)), None)
        if tip is not None:
            score += 0.5 * (1.0 - _cosine(points[end] - points[hinge], points[tip] - points[end]))
        if best is None or score > best.score:
            best = Fit(float(score), start, hinge, end, tip)
    return best


def fit_arm(pair: Pair, positions: Array) -> Fit | None:
    """Shoulder, elbow and wrist of a chain in a pose (J, 3): two long bones, then a hand that may carry fingers."""
    points, at = _points(pair, positions), np.cumsum(pair.lengths)
    best = None
    for start, hinge, end in combinations(range(len(points)), 3):
        upper, lower = at[hinge] - at[start], at[end] - at[hinge]
        if min(upper, lower) <= 0.05 * (at[-1] - at[0]):
            continue
        score = 1.0 - abs(np.log(upper / lower / 1.08)) + (at[end] - at[start]) / (at[-1] - at[0])
        score -= _skipped(points, at, start, hinge) + _skipped(points, at, hinge, end) + 0.05 * start
        score += min(pair.fans[end], 3) * 0.25 if pair.fans[end] > 1 else 0.0
        # A fan of fingers ends the arm: the wrist is not beyond it.
        score -= 0.8 * any(fan > 2 for fan in pair.fans[:end])
        if best is None or score > best.score:
            best = Fit(float(score), start, hinge, end)
    return best


def _points(pair: Pair, positions: Array) -> Array:
    """(n, 3) joints of the first side."""
    points: Array = positions[list(pair.sides[0])]
    return points


def _skipped(points: Array, at: Array, start: int, end: int) -> float:
    """What it costs to see one bone from `start` to `end`: nothing where the joints between are twist joints."""
    cost, bone = 0.0, points[end] - points[start]
    for between in range(start + 1, end):
        share = (at[between] - at[start]) / (at[end] - at[start])
        if not 0.02 < share < 0.98:
            continue  # in one place with the hinge itself
        straight = _cosine(points[between] - points[start], bone) > 0.99
        middle = _TWIST_SHARE[0] <= share <= _TWIST_SHARE[1]
        cost += 0.1 if straight and middle else 0.4 if straight else 0.6
    return cost


def _pair(skeleton: Skeleton, lengths: Array, reach: Array, branch: int, a: int, b: int) -> Pair:
    chain, fans = [(a, b)], []
    while len(chain) < _MAX_CHAIN:
        matches = _matched(skeleton.children[chain[-1][0]], skeleton.children[chain[-1][1]], reach, lengths)
        longest = max((min(reach[list(m)]) for m in matches), default=0.0)
        # Twist joints and sockets are leaves or short beside the limb itself.
        fans.append(sum(bool(min(reach[list(m)]) > max(lengths[m[0]], 0.35 * longest)) for m in matches))
        if not matches:
            break
        chain.append(max(matches, key=lambda m: min(reach[list(m)])))
    fans += [0] * (len(chain) - len(fans))
    mean = np.array([(lengths[x] + lengths[y]) / 2 for x, y in chain])
    return Pair(branch, (tuple(x for x, _ in chain), tuple(y for _, y in chain)), mean, tuple(fans))


def _matched(left: Sequence[int], right: Sequence[int], reach: Array, lengths: Array) -> list[tuple[int, int]]:
    """Children of both sides, longest first, each with the one of the other side that is most alike: by all that
    hangs below, else by their own bone."""
    waiting = sorted(left, key=lambda c: -reach[c])[:_MAX_SIBLINGS]
    free, matches = sorted(right, key=lambda c: -reach[c])[:_MAX_SIBLINGS], []
    for measure in (reach, lengths):
        for child in tuple(waiting):
            alike = {c: _alike(float(measure[child]), float(measure[c])) for c in free}
            twin = max(free, key=alike.__getitem__, default=None)
            if twin is not None and alike[twin] >= _ALIKE:
                matches.append((child, twin))
                free.remove(twin)
                waiting.remove(child)
    return matches


def _alike(a: float, b: float) -> float:
    return 1.0 if max(a, b) <= 1e-9 else min(a, b) / max(a, b)


def _cosine(a: Array, b: Array) -> float:
    return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
