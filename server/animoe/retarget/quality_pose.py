"""BodyPose: a clip on a rig seen as a body, by roles instead of joints. What the quality measures look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from animoe.motion.clip import Clip
from animoe.retarget.alignment import CANONICAL_INDEX, RestMatch, facing, leg_length, match_rest
from animoe.retarget.chain_turns import canonical_turns
from animoe.retarget.feet import rest_heights
from animoe.retarget.rig import Rig
from animoe.rig.canonical import canonical_skeleton
from animoe.rig.rotations import Array, inverse, multiply, rotate

CANONICAL_LEG_M = leg_length(canonical_skeleton().rest_model[1], CANONICAL_INDEX)
FEET = ("left_ankle", "left_foot", "right_ankle", "right_foot")


@dataclass(frozen=True, eq=False)
class BodyPose:
    """T frames of a rig.

    Attributes:
        rig: with its roles.
        match: its rest pose tied to the canonical one.
        frame_rate_hz: frames per second.
        rotations: (T, J, 4) world rotations.
        positions: (T, J, 3) world positions, metres.
        joints: role -> joint; the last of several.
    """

    rig: Rig
    match: RestMatch
    frame_rate_hz: float
    rotations: Array
    positions: Array
    joints: Mapping[str, int]

    @classmethod
    def of(cls, rig: Rig, clip: Clip) -> BodyPose:
        """The clip must be on the rig's skeleton."""
        return cls(rig, _match(rig), clip.frame_rate_hz, *clip.world(), _joints(rig))

    @classmethod
    def at_rest(cls, rig: Rig) -> BodyPose:
        """One frame: the rest pose."""
        match = _match(rig)
        return cls(rig, match, 1.0, match.rest_rotations[None], match.rest_positions[None], _joints(rig))

    @property
    def frame_count(self) -> int:
        return len(self.positions)

    @property
    def size(self) -> float:
        """The rig's leg length over the canonical one: what distances on an adult are multiplied by."""
        return self.match.leg_ratio

    @cached_property
    def turns(self) -> Array:
        """(T, 22, 4) model rotations of the canonical joints in this pose."""
        return canonical_turns(self.rig, self.match, self.rotations)

    @cached_property
    def foot_heights(self) -> Array:
        """(4,) heights of FEET above the floor at rest, metres."""
        return rest_heights(self.rig, self.match).T.reshape(-1)

    @cached_property
    def feet(self) -> Array:
        """(T, 4, 3) positions of FEET; toes that the rig lacks lie where the canonical ones would."""
        return np.stack([self._toes(role) if role not in self.joints else self.at(role) for role in FEET], axis=1)

    @cached_property
    def soles(self) -> Array:
        """(T, 4, 3) points under FEET that touch the floor at rest and turn with their joint."""
        down = np.array([0.0, -1.0, 0.0]) * self.foot_heights[:, None]
        turned = [rotate(self.change(role), down[column]) for column, role in enumerate(FEET)]
        soles: Array = self.feet + np.stack(turned, axis=1)
        return soles

    def at(self, role: str) -> Array:
        """(T, 3) position of a role that the rig has."""
        position: Array = self.positions[:, self.joints[role]]
        return position

    def change(self, role: str) -> Array:
        """(T, 4) turn of a role's joint from its rest pose, in the world; missing toes turn with the foot."""
        joint = self.joints[role] if role in self.joints else self.joints[role.replace("foot", "ankle")]
        return multiply(self.rotations[:, joint], inverse(self.match.rest_rotations[joint]))

    def reach(self, start: str, end: str) -> Array:
        """(T, 3) from one role to another at the end of its limb, in limb lengths and canonical axes."""
        middle = {"shoulder": "elbow", "hip": "knee"}[start.split("_")[1]]
        chain = [self.joints[role] for role in (start, f"{start.split('_')[0]}_{middle}", end)]
        length = float(np.linalg.norm(np.diff(self.match.rest_positions[chain], axis=0), axis=-1).sum())
        return rotate(inverse(facing(self.match.body)), (self.at(end) - self.at(start)) / length)

    def _toes(self, role: str) -> Array:
        ankle = role.replace("foot", "ankle")
        rest = canonical_skeleton().rest_translations[CANONICAL_INDEX[role]] * self.size
        return self.at(ankle) + rotate(self.change(ankle), rotate(self.match.match[CANONICAL_INDEX[ankle]], rest))


@lru_cache(maxsize=32)
def _match(rig: Rig) -> RestMatch:
    return match_rest(rig.skeleton, rig.roles)


def _joints(rig: Rig) -> dict[str, int]:
    return {role: found[-1] for role, found in rig.roles.items()}
