"""Reads a body from hierarchy and geometry alone: no names, any axes, any facing, any order of joints.

Every mirror pair of chains is tried as legs with every other as arms; the trunk runs between the joints they leave.
Legs are the pair at the pelvis end that hangs along the trunk and ends in feet; arms the pair at the other end, where
one more chain, the neck, goes on to the head. The side that is left follows from where toes, knees, elbows and eyes
point. IK targets, twist joints, tails, hair, skirts and props fit no limb and fall out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from animoe.errors import IncompatibleSkeleton
from animoe.motion.clip import Clip
from animoe.retarget.facing import forward_votes
from animoe.retarget.limbs import Fit, Pair, fit_arm, fit_leg, mirror_pairs
from animoe.retarget.topology import line_to, split_spine, subtree
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

_MAX_PAIRS, _MAX_FRAMES, _MAX_CLIPS = 40, 24, 4
_FAR = 1e9
_STANDS = -0.6
"""Cosine between legs and trunk up to which a pose is a standing one."""
_HEAD_HEIGHT, _HEAD_RANGE, _HEAD_SPREAD = 0.56, 0.16, 0.2
"""Of the head joint above the shoulders, in upper arms: middle, range that is as good, and spread beyond."""


@dataclass(frozen=True, eq=False)
class Body:
    """A body as geometry shows it.

    Attributes:
        roles: canonical joint name -> joint; empty when no body was found. Of a spine of many joints, the first, a
            middle and the last are given.
        confidence: role -> 0 to 1.
        positions: (J, 3) model positions of the pose that was looked at.
        problem: why nothing was found, as a clause; empty otherwise.
        moving: the pose is a frame of the motion, as no body could stand in the rest pose.
    """

    roles: Mapping[str, int]
    confidence: Mapping[str, float]
    positions: Array
    problem: str = ""
    moving: bool = False


@dataclass(frozen=True, eq=False)
class _Guess:
    """Legs, arms and the pose in which they were judged."""

    legs: Pair
    leg: Fit
    arms: Pair
    arm: Fit
    pelvis: int
    score: float
    poses: Array = field(repr=False)  # (T, J, 3) in which the body stands, best first
    moving: bool = False  # the first of them is a frame of the motion


def find_body(skeleton: Skeleton, motion: Sequence[Clip] = ()) -> Body:
    """Finds pelvis, limbs, spine, neck and head.

    Args:
        skeleton: the rig, any axes and unit.
        motion: clips on the same skeleton; looked at as well as the rest pose.
    """
    if not np.abs(skeleton.rest_translations).max() < _FAR:
        return Body({}, {}, np.zeros((skeleton.joint_count, 3)), "its joints rest too far apart")
    poses = _poses(skeleton, motion)
    pairs = sorted(mirror_pairs(skeleton), key=lambda pair: -pair.extent)[:_MAX_PAIRS]
    guess = max(_guesses(skeleton, pairs, poses), key=lambda g: g.score, default=None)
    if guess is None:
        return Body({}, {}, poses[0], "hierarchy and bone lengths show no pair of legs with a pair of arms above")
    cosine = float(_leg_cosines(guess, guess.poses[:1])[0])
    if cosine > _STANDS:
        why = "its legs do not hang down from the trunk in the rest pose" + (" or the motion" if motion else "")
        return Body({}, {}, poses[0], why)
    if _digitigrade(guess):
        return Body({}, {}, guess.poses[0], "its legs bend twice, as those of an animal that walks on its toes")
    return _body(skeleton, guess)


def refuse_four_legs(roles: Mapping[str, int], positions: Array) -> None:
    """Raises IncompatibleSkeleton when arms and legs both stand below a level trunk."""
    ends = [f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "ankle", "shoulder", "wrist")]
    if any(role not in roles for role in ends):
        return
    at = {role: positions[roles[role]] for role in ends}
    limbs = [
        _unit(at[f"{side}_{end}"] - at[f"{side}_{start}"])
        for side in ("left", "right")
        for start, end in (("hip", "ankle"), ("shoulder", "wrist"))
    ]
    trunk = _unit(at["left_shoulder"] + at["right_shoulder"] - at["left_hip"] - at["right_hip"])
    down = _unit(np.sum(limbs, axis=0))
    if all(limb @ down > 0.8 for limb in limbs) and abs(trunk @ down) < 0.6:
        raise IncompatibleSkeleton(
            "the rig stands on four legs: arms and legs both point down from a level trunk; AniMoE moves bodies that "
            "walk on two. If it is one, put it in a T- or A-pose, or name its joints in a mapping file"
        )


def _poses(skeleton: Skeleton, motion: Sequence[Clip]) -> Array:
    """(T, J, 3) the rest pose, then frames spread over the motion."""
    poses = [skeleton.rest_model[1][None]]
    clips = [clip for clip in motion if clip.local_rotations.shape[1] == skeleton.joint_count][:_MAX_CLIPS]
    for clip in clips:
        frames = np.unique(np.linspace(0, len(clip.local_rotations) - 1, _MAX_FRAMES // len(clips)).astype(int))
        rotations, translations = clip.local_rotations[frames], clip.local_translations[frames]
        poses.append(local_to_model(rotations, translations, skeleton.parents)[1])
    return np.concatenate(poses)


def _guesses(skeleton: Skeleton, pairs: Sequence[Pair], poses: Array) -> list[_Guess]:
    lines = {pair.branch: line_to(skeleton, pair.branch) for pair in pairs}
    longest = max((pair.extent for pair in pairs), default=1.0)
    found = []
    for legs in pairs:
        for arms in pairs:
            if arms is legs or set(arms.sides[0] + arms.sides[1]) & set(legs.sides[0] + legs.sides[1]):
                continue
            line, other = lines[arms.branch], lines[legs.branch]
            if {*legs.sides[0], *legs.sides[1]} & {*line} or {*arms.sides[0], *arms.sides[1]} & {*other}:
                continue
            pelvis = [a for a, b in zip(line, other, strict=False) if a == b][-1]
            if pelvis == arms.branch != legs.branch:  # the arms' joint carries the legs': upside down
                continue
            guess = _guess(skeleton, legs, arms, pelvis, poses, longest)
            if guess is not None:
                found.append(guess)
    return found


def _guess(skeleton: Skeleton, legs: Pair, arms: Pair, pelvis: int, poses: Array, longest: float) -> _Guess | None:
    """How well two pairs make a body, in the pose that suits them best."""
    leg, arm = fit_leg(legs, poses[0]), fit_arm(arms, poses[0])
    if leg is None or arm is None:
        return None
    first = _Guess(legs, leg, arms, arm, pelvis, 0.0, poses)
    cosines = _leg_cosines(first, poses)
    standing = np.flatnonzero(cosines <= _STANDS)
    # The rest pose is symmetric: it tells more than a frame of motion if it stands at all. Else straight legs first.
    rank = np.where(cosines <= _STANDS, cosines - _straight(first, poses), cosines + 3.0)
    order = standing if len(standing) and standing[0] == 0 else np.argsort(rank, kind="stable")
    poses = poses[order[: max(len(standing), 1)]]
    leg, arm = fit_leg(legs, poses[0]) or leg, fit_arm(arms, poses[0]) or arm
    guess = _Guess(legs, leg, arms, arm, pelvis, 0.0, poses)
    score = leg.score + arm.score - 1.5 * float(cosines[order[0]]) + 0.7 * legs.extent / longest
    sizes = float(_span(arms, arm) / _span(legs, leg))
    score -= 0.5 * abs(np.log(sizes / 0.75)) + 0.5 * (legs.branch == arms.branch)
    score += 0.5 * (pelvis == legs.branch) + 0.7 * _goes_on(skeleton, guess)
    score += _in_front(guess) + _lowest(guess) + _parallel(guess)
    return _Guess(legs, leg, arms, arm, pelvis, float(score), poses, moving=bool(order[0] > 0))


def _straight(guess: _Guess, poses: Array) -> Array:
    """(T,) mean distance from hip to ankle over the length of the leg: 1 straight."""
    leg = guess.leg
    distances = [np.linalg.norm(poses[:, s[leg.end]] - poses[:, s[leg.start]], axis=-1) for s in guess.legs.sides]
    straight: Array = np.mean(distances, axis=0) / max(_span(guess.legs, leg), 1e-9)
    return straight


def _span(pair: Pair, fit: Fit) -> float:
    return float(pair.lengths[fit.start + 1 : fit.end + 1].sum())


def _goes_on(skeleton: Skeleton, guess: _Guess) -> bool:
    """Whether a further chain leaves the arms' joint: the neck."""
    down = line_to(skeleton, guess.legs.sides[0][0])
    used = {guess.arms.sides[0][0], guess.arms.sides[1][0], *down}
    return any(child not in used for child in skeleton.children[guess.arms.branch])


