"""A guess at a body: one pair of chains as legs, another as arms, the poses in which they stand, and its score."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from animoe.retarget.limbs import Fit, Pair, fit_arm, fit_leg
from animoe.retarget.topology import line_to
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

STANDS = -0.6
"""Cosine between legs and trunk up to which a pose is a standing one."""


@dataclass(frozen=True, eq=False)
class Guess:
    """Legs, arms and the pose in which they were judged."""

    legs: Pair
    leg: Fit
    arms: Pair
    arm: Fit
    pelvis: int
    score: float
    poses: Array = field(repr=False)  # (T, J, 3) in which the body stands, best first
    moving: bool = False  # the first of them is a frame of the motion


def judge(
    skeleton: Skeleton, legs: Pair, leg: Fit, arms: Pair, arm: Fit, pelvis: int, poses: Array, longest: float
) -> Guess:
    """How well two pairs make a body, in the pose that suits them best."""
    first = Guess(legs, leg, arms, arm, pelvis, 0.0, poses)
    cosines = leg_cosines(first, poses)
    standing = np.flatnonzero(cosines <= STANDS)
    # The rest pose is symmetric: it tells more than a frame of motion if it stands at all. Else straight legs first.
    rank = np.where(cosines <= STANDS, cosines - _straight(first, poses), cosines + 3.0)
    order = standing if len(standing) and standing[0] == 0 else np.argsort(rank, kind="stable")
    poses = poses[order[: max(len(standing), 1)]]
    if order[0] > 0:
        leg, arm = fit_leg(legs, poses[0]) or leg, fit_arm(arms, poses[0]) or arm
    guess = Guess(legs, leg, arms, arm, pelvis, 0.0, poses)
    score = leg.score + arm.score - 1.5 * float(cosines[order[0]]) + 0.7 * legs.extent / longest
    sizes = float(span(arms, arm) / span(legs, leg))
    score -= 0.5 * abs(np.log(sizes / 0.75)) + 0.5 * (legs.branch == arms.branch)
    score += 0.5 * (pelvis == legs.branch) + 0.7 * _goes_on(skeleton, guess)
    score += _in_front(guess) + _lowest(guess) + _parallel(guess)
    return Guess(legs, leg, arms, arm, pelvis, float(score), poses, moving=bool(order[0] > 0))


def _straight(guess: Guess, poses: Array) -> Array:
    """(T,) mean distance from hip to ankle over the length of the leg: 1 straight."""
    leg = guess.leg
    distances = [np.linalg.norm(poses[:, s[leg.end]] - poses[:, s[leg.start]], axis=-1) for s in guess.legs.sides]
    straight: Array = np.mean(distances, axis=0) / max(span(guess.legs, leg), 1e-9)
    return straight


def span(pair: Pair, fit: Fit) -> float:
    return float(pair.lengths[fit.start + 1 : fit.end + 1].sum())


def _goes_on(skeleton: Skeleton, guess: Guess) -> bool:
    """Whether a further chain leaves the arms' joint: the neck."""
    down = line_to(skeleton, guess.legs.sides[0][0])
    used = {guess.arms.sides[0][0], guess.arms.sides[1][0], *down}
    return any(child not in used for child in skeleton.children[guess.arms.branch])


def _in_front(guess: Guess) -> float:
    """Minus how far the limbs taken for arms reach behind the back, where the toes point forward: wings."""
    if guess.leg.tip is None:
        return 0.0
    pose, up = guess.poses[0], trunk_up(guess, guess.poses)[0]
    legs, arms = guess.legs.sides, guess.arms.sides
    toes = sum(pose[s[guess.leg.tip]] - pose[s[guess.leg.end]] for s in legs)
    forward = unit(toes - up * (toes @ up))
    ends = sum(pose[s[guess.arm.end]] - pose[guess.arms.branch] for s in arms) / 2
    return min(0.0, 1.5 * float(ends @ forward) / max(span(guess.arms, guess.arm), 1e-9))


