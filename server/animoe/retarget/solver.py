"""Any rig out: blocks of canonical motion -> local transforms of a user's rig, in its engine's axes and unit.

Every driven joint copies the change of its canonical joint from the rest pose (see `alignment`):
    G_rig[r] = W * G_canonical[j] * match[j]^-1 * G_rest[r]
with W the way the rig faces at rest. Written for local rotations, with a the nearest driven joint above r,
    L[r] = (G_rest[parent]^-1 * match_a) * (canonical turn from a to r) * (match_r^-1 * G_rest[r])
the outer factors are constant and the middle one is a short product of canonical local rotations (see
`chains`): no forward kinematics runs per frame. Twist joints take their share (see `twist`); other joints
without a role keep their local rest rotation.

The pelvis follows the canonical hip centre, sideways scaled by the ratio of leg lengths; its height is the
one at which the lowest point of the feet is as far (in leg lengths) above its rest height as on the canonical
body, so that feet stand on the floor whatever the rig's proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from animoe.errors import InvalidRequest, ShapeError
from animoe.motion.clip import Clip
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.alignment import CANONICAL_INDEX, RestMatch, match_rest
from animoe.retarget.chains import Drive, drives, remainder
from animoe.retarget.feet import FeetPlacer
from animoe.retarget.frames import EngineFrame, locals_from_frame, locals_to_frame, quaternion_basis
from animoe.retarget.quadratic import (
    fast_multiply,
    left_matrix,
    power,
    right_matrix,
    rotated_constant,
    squares,
)
from animoe.retarget.rig import Rig
from animoe.retarget.twist import TwistJoints
from animoe.rig.canonical import FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.rotations import IDENTITY, Array, from_yaw, inverse, multiply, rotate, to_matrix

_PELVIS = CANONICAL_INDEX["pelvis"]
_HIPS = (CANONICAL_INDEX["left_hip"], CANONICAL_INDEX["right_hip"])


@dataclass(frozen=True, eq=False)
class RigBlock:
    """n consecutive frames on a user's rig, in its engine frame's axes and unit.

    Attributes:
        first_frame: index of the first frame from the start of the stream, at 30 fps.
        local_rotations: (n, J, 4) xyzw relative to the parent; they replace the rest rotations.
        local_translations: (n, K, 3) relative to the parent, for `Retargeter.translated_joints` only; every
            other joint keeps its rest translation.
        contacts: (n, 4) probability that left ankle, left toes, right ankle, right toes stand on the floor.
    """

    first_frame: int
    local_rotations: Array
    local_translations: Array
    contacts: Array


class Retargeter:
    """Puts canonical motion on one rig. Everything that does not change per frame is worked out here, once.

    Args:
        rig: the target.
        frame: where `RigBlock` numbers live.

    Attributes:
        translated_joints: joints whose local translation is streamed: the pelvis (and limbs that do not hang
            on it). Joints above it, such as Unreal's `root`, stay at rest: the motion is in the pelvis.
        rest_rotations: (J, 4) local rest rotations in the frame.
        rest_translations: (J, 3) local rest translations in the frame and its unit.
    """

    def __init__(self, rig: Rig, frame: EngineFrame = EngineFrame.GLTF) -> None:
        self.rig, self.frame = rig, frame
        skeleton = rig.skeleton
        self.rest_rotations, self.rest_translations = locals_to_frame(
            skeleton.rest_rotations, skeleton.rest_translations, frame
        )
        match = match_rest(skeleton, rig.roles)
        turn = _facing(match.body)
        plan = drives(rig)
        self.translated_joints = tuple(d.joint for d in plan if d.parent < 0)
        self._compile_rotations(plan, match, turn)
        self._compile_root(match, turn)
        self._feet = FeetPlacer(rig, match)
        self._twist = TwistJoints(rig, match, frame, self.rest_rotations)

    def apply(self, block: PoseBlock) -> RigBlock:
        """Retargets a block; blocks are independent of each other.

        Raises:
            ShapeError: arrays that are not a block of canonical motion.
        """
        local = np.asarray(block.local_rotations, dtype=np.float64)
        root = np.asarray(block.root_positions, dtype=np.float64)
        count = len(local)
        if local.shape != (count, 22, 4) or root.shape != (count, 3):
            raise ShapeError(
                f"a block needs local rotations (n, 22, 4) and root positions (n, 3); got {local.shape} and "
                f"{root.shape}"
            )
        return RigBlock(
            block.first_frame,
            self._rotations(local),
            self._translations(local, root),
            np.asarray(block.contacts),
        )

    def to_clip(self, blocks: Sequence[RigBlock], name: str = "") -> Clip:
        """Joins consecutive blocks of this retargeter into a clip in our axes and metres, for files."""
        if not blocks:
            raise InvalidRequest("no frames to make a clip of; pass at least one block")
        rotations = np.concatenate([block.local_rotations for block in blocks])
        translations = np.tile(self.rest_translations, (len(rotations), 1, 1))
        translations[:, list(self.translated_joints)] = np.concatenate([b.local_translations for b in blocks])
        return Clip(self.rig.skeleton, FRAME_RATE_HZ, *locals_from_frame(rotations, translations, self.frame), name)

    def _compile_rotations(self, plan: Sequence[Drive], match: RestMatch, turn: Array) -> None:
        """Constant factors (R, 4, 4) of the R driven joints and the list of powers that they multiply."""
        parents, to_frame = self.rig.skeleton.parents, quaternion_basis(self.frame.joints)
        path_of = {drive.joint: drive for drive in plan}
        products, self._outer = [], np.empty((len(plan), 4, 4))
        for row, drive in enumerate(plan):
            above = path_of.get(drive.parent)
            products.append(remainder(above.path if above else (), drive.path))
            parent = int(parents[drive.joint])
            before = match.match[above.role] if above else turn
            if parent >= 0:
                before = multiply(inverse(match.rest_rotations[parent]), before)
            after = multiply(inverse(match.match[drive.role]), match.rest_rotations[drive.joint])
            self._outer[row] = to_frame @ left_matrix(before) @ right_matrix(after)
            if drive.joint == 0:
                self._outer[row] = left_matrix(self.frame.root_turn) @ self._outer[row]
        self._driven = np.array([drive.joint for drive in plan])
        self._compile_products(products)

    def _compile_products(self, products: Sequence[Sequence[tuple[int, float]]]) -> None:
        """Numbers the distinct powers; `_steps` multiply further factors onto the rows that have them."""
        distinct = sorted({factor for product in products for factor in product}, key=lambda f: (f[1] != 1.0, f))
        number = {factor: i for i, factor in enumerate(distinct)}
        nothing = len(distinct)
        self._sources = np.array([joint for joint, _ in distinct])
        self._plain = sum(weight == 1.0 for _, weight in distinct)
        self._exponents = np.array([weight for _, weight in distinct[self._plain :]])
        self._first = np.array([number[p[0]] if p else nothing for p in products])
        self._steps = []
        for k in range(1, max((len(p) for p in products), default=0)):
            rows = [row for row, p in enumerate(products) if len(p) > k]
            self._steps.append((np.array(rows), np.array([number[products[row][k]] for row in rows])))

    def _compile_root(self, match: RestMatch, turn: Array) -> None:
        """Where the translated joints sit around the hip centre, and the way into their parents' space."""
        rest = canonical_skeleton().rest_model[1]
        self._hip_centre = rotated_constant(rest[list(_HIPS)].mean(axis=0) - rest[_PELVIS])
        hips = [self.rig.roles[role][0] for role in ("left_hip", "right_hip")]
        centre = match.rest_positions[hips].mean(axis=0)
        axes, self._ratio = to_matrix(turn), match.leg_ratio
        start = match.rest_positions[0] * [1.0, 0.0, 1.0] if self.translated_joints != (0,) else np.zeros(3)
        offsets, linear, constant = [], [], []
        for joint in self.translated_joints:
            arm = rotate(inverse(match.match[_PELVIS]), match.rest_positions[joint] - centre)
            parent = int(self.rig.skeleton.parents[joint])
            into = np.eye(3) if parent < 0 else to_matrix(match.rest_rotations[parent]).T
            base = np.zeros(3) if parent < 0 else match.rest_positions[parent]
            into = self.frame.joints.axes @ into / self.frame.unit_m
            if joint == 0:
                into = to_matrix(self.frame.root_turn) @ into
            offsets.append(rotated_constant(arm))
            linear.append(into @ axes)
            constant.append(into @ (start - base))
        self._arms = np.stack(offsets)
        self._into, self._base = np.stack(linear), np.stack(constant)

    def _rotations(self, local: Array) -> Array:
        """(n, J, 4) rig local rotations in the frame, from canonical (n, 22, 4)."""
        factors = np.empty((len(local), len(self._sources) + 1, 4))
        factors[:, :-1] = local[:, self._sources]
        factors[:, -1] = IDENTITY
        if len(self._exponents):
            factors[:, self._plain : -1] = power(factors[:, self._plain : -1], self._exponents)
        turns = factors[:, self._first]
        for rows, column in self._steps:
            turns[:, rows] = fast_multiply(turns[:, rows], factors[:, column])
        rotations = np.empty((len(local), *self.rest_rotations.shape))
        rotations[:] = self.rest_rotations
        rotations[:, self._driven] = np.matmul(self._outer, turns[..., None])[..., 0]
        if len(self._twist.joints):
            self._twist.apply(rotations)
        return rotations

    def _translations(self, local: Array, root: Array) -> Array:
        """(n, K, 3) local translations of `translated_joints` in the frame and its unit."""
        pelvis = squares(local[:, _PELVIS])
        hips = root + pelvis @ self._hip_centre
        centre = hips * self._ratio
        centre[:, 1] = self._feet.hip_heights(local, hips[:, 1])
        world = centre[:, None] + (pelvis[:, None, None] @ self._arms)[:, :, 0]
        translations: Array = np.matmul(self._into, world[..., None])[..., 0] + self._base
        return translations


def _facing(body: Array) -> Array:
    """(4,) the yaw of the rig's body at rest: a rig that faces -Z at rest walks towards -Z."""
    forward = rotate(body, np.array([0.0, 0.0, 1.0]))
    yaw: Array = from_yaw(np.arctan2(forward[0], forward[2]))
    return yaw