def _in_front(guess: _Guess) -> float:
    """Minus how far the limbs taken for arms reach behind the back, where the toes point forward: wings."""
    if guess.leg.tip is None:
        return 0.0
    pose, up = guess.poses[0], _up(guess, guess.poses)[0]
    legs, arms = guess.legs.sides, guess.arms.sides
    toes = sum(pose[s[guess.leg.tip]] - pose[s[guess.leg.end]] for s in legs)
    forward = _unit(toes - up * (toes @ up))
    ends = sum(pose[s[guess.arm.end]] - pose[guess.arms.branch] for s in arms) / 2
    return min(0.0, 1.5 * float(ends @ forward) / max(_span(guess.arms, guess.arm), 1e-9))


def _lowest(guess: _Guess) -> float:
    """How near the limbs taken for legs come to the lowest joints of the body, 0 to 1 (a skirt ends higher)."""
    pose, up = guess.poses[0], _up(guess, guess.poses)[0]
    heights = (pose - pose[guess.pelvis]) @ up
    ends = np.mean([heights[side[guess.leg.end]] for side in guess.legs.sides])
    return float(np.clip(ends / min(float(heights.min()), -1e-9), 0.0, 1.0))


def _parallel(guess: _Guess) -> float:
    """Cosine between the line through both hips and the line through both shoulders, in the first pose."""
    pose = guess.poses[0]
    hips, shoulders = (
        pose[pair.sides[0][fit.start]] - pose[pair.sides[1][fit.start]]
        for pair, fit in ((guess.legs, guess.leg), (guess.arms, guess.arm))
    )
    return abs(float(_unit(hips) @ _unit(shoulders)))