def _lowest(guess: Guess) -> float:
    """How near the limbs taken for legs come to the lowest joints of the body, 0 to 1 (a skirt ends higher)."""
    pose, up = guess.poses[0], trunk_up(guess, guess.poses)[0]
    heights = (pose - pose[guess.pelvis]) @ up
    ends = np.mean([heights[side[guess.leg.end]] for side in guess.legs.sides])
    return float(np.clip(ends / min(float(heights.min()), -1e-9), 0.0, 1.0))


def _parallel(guess: Guess) -> float:
    """Cosine between the line through both hips and the line through both shoulders, in the first pose."""
    pose = guess.poses[0]
    hips, shoulders = (
        pose[pair.sides[0][fit.start]] - pose[pair.sides[1][fit.start]]
        for pair, fit in ((guess.legs, guess.leg), (guess.arms, guess.arm))
    )
    return abs(float(unit(hips) @ unit(shoulders)))


def middle(poses: Array, pair: Pair, number: int) -> Array:
    """(T, 3) point between both sides' joints."""
    middle: Array = (poses[:, pair.sides[0][number]] + poses[:, pair.sides[1][number]]) / 2
    return middle


def trunk_up(guess: Guess, poses: Array) -> Array:
    """(T, 3) unit directions from between the hips to between the shoulders."""
    return unit(middle(poses, guess.arms, guess.arm.start) - middle(poses, guess.legs, guess.leg.start))


def leg_cosines(guess: Guess, poses: Array) -> Array:
    """(T,) cosine between trunk and the leg that hangs worse: -1 standing, 0 sitting or four-legged."""
    up, hip, ankle = trunk_up(guess, poses), guess.leg.start, guess.leg.end
    legs = [unit(poses[:, side[ankle]] - poses[:, side[hip]]) for side in guess.legs.sides]
    worst: Array = np.max([np.sum(leg * up, axis=-1) for leg in legs], axis=0)
    return worst


def digitigrade(guess: Guess) -> bool:
    """Whether the legs zigzag: thigh forward, shin well backward, then a long bone down to the toes."""
    if guess.leg.tip is None:
        return False
    pose, up = guess.poses[0], trunk_up(guess, guess.poses)[0]
    side = guess.legs.sides[0]
    joints = [pose[side[n]] for n in (guess.leg.start, guess.leg.hinge, guess.leg.end, guess.leg.tip)]
    thigh, shin, foot = (b - a for a, b in zip(joints, joints[1:], strict=False))
    bent = unit(thigh) @ unit(shin) < 0.8 and unit(shin) @ -up < 0.93
    long = np.linalg.norm(foot) > 0.5 * np.linalg.norm(shin) and unit(foot) @ -up > 0.5
    return bool(bent and long)


def limb_ends(guess: Guess) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Hip, knee, ankle (and toes) of both legs; shoulder, elbow, wrist of both arms, sides in one order."""
    leg, arm = guess.leg, guess.arm
    numbers = [leg.start, leg.hinge, leg.end] + ([] if leg.tip is None else [leg.tip])
    arms = [tuple(side[n] for n in (arm.start, arm.hinge, arm.end)) for side in guess.arms.sides]
    legs = [tuple(side[n] for n in numbers) for side in guess.legs.sides]
    return legs, arms[::-1] if crossed(guess) else arms


def crossed(guess: Guess) -> int:
    """1 when the first leg and the first arm are on opposite sides of the body."""
    (a, b), (c, d) = guess.legs.sides, guess.arms.sides
    hips = guess.poses[:, a[guess.leg.start]] - guess.poses[:, b[guess.leg.start]]
    shoulders = guess.poses[:, c[guess.arm.start]] - guess.poses[:, d[guess.arm.start]]
    return int(np.sum(unit(hips) * unit(shoulders)) < 0)


def neck_high(guess: Guess, joint: int) -> bool:
    """Whether a joint of the trunk lies as high as the shoulders."""
    up = trunk_up(guess, guess.poses)[0]
    offset = guess.poses[0][joint] - middle(guess.poses[:1], guess.arms, guess.arm.start)[0]
    return bool(offset @ up > -0.1 * span(guess.arms, guess.arm))


def unit(v: Array) -> Array:
    unit: Array = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
    return unit
