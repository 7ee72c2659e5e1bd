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

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from animoe.errors import InvalidRequest, ShapeError
from animoe.motion.clip import Clip
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.frames import EngineFrame, locals_from_frame, locals_to_frame
from animoe.retarget.ik_bones import IkBones
from animoe.retarget.native import NativeSolver
from animoe.retarget.plan import Plan
from animoe.retarget.planting import Stance
from animoe.retarget.portable import Frames, PortableSolver
from animoe.retarget.reach import Reaching
from animoe.retarget.rig import Rig
from animoe.retarget.root_motion import RootMotion, block_headings
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array


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

    __slots__ = ("feet",)

    def __init__(self, feet: Stance | Array | None) -> None:
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
        library: `native.library.load_library()` retargets in C++, within rounding the same; None in numpy.

    Attributes:
        translated_joints: joints whose local translation is streamed: the pelvis (and limbs that do not hang
            on it), before it the root joint when it carries the way (RootMotion.ROOT_BONE), after it the IK bones
            when asked for. Else joints above the pelvis, such as Unreal's `root`, stay at rest.
        rest_rotations: (J, 4) local rest rotations in the frame.
        rest_translations: (J, 3) local rest translations in the frame and its unit.
    """

    def __init__(
        self,
        rig: Rig,
        frame: EngineFrame = EngineFrame.GLTF,
        options: RetargetOptions | None = None,
        *,
        library: ctypes.CDLL | None = None,
    ) -> None:
        self.rig, self.frame, self.options = rig, frame, options or RetargetOptions()
        skeleton = rig.skeleton
        self.rest_rotations, self.rest_translations = locals_to_frame(
            skeleton.rest_rotations, skeleton.rest_translations, frame
        )
        plan = Plan(rig, frame, self.rest_rotations, self.options.root_motion, foot_lock=self.options.foot_lock)
        self._solver = PortableSolver(plan) if library is None else NativeSolver(plan, library)
        self._reaching = Reaching(rig, plan.match, self.options.reach) if self.options.reach else None
        carried = (0, *plan.started) if plan.root_bone else plan.started
        self._ik_bones = self._found_ik_bones(plan, carried) if self.options.ik_bones else None
        self.translated_joints = carried if self._ik_bones is None else (*carried, *self._ik_bones.joints)

    def start(self) -> RetargetState:
        """The state of a new character, before its first block."""
        return RetargetState(self._solver.start())

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
        frames = Frames(
            _joined([block.local_rotations for block in blocks], (count, 22, 4), "local rotations"),
            _joined([block.root_positions for block in blocks], (count, 3), "root positions"),
            _joined([block.contacts for block in blocks], (count, 4), "contacts"),
            _joined([block_headings(block) for block in blocks], (count,), "headings"),
        )
        if self._reaching is not None:
            frames = frames._replace(local=self._reaching.apply(frames.local))
        feet: list[Any] = [state.feet for state in states if state.feet is not None]
        rotations, translations, *way = self._solver.solve(frames, feet)
        if self._ik_bones is not None:
            translations = np.concatenate([translations, self._ik_bones.apply(rotations, translations)], axis=1)
        parts = [rotations, translations, frames.contacts, *way]
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

    def _found_ik_bones(self, plan: Plan, carried: Sequence[int]) -> IkBones | None:
        """The rig's IK bones, if it has any."""
        moving = {*plan.driven.tolist(), *plan.twist.joints.tolist()}
        bones = IkBones(self.rig, self.rest_rotations, self.rest_translations, moving, carried)
        return bones if bones.joints else None


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
