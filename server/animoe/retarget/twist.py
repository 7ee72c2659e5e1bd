"""Twist joints: helpers along a limb that take their share of its turn about its own axis, so that skin does
not wring.

The hand's (or foot's) twist is shared out along the forearm (shin): a joint at a fraction f of the bone takes
f of it. The upper arm (thigh) turns as a whole; a joint at f keeps f of that twist by undoing the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from animoe.retarget.alignment import RestMatch
from animoe.retarget.frames import EngineFrame, quaternion_basis
from animoe.retarget.quadratic import fast_multiply, power
from animoe.retarget.rig import Rig
from animoe.retarget.topology import is_ancestor
from animoe.rig.rotations import Array, inverse, rotate

_NAME = re.compile(r"twist", re.IGNORECASE)
_FROM_END = (("elbow", "wrist"), ("knee", "ankle"))
_FROM_START = (("shoulder", "elbow"), ("hip", "knee"))
_FADE = 0.2
"""Twist has no meaning near a swing of 180 degrees: below this cos^2(swing / 2) it fades out."""


class TwistJoints:
    """The twist joints of one rig.

    Args:
        rig: the target.
        match: its rest pose.
        frame: where local rotations live.
        rest_rotations: (J, 4) local rest rotations in the frame.

    Attributes:
        joints: (T,) the twist joints. sources: (T,) joints whose turn they share. axes: (T, 3) of their bones.
        shares: (T,) of the turn. before, after: (T, 4) make a source's local rotation its change from the rest pose.
        rest: (T, 4) their own local rest rotations.
    """

    def __init__(self, rig: Rig, match: RestMatch, frame: EngineFrame, rest_rotations: Array) -> None:
        joints, sources, axes, shares, own = [], [], [], [], []
        for start, end, from_start in _limbs(rig):
            bone = rotate(inverse(match.rest_rotations[start]), match.rest_positions[end] - match.rest_positions[start])
            for joint in _helpers(rig, start):
                fraction = _fraction(match, joint, start, end)
                if fraction is None:
                    continue
                joints.append(joint)
                sources.append(start if from_start else end)
                axes.append(bone / np.linalg.norm(bone))
                shares.append(fraction - 1.0 if from_start else fraction)
                own.append(from_start)
        self.joints = np.array(joints, dtype=np.int64)
        self.sources, self.shares = np.array(sources, dtype=np.int64), np.array(shares)
        self.axes = np.array(axes).reshape(-1, 3) @ quaternion_basis(frame.joints)[:3, :3].T
        self.rest = rest_rotations[self.joints]
        rest = inverse(rest_rotations[self.sources])
        identity = np.broadcast_to(np.array([0.0, 0.0, 0.0, 1.0]), rest.shape)
        self.before = np.where(np.array(own, dtype=bool)[:, None], rest, identity)
        self.after = np.where(np.array(own, dtype=bool)[:, None], identity, rest)

    def apply(self, rotations: Array) -> None:
        """Turns the twist joints of local rotations (n, J, 4), in place, after their limbs."""
        change = rotations[:, self.sources]
        # A limb's own twist is seen in its own axes (L = rest * change), its end's in the limb's (L =
        # change * rest).
        change = fast_multiply(
            fast_multiply(np.broadcast_to(self.before, change.shape), change),
            np.broadcast_to(self.after, change.shape),
        )
        along = np.sum(change[..., :3] * self.axes, axis=-1)
        certainty = along**2 + change[..., 3] ** 2
        unit = 1.0 / np.sqrt(np.maximum(certainty, 1e-12))
        twist = np.concatenate([self.axes * (along * unit)[..., None], (change[..., 3] * unit)[..., None]], axis=-1)
        turned = power(twist, self.shares * np.minimum(certainty / _FADE, 1.0))
        rotations[:, self.joints] = fast_multiply(turned, np.broadcast_to(self.rest, turned.shape))


def _limbs(rig: Rig) -> list[tuple[int, int, bool]]:
    """Start and end joint of each limb bone, and whether its twist is the start's own."""
    return [
        (rig.roles[f"{side}_{a}"][0], rig.roles[f"{side}_{b}"][0], bones is _FROM_START)
        for side in ("left", "right")
        for bones in (_FROM_END, _FROM_START)
        for a, b in bones
    ]


def _helpers(rig: Rig, start: int) -> Sequence[int]:
    """Children of a limb joint that are called twist and carry no joint with a role."""
    skeleton = rig.skeleton
    played = {joint for joints in rig.roles.values() for joint in joints}
    return [
        child
        for child in skeleton.children[start]
        if _NAME.search(skeleton.joint_names[child])
        and not any(joint == child or is_ancestor(skeleton.parents, child, joint) for joint in played)
    ]


def _fraction(match: RestMatch, joint: int, start: int, end: int) -> float | None:
    """How far along the bone a joint lies, 0 to 1; None when it is not on the bone."""
    bone = match.rest_positions[end] - match.rest_positions[start]
    offset = match.rest_positions[joint] - match.rest_positions[start]
    fraction = float(offset @ bone / (bone @ bone))
    beside = float(np.linalg.norm(offset - fraction * bone)) / float(np.linalg.norm(bone))
    return fraction if -0.05 <= fraction <= 1.05 and beside < 0.2 else None
