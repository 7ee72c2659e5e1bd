"""What arrives, as numpy arrays. All numbers are in the rig's own engine frame and unit, as the header says.

Quaternions are x, y, z, w and relative to the parent joint; they replace the joint's rest rotation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from animoe.v1 import animation_service_pb2, clip_pb2, skeleton_pb2

Array = npt.NDArray[Any]
_FRAME_PREFIX = "ENGINE_FRAME_"
_ROOT_PREFIX = "ROOT_MOTION_"


@dataclass(frozen=True, eq=False)
class MotionHeader:
    """How to read the frames of a stream.

    Attributes:
        rig_name: profile name, or "custom".
        rig_digest: identity of the skeleton.
        joint_names: J names.
        parents: (J,) parent of each joint, -1 for the root; parents come first.
        rest_translations: (J, 3) relative to the parent.
        rest_rotations: (J, 4) relative to the parent.
        frame: engine frame: "gltf", "unity", "unreal", "unreal_actor" or "blender".
        frame_rate_hz: frames per second.
        bundle_name: the model bundle that made the motion.
        bundle_digest: its identity.
        seed: the seed in use.
        translated_joints: K joints whose translation is streamed; the others keep their rest translation.
        contact_joints: joints of the contacts, -1 where missing: left ankle, left toes, right ankle, right toes.
        frames_per_block: frames in a full block.
        root_motion: "world", "in_place" or "root_bone". foot_lock: standing feet are held. reach: of the hands, 0 to 1.
        experts: NAME@VERSION, or "base", -> its share in performing the prompt, heaviest first; they add up to 1.
        generation: of the bundle's experts, 0 before anything was learnt.
    """

    rig_name: str
    rig_digest: str
    joint_names: tuple[str, ...]
    parents: Array
    rest_translations: Array
    rest_rotations: Array
    frame: str
    frame_rate_hz: float
    bundle_name: str
    bundle_digest: str
    seed: int
    translated_joints: tuple[int, ...]
    contact_joints: tuple[int, ...]
    frames_per_block: int
    root_motion: str
    foot_lock: bool
    reach: float
    experts: Mapping[str, float] = field(default_factory=dict)
    generation: int = 0

    @property
    def joint_count(self) -> int:
        return len(self.joint_names)


@dataclass(frozen=True, eq=False)
class FrameBlock:
    """N consecutive frames.

    Attributes:
        first_frame: index from the start of the stream.
        local_rotations: (N, J, 4) float32.
        local_translations: (N, K, 3) float32, of `MotionHeader.translated_joints`.
        contacts: (N, 4) float32 probability in [0, 1] that each of `contact_joints` stands on the floor.
        root_positions: (N, 3) float32, the character's place on the floor in the world.
        root_rotations: (N, 4) float32, its heading. With root motion "world" both are in the pose already, with
            "root_bone" in its root joint; with "in_place" move the character there.
    """

    first_frame: int
    local_rotations: Array
    local_translations: Array
    contacts: Array
    root_positions: Array
    root_rotations: Array

    @property
    def frame_count(self) -> int:
        return len(self.local_rotations)

    def before(self, frame: int) -> FrameBlock:
        """Without the frames from `frame` on, an index of the stream."""
        count = max(frame - self.first_frame, 0)
        return FrameBlock(
            self.first_frame,
            self.local_rotations[:count],
            self.local_translations[:count],
            self.contacts[:count],
            self.root_positions[:count],
            self.root_rotations[:count],
        )

    def pose(self, frame: int) -> Pose:
        """One of its frames, an index of the stream."""
        at = frame - self.first_frame
        return Pose(
            frame,
            self.local_rotations[at],
            self.local_translations[at],
            self.contacts[at],
            self.root_positions[at],
            self.root_rotations[at],
        )


@dataclass(frozen=True, eq=False)
class Pose:
    """One frame; arrays as in FrameBlock, without their first axis."""

    frame: int
    local_rotations: Array
    local_translations: Array
    contacts: Array
    root_position: Array
    root_rotation: Array


@dataclass(frozen=True, eq=False)
class Motion:
    """A whole clip: the blocks of a stream joined; arrays as in FrameBlock, with T frames."""

    header: MotionHeader
    local_rotations: Array
    local_translations: Array
    contacts: Array
    root_positions: Array
    root_rotations: Array

    @classmethod
    def join(cls, header: MotionHeader, blocks: Sequence[FrameBlock]) -> Motion:
        return cls(
            header,
            np.concatenate([block.local_rotations for block in blocks]),
            np.concatenate([block.local_translations for block in blocks]),
            np.concatenate([block.contacts for block in blocks]),
            np.concatenate([block.root_positions for block in blocks]),
            np.concatenate([block.root_rotations for block in blocks]),
        )

    @property
    def frame_count(self) -> int:
        return len(self.local_rotations)

    @property
    def all_translations(self) -> Array:
        """(T, J, 3) translation of every joint: streamed ones, and rest translations for the others."""
        translations = np.tile(self.header.rest_translations, (self.frame_count, 1, 1))
        translations[:, list(self.header.translated_joints)] = self.local_translations
        return translations


@dataclass(frozen=True)
class ControlApplied:
    """A change acts from `first_frame` on; the next frames begin there.

    Attributes:
        experts, generation, bundle_digest: from there on, as in MotionHeader; a new prompt takes up the newest experts.
        replaced_frame_count: frames from `first_frame` on that came before and are to be dropped.
        reserve_s: motion from the playhead on that was kept, seconds; 0 where nothing is replaced.
    """

    control_id: int
    first_frame: int
    experts: Mapping[str, float] = field(default_factory=dict)
    generation: int = 0
    bundle_digest: str = ""
    replaced_frame_count: int = 0
    reserve_s: float = 0.0


@dataclass(frozen=True)
class ControlRejected:
    """A change was refused, the motion goes on as before; `message` says what to do."""

    control_id: int
    reason: str
    message: str


def read_header(header: clip_pb2.MotionHeader) -> MotionHeader:
    skeleton = header.skeleton
    return MotionHeader(
        rig_name=header.rig_name,
        rig_digest=header.rig_digest,
        joint_names=tuple(skeleton.joint_names),
        parents=np.array(skeleton.parents, dtype=np.int64),
        rest_translations=np.array(skeleton.rest_translations, dtype=np.float64).reshape(-1, 3),
        rest_rotations=np.array(skeleton.rest_rotations, dtype=np.float64).reshape(-1, 4),
        frame=frame_name(header.frame),
        frame_rate_hz=header.frame_rate_hz,
        bundle_name=header.bundle_name,
        bundle_digest=header.bundle_digest,
        seed=header.seed,
        translated_joints=tuple(header.translated_joints),
        contact_joints=tuple(header.contact_joints),
        frames_per_block=header.frames_per_block,
        root_motion=skeleton_pb2.RootMotion.Name(header.options.root_motion).removeprefix(_ROOT_PREFIX).lower(),
        foot_lock=header.options.foot_lock == skeleton_pb2.FOOT_LOCK_ON,
        reach=header.options.reach,
        experts=_read_experts(header.experts),
        generation=header.generation,
    )


def _read_experts(experts: Iterable[clip_pb2.ExpertWeight]) -> dict[str, float]:
    return {item.expert: item.weight for item in experts}


def read_frames(frames: clip_pb2.FrameBlock, header: MotionHeader) -> FrameBlock:
    count = frames.frame_count
    return FrameBlock(
        frames.first_frame,
        np.frombuffer(frames.local_rotations, dtype="<f4").reshape(count, header.joint_count, 4),
        np.frombuffer(frames.local_translations, dtype="<f4").reshape(count, len(header.translated_joints), 3),
        np.frombuffer(frames.contacts, dtype="<f4").reshape(count, len(header.contact_joints)),
        np.frombuffer(frames.root_positions, dtype="<f4").reshape(count, 3),
        np.frombuffer(frames.root_rotations, dtype="<f4").reshape(count, 4),
    )


def read_event(
    response: animation_service_pb2.AnimateResponse, header: MotionHeader
) -> FrameBlock | ControlApplied | ControlRejected | None:
    """None for kinds of messages that are younger than this client."""
    kind = response.WhichOneof("response")
    if kind == "frames":
        return read_frames(response.frames, header)
    if kind == "control_applied":
        applied = response.control_applied
        return ControlApplied(
            applied.control_id,
            applied.first_frame,
            _read_experts(applied.experts),
            applied.generation,
            applied.bundle_digest,
            applied.replaced_frame_count,
            applied.reserve_s,
        )
    if kind == "control_rejected":
        rejected = response.control_rejected
        return ControlRejected(rejected.control_id, rejected.reason, rejected.message)
    return None


def frame_name(frame: int) -> str:
    """ENGINE_FRAME_UNREAL -> "unreal"."""
    return skeleton_pb2.EngineFrame.Name(cast(skeleton_pb2.EngineFrame, frame)).removeprefix(_FRAME_PREFIX).lower()


def frame_value(name: str | None) -> skeleton_pb2.EngineFrame:
    """ "unreal" -> ENGINE_FRAME_UNREAL; None is the rig's own. Raises ValueError with the choices."""
    if name is None:
        return skeleton_pb2.ENGINE_FRAME_UNSPECIFIED
    known = {
        frame_name(value): cast(skeleton_pb2.EngineFrame, value) for value in skeleton_pb2.EngineFrame.values() if value
    }
    if name.lower() not in known:
        raise ValueError(f"unknown engine frame {name!r}; choose from {', '.join(known)}")
    return known[name.lower()]


def root_motion_value(name: str) -> skeleton_pb2.RootMotion:
    """ "in_place" or "in-place" -> ROOT_MOTION_IN_PLACE. Raises ValueError with the choices."""
    known = {
        key.removeprefix(_ROOT_PREFIX).lower(): cast(skeleton_pb2.RootMotion, value)
        for key, value in skeleton_pb2.RootMotion.items()
        if value
    }
    wanted = name.lower().replace("-", "_")
    if wanted not in known:
        raise ValueError(f"unknown root motion {name!r}; choose from {', '.join(known)}")
    return known[wanted]
