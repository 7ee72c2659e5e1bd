"""Where a character's way through the world goes: into its pelvis, out of it, or onto a root bone."""

from __future__ import annotations

from enum import Enum

import numpy as np

from animoe.errors import InvalidRequest, NotFound
from animoe.motion.features import heading
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.frames import EngineFrame, positions_to_frame, quaternion_basis
from animoe.retarget.quadratic import left_matrix, right_matrix, rotated_constant, squares
from animoe.retarget.rig import Rig
from animoe.rig.rotations import Array, to_matrix
from animoe.rig.skeleton import Skeleton


class RootMotion(Enum):
    """WORLD: the pelvis moves through the world, joints above it rest.

    IN_PLACE: the character stays over the origin, facing ahead; its way is reported beside the pose, for a capsule.
    ROOT_BONE: the way is on the rig's root joint above the pelvis (Unreal's `root`), the pose is as IN_PLACE. A rig
    whose pelvis is its root has no such joint: then as IN_PLACE.
    """

    WORLD = "world"
    IN_PLACE = "in_place"
    ROOT_BONE = "root_bone"

    @classmethod
    def parse(cls, name: str) -> RootMotion:
        """The mode called `name`; `-` and `_` alike. Raises NotFound with the choices."""
        try:
            return cls(name.strip().lower().replace("-", "_"))
        except ValueError:
            choices = ", ".join(mode.value.replace("_", "-") for mode in cls)
            raise NotFound(f"unknown root motion {name!r}; choose from {choices}") from None


def has_root_bone(rig: Rig) -> bool:
    """Whether a joint above the pelvis can carry the way."""
    return rig.roles["pelvis"][0] != 0


def check_root_motion(mode: RootMotion, rig: Rig) -> None:
    """Raises InvalidRequest when a caller wants the way on a root bone that the rig lacks."""
    if mode is RootMotion.ROOT_BONE and not has_root_bone(rig):
        raise InvalidRequest(
            f"root motion root-bone needs a joint above the pelvis, which rig {rig.name!r} lacks; use in-place and "
            "move the character by the root positions and rotations of each block"
        )


def block_headings(block: PoseBlock) -> Array:
    """(n,) radians about +Y: the block's own headings, else the smoothed heading of its pelvis."""
    if block.headings is not None:
        return np.asarray(block.headings, dtype=np.float64)
    return heading(np.asarray(block.local_rotations, dtype=np.float64)[:, 0])


def yaw_turns(headings: Array) -> Array:
    """(n, 4) rotations about +Y."""
    turns = np.zeros((len(headings), 4))
    np.sin(headings / 2, out=turns[:, 1])
    np.cos(headings / 2, out=turns[:, 3])
    return turns


class RootWay:
    """The way of a rig's character in its engine frame.

    Args:
        skeleton: of the rig. turn: (4,) the yaw that the rig faces at rest.

    Attributes:
        place, heading: (3, 3) and (4, 4) that rows of places and turns are multiplied by.
        joint_turn, joint_place: the same for a root joint that carries the way.
        joint_into, joint_rest: (3, 3) times (3,), turned with the way, comes on top of that joint's place.
    """

    def __init__(self, skeleton: Skeleton, frame: EngineFrame, turn: Array) -> None:
        ahead = to_matrix(turn)
        self.place = positions_to_frame(ahead.T, frame)  # linear in the place
        self.heading = quaternion_basis(frame).T
        into = quaternion_basis(frame.joints), to_matrix(frame.root_turn) @ frame.joints.axes / frame.unit_m
        self.joint_turn = (left_matrix(frame.root_turn) @ into[0] @ right_matrix(skeleton.rest_rotations[0])).T
        self.joint_place = (into[1] @ ahead).T
        self.joint_into, self.joint_rest = into[1], skeleton.rest_translations[0]
        self._joint_rest = rotated_constant(self.joint_rest) @ into[1].T

    def in_frame(self, way: Array, yaws: Array) -> tuple[Array, Array]:
        """Positions (n, 3) and rotations (n, 4) of the way, (n, 3) metres and (n, 4), as the frame has them."""
        return way @ self.place, yaws @ self.heading

    def root_joint(self, way: Array, yaws: Array) -> tuple[Array, Array]:
        """Local rotations (n, 4) and translations (n, 3) of a root joint that carries the way."""
        return yaws @ self.joint_turn, way @ self.joint_place + squares(yaws) @ self._joint_rest
