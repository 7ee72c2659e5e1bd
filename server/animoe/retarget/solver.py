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

On request standing feet are held in place (`planting`), hands keep their places relative to the body (`reach`), and
the way through the world is taken out of the pelvis (`root_motion`); all three act on the canonical side, before the
copy. Only the foot lock remembers anything: its state belongs to a character, the retargeter to a rig.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from animoe.errors import InvalidRequest, ShapeError
from animoe.motion.clip import Clip
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.alignment import CANONICAL_INDEX, RestMatch, facing, match_rest
from animoe.retarget.chains import Drive, drives, remainder
from animoe.retarget.feet import FeetPlacer
from animoe.retarget.frames import EngineFrame, locals_from_frame, locals_to_frame, quaternion_basis
from animoe.retarget.ik_bones import IkBones
from animoe.retarget.planting import Planting, Stance
from animoe.retarget.quadratic import (
    fast_multiply,
    fast_rotate,
    left_matrix,
    power,
    right_matrix,
    rotated_constant,
    squares,
)
from animoe.retarget.reach import Reaching
from animoe.retarget.rig import Rig
from animoe.retarget.root_motion import RootMotion, RootWay, block_headings, yaw_turns
from animoe.retarget.twist import TwistJoints
from animoe.retarget.two_bone import conjugate
from animoe.rig.canonical import FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.rotations import IDENTITY, Array, inverse, multiply, rotate, to_matrix

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
        root_positions: (n, 3) the character's place on the floor in the world. root_rotations: (n, 4) its heading.
            With RootMotion.WORLD both are in the pose already; else this is the way that was taken out of it.
    """

    first_frame: int
    local_rotations: Array
    local_translations: Array
    contacts: Array
    root_positions: Array
    root_rotations: Array


@dataclass(frozen=True)
class RetargetOptions:
    """How motion is put on a rig.

    Attributes:
        root_motion: where the way through the world goes.
        foot_lock: hold standing feet in place.
        reach: 0 = arms copy the turns of the source; 1 = hands come to the place that they have on the source body,
            scaled to this rig (hands that touch there touch here); between, a blend.
        ik_bones: Unreal's IK bones, where the rig has them, follow feet and hands; else they stay at rest. A block of
            one character then takes about 0.1 ms longer.
    """

    root_motion: RootMotion = RootMotion.WORLD
    foot_lock: bool = False
    reach: float = 0.0
    ik_bones: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.reach <= 1.0:
            raise InvalidRequest(f"reach must be between 0 and 1, got {self.reach:g}")


class RetargetState:
    """What a retargeter remembers of one character between blocks: its feet, when they are locked."""

    def __init__(self, feet: Stance | None) -> None:
        self.feet = feet

    def copy(self) -> RetargetState:
        """As it is now."""
        return RetargetState(None if self.feet is None else self.feet.copy())

    def go_back(self, earlier: RetargetState) -> None:
        """Becomes what a copy holds, which stays as it is."""
        self.feet = earlier.copy().feet


class Retargeter:
    """Puts canonical motion on one rig. Everything that does not change per frame is worked out here, once.

    Args:
        rig: the target.
        frame: where `RigBlock` numbers live.
        options: root motion, foot lock, reach.

    Attributes:
        translated_joints: joints whose local translation is streamed: the pelvis (and limbs that do not hang
            on it), before it the root joint when it carries the way (RootMotion.ROOT_BONE), after it the IK bones
            when asked for. Else joints above the pelvis, such as Unreal's `root`, stay at rest.
        rest_rotations: (J, 4) local rest rotations in the frame.
        rest_translations: (J, 3) local rest translations in the frame and its unit.
    """

    def __init__(self, rig: Rig, frame: EngineFrame = EngineFrame.GLTF, options: RetargetOptions | None = None) -> None:
        self.rig, self.frame, self.options = rig, frame, options or RetargetOptions()
        skeleton = rig.skeleton
        self.rest_rotations, self.rest_translations = locals_to_frame(
            skeleton.rest_rotations, skeleton.rest_translations, frame
        )
        match = match_rest(skeleton, rig.roles)
        turn = facing(match.body)
        plan = drives(rig)
        driven = tuple(d.joint for d in plan if d.parent < 0)
        self._root_bone = self.options.root_motion is RootMotion.ROOT_BONE and driven[0] != 0
        carried = (0, *driven) if self._root_bone else driven
        self._compile_rotations(plan, match, turn)
        self._compile_root(driven, match, turn)
        self._feet = FeetPlacer(rig, match)
        self._planting = Planting(self._feet) if self.options.foot_lock else None
        self._reaching = Reaching(rig, match, self.options.reach) if self.options.reach else None
        self._twist = TwistJoints(rig, match, frame, self.rest_rotations)
        self._way = RootWay(skeleton, frame, turn)
        self._ik_bones = self._found_ik_bones(carried) if self.options.ik_bones else None
        self.translated_joints = carried if self._ik_bones is None else (*carried, *self._ik_bones.joints)

    def start(self) -> RetargetState:
        """The state of a new character, before its first block."""
        return RetargetState(None if self._planting is None else self._planting.start())

    def apply(self, block: PoseBlock, state: RetargetState | None = None) -> RigBlock:
        """Retargets the next block of a character.

        Args:
            block: n frames.
            state: of this character, moved on; None = these frames stand alone (a whole clip, say).

        Raises:
            ShapeError: arrays that are not a block of canonical motion.
            InvalidRequest: NaN or infinite numbers; a block of a stream without the headings that root motion needs.
        """
        if state is None:
            return self._apply_alike([block], [self.start()], len(block.local_rotations))[0]
        return self.apply_many([block], [state])[0]

    def apply_many(self, blocks: Sequence[PoseBlock], states: Sequence[RetargetState]) -> list[RigBlock]:
        """Retargets the next blocks of several characters that share this rig; same result as one by one.

        Raises:
            ShapeError: arrays that are not blocks of canonical motion, or not one state per block.
            InvalidRequest: as for `apply`.
        """
        if len(blocks) != len(states):
            raise ShapeError(f"{len(blocks)} blocks need as many states, got {len(states)}")
        if self.options.root_motion is not RootMotion.WORLD and any(block.headings is None for block in blocks):
            raise InvalidRequest(
                "root motion other than world needs the headings of every block of a stream: a few frames do not tell "
                "where a body faces; set PoseBlock.headings, or retarget the whole clip in one block without a state"
            )
        found: list[RigBlock | None] = [None] * len(blocks)
        for count in sorted({len(block.local_rotations) for block in blocks}):
            picks = [i for i, block in enumerate(blocks) if len(block.local_rotations) == count]
            made = self._apply_alike([blocks[i] for i in picks], [states[i] for i in picks], count)
            for i, block in zip(picks, made, strict=True):
                found[i] = block
        return [block for block in found if block is not None]

    def _apply_alike(self, blocks: Sequence[PoseBlock], states: Sequence[RetargetState], count: int) -> list[RigBlock]:
        """Blocks of `count` frames each, as one long array."""
        local = _joined([block.local_rotations for block in blocks], (count, 22, 4), "local rotations")
        root = _joined([block.root_positions for block in blocks], (count, 3), "root positions")
        contacts = _joined([block.contacts for block in blocks], (count, 4), "contacts")
        headings = _joined([block_headings(block) for block in blocks], (count,), "headings")
        turns = self._feet.turns(local)
        hips = root + squares(local[:, _PELVIS]) @ self._hip_centre
        centres = hips * self._ratio
        centres[:, 1] = self._feet.hip_heights(turns, hips[:, 1])
        way = root * [self._ratio, 0.0, self._ratio]
        if self._planting is not None and count:
            feet = [state.feet for state in states if state.feet is not None]
            local, centres, path = self._planting.apply(local, turns, centres, contacts, feet)
            way[:, [0, 2]] += path
        if self._reaching is not None:
            local = self._reaching.apply(local)
        yaws = yaw_turns(headings)
        if self.options.root_motion is not RootMotion.WORLD:
            back = conjugate(yaws)
            local = local.copy()
            local[:, _PELVIS] = fast_multiply(back, local[:, _PELVIS])
            centres = fast_rotate(back, centres - way)
        rotations, translations = self._rotations(local), self._translations(local, centres)
        if self._root_bone:
            rotations[:, 0], first = self._way.root_joint(way, yaws)
            translations = np.concatenate([first[:, None], translations], axis=1)
        if self._ik_bones is not None:
            translations = np.concatenate([translations, self._ik_bones.apply(rotations, translations)], axis=1)
        parts = [rotations, translations, contacts, *self._way.in_frame(way, yaws)]
        rows = [slice(i * count, (i + 1) * count) for i in range(len(blocks))]
        return [RigBlock(b.first_frame, *(part[r] for part in parts)) for b, r in zip(blocks, rows, strict=True)]

    def to_clip(self, blocks: Sequence[RigBlock], name: str = "") -> Clip:
        """Joins consecutive blocks of this retargeter into a clip in our axes and metres, for files."""
        if not blocks:
            raise InvalidRequest("no frames to make a clip of; pass at least one block")
        rotations = np.concatenate([block.local_rotations for block in blocks])
        translations = np.tile(self.rest_translations, (len(rotations), 1, 1))
        translations[:, list(self.translated_joints)] = np.concatenate([b.local_translations for b in blocks])
        return Clip(self.rig.skeleton, FRAME_RATE_HZ, *locals_from_frame(rotations, translations, self.frame), name)

    def _found_ik_bones(self, carried: Sequence[int]) -> IkBones | None:
        """The rig's IK bones, if it has any."""
        moving = {*self._driven.tolist(), *self._twist.joints.tolist()}
        bones = IkBones(self.rig, self.rest_rotations, self.rest_translations, moving, carried)
        return bones if bones.joints else None

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

    def _compile_root(self, driven: Sequence[int], match: RestMatch, turn: Array) -> None:
        """Where the translated joints sit around the hip centre, and the way into their parents' space."""
        rest = canonical_skeleton().rest_model[1]
        self._hip_centre = rotated_constant(rest[list(_HIPS)].mean(axis=0) - rest[_PELVIS])
        hips = [self.rig.roles[role][0] for role in ("left_hip", "right_hip")]
        centre = match.rest_positions[hips].mean(axis=0)
        axes, self._ratio = to_matrix(turn), match.leg_ratio
        start = match.rest_positions[0] * [1.0, 0.0, 1.0] if tuple(driven) != (0,) else np.zeros(3)
        offsets, linear, constant = [], [], []
        for joint in driven:
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

    def _translations(self, local: Array, centres: Array) -> Array:
        """(n, K, 3) local translations of the joints that start a driven chain, in the frame and its unit.

        Args:
            centres: (n, 3) hip centre of the rig, metres.
        """
        pelvis = squares(local[:, _PELVIS])
        world = centres[:, None] + (pelvis[:, None, None] @ self._arms)[:, :, 0]
        translations: Array = np.matmul(self._into, world[..., None])[..., 0] + self._base
        return translations


def _joined(arrays: Sequence[Array], shape: tuple[int, ...], what: str) -> Array:
    """The arrays of all blocks one after another, float64."""
    wide = [np.asarray(array, dtype=np.float64) for array in arrays]
    wrong = next((array.shape for array in wide if array.shape != shape), None)
    if wrong is not None:
        raise ShapeError(f"a block needs {what} {shape}, got {wrong}")
    joined = wide[0] if len(wide) == 1 else np.concatenate(wide)
    # One bad frame would stay in the memory of a foot lock for good.
    if not np.isfinite(joined).all():
        frame = int(np.argmin(np.isfinite(joined).reshape(len(joined), -1).all(axis=1))) % shape[0]
        raise InvalidRequest(f"{what} of frame {frame} of a block hold NaN or infinite numbers; leave that frame out")
    return joined
