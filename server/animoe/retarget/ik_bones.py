"""Unreal's IK helper bones: `ik_foot_l`, `ik_hand_gun` and their like follow feet and hands in model space.

They hang on the root, not on the limbs, and animation blueprints read from them where feet and hands belong: left at
rest they would pull every limb to the rest pose. Each keeps the place it has at rest relative to its foot or hand.

Everything is relative to joint 0, so it holds in any engine frame and wherever root motion goes. The model rotations of
the limbs are products along the hierarchy, taken by doubling: ten levels in four batched products.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from animoe.retarget.quadratic import (
    fast_multiply,
    fast_rotate,
    left_matrix,
    right_matrix,
    rotated_constant,
    squares,
)
from animoe.retarget.rig import Rig
from animoe.retarget.two_bone import conjugate
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import IDENTITY, Array, inverse, multiply, rotate, to_matrix

_FOLLOWED = {
    "ik_foot_l": "left_ankle",
    "ik_foot_r": "right_ankle",
    "ik_hand_gun": "right_wrist",
    "ik_hand_l": "left_wrist",
    "ik_hand_r": "right_wrist",
}
_NEAR = 0.15
"""In leg lengths: a bone that rests farther from its foot or hand was never posed; it takes that joint's transform."""


class IkBones:
    """The IK bones of one rig.

    Args:
        rig: the target.
        rest_rotations: (J, 4), rest_translations: (J, 3) local rest pose in the engine frame.
        moving: joints with streamed rotations; one below which an IK bone hangs makes it useless, it stays at rest.
        translated: K joints with streamed translations.

    Attributes:
        joints: B joints that follow something.
    """

    def __init__(
        self,
        rig: Rig,
        rest_rotations: Array,
        rest_translations: Array,
        moving: Collection[int],
        translated: Sequence[int],
    ) -> None:
        self._parents = rig.skeleton.parents
        locals_ = rest_rotations.copy(), rest_translations.copy()
        locals_[0][0], locals_[1][0] = IDENTITY, 0.0
        self._turns, self._places = local_to_model(*locals_, self._parents)
        self._offsets = rest_translations
        followed = _followed(rig, {*moving, *translated})
        self.joints = tuple(followed)
        if not followed:
            return
        self._rows = np.array(self.joints)
        self._limbs = np.array(sorted({joint for target in followed.values() for joint in self._way_to(target)}))
        self._compile_products()
        leg = float(np.linalg.norm(self._places[rig.roles["left_hip"][0]] - self._places[rig.roles["left_ankle"][0]]))
        self._compile_bones(followed, list(translated), _NEAR * leg)

    def apply(self, rotations: Array, translations: Array) -> Array:
        """Turns the IK bones of local rotations (n, J, 4) in place.

        Args:
            translations: (n, K, 3) of the translated joints.

        Returns:
            (n, B, 3) local translations of the IK bones.
        """
        count = len(rotations)
        turns = np.empty((count, len(self._limbs) + 1, 4))
        turns[:, :-1], turns[:, -1] = rotations.take(self._limbs, axis=1), IDENTITY
        for jump in self._jumps:
            turns[:, :-1] = fast_multiply(turns.take(jump, axis=1), turns[:, :-1])
        places = squares(turns[:, :-1]).reshape(count, -1) @ self._bones
        places += translations.reshape(count, -1) @ self._linear + self._base
        found: Array = places.reshape(count, -1, 3)
        bones = np.matmul(self._outer, turns.take(self._targets, axis=1)[..., None])[..., 0]
        if len(self._below):
            back = conjugate(bones[:, self._above])
            offsets = found[:, self._below] - found[:, self._above]
            bones[:, self._below] = fast_multiply(back, bones[:, self._below])
            found[:, self._below] = fast_rotate(back, offsets)
        rotations[:, self._rows] = bones
        return found

    def _way_to(self, joint: int) -> list[int]:
        """From `joint` up to the joint below joint 0."""
        way = []
        while joint > 0:
            way.append(joint)
            joint = int(self._parents[joint])
        return way

    def _compile_products(self) -> None:
        """Step k multiplies every limb joint with the product of its 2^k ancestors above."""
        number = {joint: i for i, joint in enumerate(self._limbs.tolist())}
        none = len(self._limbs)
        jump = np.array([*(number.get(int(self._parents[joint]), none) for joint in number), none])
        self._jumps = []
        while (jump != none).any():
            self._jumps.append(jump[:-1])
            jump = jump[jump]

    def _compile_bones(self, followed: dict[int, int], translated: list[int], near: float) -> None:
        """Linear maps to the places of the bones, in the space of the still joint that each hangs on."""
        number = {joint: i for i, joint in enumerate(self._limbs.tolist())}
        row = {joint: i for i, joint in enumerate(self.joints)}
        self._targets = np.array([number[target] for target in followed.values()])
        bones = np.zeros((len(self._limbs), 16, len(row), 3))
        linear = np.zeros((len(translated), 3, len(row), 3))
        base = np.zeros((len(row), 3))
        self._outer = np.empty((len(row), 4, 4))
        for joint, target in followed.items():
            still = int(self._parents[joint])
            while still in row:
                still = int(self._parents[still])
            turn, offset = self._held(joint, target, near)
            into = to_matrix(self._turns[still]).T
            self._outer[row[joint]] = left_matrix(inverse(self._turns[still])) @ right_matrix(turn)
            bones[number[target], :, row[joint]] += rotated_constant(offset) @ into.T
            base[row[joint]] -= into @ self._places[still]
            for part in self._way_to(target):
                above = int(self._parents[part])
                if part in translated:
                    linear[translated.index(part), :, row[joint]] = (into @ to_matrix(self._turns[above])).T
                elif above == 0:
                    base[row[joint]] += into @ self._offsets[part]
                else:
                    bones[number[above], :, row[joint]] += rotated_constant(self._offsets[part]) @ into.T
        below = [joint for joint in self.joints if int(self._parents[joint]) in row]
        self._below = np.array([row[joint] for joint in below], dtype=np.int64)
        self._above = np.array([row[int(self._parents[joint])] for joint in below], dtype=np.int64)
        self._bones, self._linear = bones.reshape(-1, base.size), linear.reshape(-1, base.size)
        self._base = base.ravel()

    def _held(self, joint: int, target: int, near: float) -> tuple[Array, Array]:
        """Turn (4,) and offset (3,) of a bone relative to what it follows, as at rest."""
        back = inverse(self._turns[target])
        offset = rotate(back, self._places[joint] - self._places[target])
        if np.linalg.norm(offset) > near:
            return IDENTITY.copy(), np.zeros(3)
        return multiply(back, self._turns[joint]), offset


def _followed(rig: Rig, moving: Collection[int]) -> dict[int, int]:
    """IK bone -> joint that it follows, parents first."""
    skeleton, found = rig.skeleton, dict[int, int]()
    for joint, name in enumerate(skeleton.joint_names):
        target = rig.roles.get(_FOLLOWED.get(name.rpartition(":")[2].lower(), ""))
        if target is None or joint == 0 or joint in moving:
            continue
        parent = int(skeleton.parents[joint])
        if found.get(parent) == target[0]:
            continue  # it rests on a bone that follows the same joint already
        above = parent
        while above in found or (above > 0 and above not in moving):
            above = int(skeleton.parents[above])
        if above <= 0:
            found[joint] = target[0]
    return found