def _middle(poses: Array, pair: Pair, number: int) -> Array:
    """(T, 3) point between both sides' joints."""
    middle: Array = (poses[:, pair.sides[0][number]] + poses[:, pair.sides[1][number]]) / 2
    return middle


def _up(guess: _Guess, poses: Array) -> Array:
    """(T, 3) unit directions from between the hips to between the shoulders."""
    return _unit(_middle(poses, guess.arms, guess.arm.start) - _middle(poses, guess.legs, guess.leg.start))


def _leg_cosines(guess: _Guess, poses: Array) -> Array:
    """(T,) cosine between trunk and the leg that hangs worse: -1 standing, 0 sitting or four-legged."""
    up, hip, ankle = _up(guess, poses), guess.leg.start, guess.leg.end
    legs = [_unit(poses[:, side[ankle]] - poses[:, side[hip]]) for side in guess.legs.sides]
    worst: Array = np.max([np.sum(leg * up, axis=-1) for leg in legs], axis=0)
    return worst


def _digitigrade(guess: _Guess) -> bool:
    """Whether the legs zigzag: thigh forward, shin well backward, then a long bone down to the toes."""
    if guess.leg.tip is None:
        return False
    pose, up = guess.poses[0], _up(guess, guess.poses)[0]
    side = guess.legs.sides[0]
    joints = [pose[side[n]] for n in (guess.leg.start, guess.leg.hinge, guess.leg.end, guess.leg.tip)]
    thigh, shin, foot = (b - a for a, b in zip(joints, joints[1:], strict=False))
    bent = _unit(thigh) @ _unit(shin) < 0.8 and _unit(shin) @ -up < 0.93
    long = np.linalg.norm(foot) > 0.5 * np.linalg.norm(shin) and _unit(foot) @ -up > 0.5
    return bool(bent and long)


def _body(skeleton: Skeleton, guess: _Guess) -> Body:
    spine = [j for j in line_to(skeleton, guess.arms.branch) if j > guess.pelvis]
    head, certain = _head(skeleton, guess)
    joints = {name: getattr(guess.leg, name) for name in ("start", "hinge", "end", "tip")}
    votes = forward_votes(skeleton, guess.poses, _limb_ends(guess), _up(guess, guess.poses), head)
    left = 0 if votes >= 0 else 1
    if len(spine) > 1 and head in skeleton.children[spine[-1]] and _neck_high(guess, spine[-1]):
        spine = spine[:-1]  # collar bones that hang on the neck
    roles = {"pelvis": guess.pelvis, **{role: chain[0] for role, chain in split_spine(spine).items()}}
    sure = {role: 0.9 for role in roles}
    if head is not None:
        above = [j for j in line_to(skeleton, head)[:-1] if j > (spine or [guess.pelvis])[-1]]
        roles |= {"head": head} | ({"neck": above[0]} if above else {})
        sure |= {"head": certain, "neck": certain}
    sides = 1.0 - 0.5 * float(np.exp(-2.0 * abs(votes)))
    for side, legs in (("left", guess.legs.sides[left]), ("right", guess.legs.sides[1 - left])):
        for role, name in (("hip", "start"), ("knee", "hinge"), ("ankle", "end"), ("foot", "tip")):
            if joints[name] is not None:
                roles[f"{side}_{role}"] = legs[joints[name]]
                sure[f"{side}_{role}"] = sides * float(np.clip(0.4 + 0.25 * guess.leg.score, 0.2, 0.95))
    crossed = _crossed(guess)
    for side, number in (("left", left ^ crossed), ("right", 1 - left ^ crossed)):
        arm, fit = guess.arms.sides[number], guess.arm
        found = {"shoulder": arm[fit.start], "elbow": arm[fit.hinge], "wrist": arm[fit.end]}
        if fit.start > 0:
            found["collar"] = arm[fit.start - 1]
        roles |= {f"{side}_{role}": joint for role, joint in found.items()}
        certainty = sides * float(np.clip(0.4 + 0.25 * fit.score, 0.2, 0.95))
        sure |= {f"{side}_{role}": certainty for role in found}
    return Body(roles, {role: sure[role] for role in roles}, guess.poses[0], moving=guess.moving)


