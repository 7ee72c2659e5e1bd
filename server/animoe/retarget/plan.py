"""What of a rig's retargeting does not change from frame to frame, worked out once. See `solver` for the equations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animoe.retarget.alignment import CANONICAL_INDEX, facing, match_rest
from animoe.retarget.chains import Drive, Factor, drives, remainder
from animoe.retarget.feet import FeetPlacer
from animoe.retarget.frames import EngineFrame, quaternion_basis
from animoe.retarget.planting import Planting
from animoe.retarget.quadratic import left_matrix, right_matrix
from animoe.retarget.rig import Rig
from animoe.retarget.root_motion import RootMotion, RootWay
from animoe.retarget.twist import TwistJoints
from animoe.rig.canonical import canonical_skeleton
from animoe.rig.rotations import Array, inverse, multiply, rotate, to_matrix

PELVIS = CANONICAL_INDEX["pelvis"]
_HIPS = (CANONICAL_INDEX["left_hip"], CANONICAL_INDEX["right_hip"])


class Plan:
    """The constants of one rig in one engine frame.

    Args:
        rig: the target. frame: where the result's numbers live. rest_rotations: (J, 4) local, in the frame.
        root_motion: where the way through the world goes. foot_lock: hold standing feet in place.

    Attributes:
        match: the rig's rest pose tied to the canonical one.
        driven: (R,) joints that canonical motion turns. products: for each, the powers of canonical local rotations
            that are multiplied. outer: (R, 4, 4) what stands before and behind the product.
        started: K joints that start a driven chain and are translated. arms: (K, 3) of them from the rig's hip centre,
            in the space of the canonical pelvis. into, base: (K, 3, 3) and (K, 3) from the world into the space of
            their parents.
        hip_centre: (3,) from the canonical pelvis. ratio: of the leg lengths.
        world: the way through the world stays in the pose. root_bone: joint 0 carries it.
        feet, planting, twist, way: the parts for hip heights, foot locks (None without), twist joints and the way.
    """

    def __init__(
        self, rig: Rig, frame: EngineFrame, rest_rotations: Array, root_motion: RootMotion, *, foot_lock: bool
    ) -> None:
        self.rest_rotations = rest_rotations
        self.match = match = match_rest(rig.skeleton, rig.roles)
        turn, found = facing(match.body), drives(rig)
        self.started = tuple(drive.joint for drive in found if drive.parent < 0)
        self.world = root_motion is RootMotion.WORLD
        self.root_bone = root_motion is RootMotion.ROOT_BONE and self.started[0] != 0
        self.driven = np.array([drive.joint for drive in found])
        self._compile_rotations(found, rig, frame, turn)
        self._compile_root(rig, frame, turn)
        self.feet = FeetPlacer(rig, match)
        self.planting = Planting(self.feet) if foot_lock else None
        self.twist = TwistJoints(rig, match, frame, rest_rotations)
        self.way = RootWay(rig.skeleton, frame, turn)

    def _compile_rotations(self, found: Sequence[Drive], rig: Rig, frame: EngineFrame, turn: Array) -> None:
        parents, match, to_frame = rig.skeleton.parents, self.match, quaternion_basis(frame.joints)
        path_of = {drive.joint: drive for drive in found}
        self.products: list[tuple[Factor, ...]] = []
        self.outer: Array = np.empty((len(found), 4, 4))
        for row, drive in enumerate(found):
            above = path_of.get(drive.parent)
            self.products.append(remainder(above.path if above else (), drive.path))
            parent = int(parents[drive.joint])
            before = match.match[above.role] if above else turn
            if parent >= 0:
                before = multiply(inverse(match.rest_rotations[parent]), before)
            after = multiply(inverse(match.match[drive.role]), match.rest_rotations[drive.joint])
            self.outer[row] = to_frame @ left_matrix(before) @ right_matrix(after)
            if drive.joint == 0:
                self.outer[row] = left_matrix(frame.root_turn) @ self.outer[row]

    def _compile_root(self, rig: Rig, frame: EngineFrame, turn: Array) -> None:
        match, rest = self.match, canonical_skeleton().rest_model[1]
        self.hip_centre: Array = rest[list(_HIPS)].mean(axis=0) - rest[PELVIS]
        centre = match.rest_positions[[rig.roles[role][0] for role in ("left_hip", "right_hip")]].mean(axis=0)
        axes, self.ratio = to_matrix(turn), match.leg_ratio
        start = match.rest_positions[0] * [1.0, 0.0, 1.0] if self.started != (0,) else np.zeros(3)
        arms, linear, constant = [], [], []
        for joint in self.started:
            arms.append(rotate(inverse(match.match[PELVIS]), match.rest_positions[joint] - centre))
            parent = int(rig.skeleton.parents[joint])
            into = np.eye(3) if parent < 0 else to_matrix(match.rest_rotations[parent]).T
            base = np.zeros(3) if parent < 0 else match.rest_positions[parent]
            into = frame.joints.axes @ into / frame.unit_m
            if joint == 0:
                into = to_matrix(frame.root_turn) @ into
            linear.append(into @ axes)
            constant.append(into @ (start - base))
        self.arms, self.into, self.base = np.stack(arms), np.stack(linear), np.stack(constant)
