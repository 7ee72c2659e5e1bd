"""Reads a body from hierarchy and geometry alone: no names, any axes, any facing, any order of joints.

Every mirror pair of chains is tried as legs with every other as arms; the trunk runs between the joints they leave.
Legs are the pair at the pelvis end that hangs along the trunk and ends in feet; arms the pair at the other end, where
one more chain, the neck, goes on to the head. The side that is left follows from where toes, knees, elbows and eyes
point. IK targets, twist joints, tails, hair, skirts and props fit no limb and fall out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from animoe.motion.clip import Clip
from animoe.retarget.facing import forward_votes
from animoe.retarget.guess import (
    STANDS,
    Guess,
    crossed,
    digitigrade,
    judge,
    leg_cosines,
    limb_ends,
    middle,
    neck_high,
    trunk_up,
    unit,
)
from animoe.retarget.limbs import Pair, fit_arm, fit_leg, mirror_pairs
from animoe.retarget.topology import line_to, split_spine, subtree
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

_MAX_PAIRS, _MAX_FRAMES, _MAX_CLIPS = 40, 24, 4
_FAR = 1e9
_PLAUSIBLE, _CLEAR = 7.35, 8.6
"""Scores of a guess: below the first are trees of random bones, above the second 95 % of real and drawn rigs."""
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
        four_legs: arms and legs both stand below a level trunk.
    """

    roles: Mapping[str, int]
    confidence: Mapping[str, float]
    positions: Array
    problem: str = ""
    moving: bool = False
    four_legs: bool = False


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
    cosine = float(leg_cosines(guess, guess.poses[:1])[0]) if guess else 0.0
    if guess and cosine > STANDS and on_four_legs(_body(skeleton, guess).roles, guess.poses[0]):
        return Body({}, {}, guess.poses[0], "it stands on four legs", four_legs=True)
    if guess is None or guess.score < _PLAUSIBLE:
        return Body({}, {}, poses[0], "hierarchy and bone lengths show no pair of legs with a pair of arms above")
    if cosine > STANDS:
        why = "its legs do not hang down from the trunk in the rest pose" + (" or the motion" if motion else "")
        return Body({}, {}, poses[0], why)
    if digitigrade(guess):
        return Body({}, {}, guess.poses[0], "its legs bend twice, as those of an animal that walks on its toes")
    return _body(skeleton, guess)


def on_four_legs(roles: Mapping[str, int], positions: Array) -> bool:
    """Whether arms and legs both point down from a level trunk, in a pose (J, 3)."""
    ends = [f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "ankle", "shoulder", "wrist")]
    if any(role not in roles for role in ends):
        return False
    at = {role: positions[roles[role]] for role in ends}
    limbs = [
        unit(at[f"{side}_{end}"] - at[f"{side}_{start}"])
        for side in ("left", "right")
        for start, end in (("hip", "ankle"), ("shoulder", "wrist"))
    ]
    trunk = unit(at["left_shoulder"] + at["right_shoulder"] - at["left_hip"] - at["right_hip"])
    down = unit(np.sum(limbs, axis=0))
    if not np.any(trunk):
        return False
    return all(float(limb @ down) > 0.7 for limb in limbs) and abs(float(trunk @ down)) < 0.6


def _poses(skeleton: Skeleton, motion: Sequence[Clip]) -> Array:
    """(T, J, 3) the rest pose, then frames spread over the motion."""
    poses = [skeleton.rest_model[1][None]]
    clips = [clip for clip in motion if clip.local_rotations.shape[1] == skeleton.joint_count][:_MAX_CLIPS]
    for clip in clips:
        frames = np.unique(np.linspace(0, len(clip.local_rotations) - 1, _MAX_FRAMES // len(clips)).astype(int))
        rotations, translations = clip.local_rotations[frames], clip.local_translations[frames]
        poses.append(local_to_model(rotations, translations, skeleton.parents)[1])
    return np.concatenate(poses)


def _guesses(skeleton: Skeleton, pairs: Sequence[Pair], poses: Array) -> list[Guess]:
    lines = {pair.branch: line_to(skeleton, pair.branch) for pair in pairs}
    longest = max((pair.extent for pair in pairs), default=1.0)
    as_leg = {pair: fit_leg(pair, poses[0]) for pair in pairs}
    as_arm = {pair: fit_arm(pair, poses[0]) for pair in pairs}
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
            leg, arm = as_leg[legs], as_arm[arms]
            if leg is not None and arm is not None:
                found.append(judge(skeleton, legs, leg, arms, arm, pelvis, poses, longest))
    return found


def _body(skeleton: Skeleton, guess: Guess) -> Body:
    spine = [j for j in line_to(skeleton, guess.arms.branch) if j > guess.pelvis]
    head, certain = _head(skeleton, guess)
    joints = {name: getattr(guess.leg, name) for name in ("start", "hinge", "end", "tip")}
    votes = forward_votes(skeleton, guess.poses, limb_ends(guess), trunk_up(guess, guess.poses), head)
    left = 0 if votes >= 0 else 1
    if len(spine) > 1 and head in skeleton.children[spine[-1]] and neck_high(guess, spine[-1]):
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
    first = left ^ crossed(guess)
    for side, number in (("left", first), ("right", 1 - first)):
        arm, fit = guess.arms.sides[number], guess.arm
        found = {"shoulder": arm[fit.start], "elbow": arm[fit.hinge], "wrist": arm[fit.end]}
        if fit.start > 0:
            found["collar"] = arm[fit.start - 1]
        roles |= {f"{side}_{role}": joint for role, joint in found.items()}
        certainty = sides * float(np.clip(0.4 + 0.25 * fit.score, 0.2, 0.95))
        sure |= {f"{side}_{role}": certainty for role in found}
    clear = float(np.interp(guess.score, (_PLAUSIBLE, _CLEAR), (0.6, 1.0)))
    return Body(roles, {role: sure[role] * clear for role in roles}, guess.poses[0], moving=guess.moving)


def _head(skeleton: Skeleton, guess: Guess) -> tuple[int | None, float]:
    """The joint of the trunk, off the limbs, that is where a head's joint is; and how sure that is.

    Judged by its height above the shoulders, by how much of the joints up there it carries (face, hair), and by lying
    over the shoulders. Twice as likely if it hangs below the arms' joint.
    """
    limbs = {*guess.legs.sides[0][:1], *guess.legs.sides[1][:1], *guess.arms.sides[0][:1], *guess.arms.sides[1][:1]}
    banned = {joint for start in limbs for joint in subtree(skeleton, start)} | set(
        line_to(skeleton, guess.arms.branch)
    )
    pose, up = guess.poses[0], trunk_up(guess, guess.poses)[0]
    base = middle(guess.poses[:1], guess.arms, guess.arm.start)[0]
    arm = float(guess.arms.lengths[guess.arm.start + 1 : guess.arm.hinge + 1].sum())
    heights = (pose - base) @ up / arm
    free = [j for j in subtree(skeleton, guess.pelvis) if j not in banned and 0.05 < heights[j] < 1.6]
    if not free:
        return None, 0.0
    count = np.ones(skeleton.joint_count)
    for joint in range(skeleton.joint_count - 1, 0, -1):
        count[skeleton.parents[joint]] += count[joint]
    most = count[free].max()
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