def _neck_high(guess: _Guess, joint: int) -> bool:
    """Whether a joint of the trunk lies as high as the shoulders."""
    up = _up(guess, guess.poses)[0]
    offset = guess.poses[0][joint] - _middle(guess.poses[:1], guess.arms, guess.arm.start)[0]
    return bool(offset @ up > -0.1 * _span(guess.arms, guess.arm))


def _limb_ends(guess: _Guess) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Hip, knee, ankle (and toes) of both legs; shoulder, elbow, wrist of both arms, sides in one order."""
    leg, arm = guess.leg, guess.arm
    numbers = [leg.start, leg.hinge, leg.end] + ([] if leg.tip is None else [leg.tip])
    arms = [tuple(side[n] for n in (arm.start, arm.hinge, arm.end)) for side in guess.arms.sides]
    legs = [tuple(side[n] for n in numbers) for side in guess.legs.sides]
    return legs, arms[::-1] if _crossed(guess) else arms


def _crossed(guess: _Guess) -> int:
    """1 when the first leg and the first arm are on opposite sides of the body."""
    (a, b), (c, d) = guess.legs.sides, guess.arms.sides
    hips = guess.poses[:, a[guess.leg.start]] - guess.poses[:, b[guess.leg.start]]
    shoulders = guess.poses[:, c[guess.arm.start]] - guess.poses[:, d[guess.arm.start]]
    return int(np.sum(_unit(hips) * _unit(shoulders)) < 0)


def _head(skeleton: Skeleton, guess: _Guess) -> tuple[int | None, float]:
    """The joint of the trunk, off the limbs, that is where a head's joint is; and how sure that is.

    Judged by its height above the shoulders, by how much of the joints up there it carries (face, hair), and by lying
    over the shoulders. Twice as likely if it hangs below the arms' joint.
    """
    limbs = {*guess.legs.sides[0][:1], *guess.legs.sides[1][:1], *guess.arms.sides[0][:1], *guess.arms.sides[1][:1]}
    banned = {joint for start in limbs for joint in subtree(skeleton, start)} | set(
        line_to(skeleton, guess.arms.branch)
    )
    pose, up = guess.poses[0], _up(guess, guess.poses)[0]
    base = _middle(guess.poses[:1], guess.arms, guess.arm.start)[0]
    arm = float(guess.arms.lengths[guess.arm.start + 1 : guess.arm.hinge + 1].sum())
    heights = (pose - base) @ up / arm
    free = [j for j in subtree(skeleton, guess.pelvis) if j not in banned and 0.05 < heights[j] < 1.6]
    if not free:
        return None, 0.0
    count = {joint: len(subtree(skeleton, joint)) for joint in free}
    most = max(count.values())
    offset = pose[free] - base
    beside = np.linalg.norm(offset - np.outer(offset @ up, up), axis=-1) / arm
    scores = {
        joint: heights[joint]
        - max(abs(heights[joint] - _HEAD_HEIGHT) - _HEAD_RANGE, 0.0) / _HEAD_SPREAD
        - 1.5 * max(beside[i] - 0.15, 0.0)
        + 0.2 * count[joint] / most
        + 0.4 * (len(skeleton.children[joint]) > 1)
        for i, joint in enumerate(free)
    }
    ranked = sorted(free, key=lambda joint: -scores[joint])
    gap = scores[ranked[0]] - scores[ranked[1]] if len(ranked) > 1 else 1.0
    head = ranked[0]
    while skeleton.parents[head] in free and np.linalg.norm(pose[skeleton.parents[head]] - pose[head]) < 0.02 * arm:
        head = int(skeleton.parents[head])  # several joints in one place: the one that carries the others
    return head, float(np.clip(0.6 + 0.3 * gap, 0.6, 0.95))


def _unit(v: Array) -> Array:
    unit: Array = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
    return unit
