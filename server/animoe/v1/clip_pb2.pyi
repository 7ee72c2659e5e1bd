from animoe.v1 import skeleton_pb2 as _skeleton_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EmotionCurve(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[EmotionKey]
    def __init__(self, keys: _Optional[_Iterable[_Union[EmotionKey, _Mapping]]] = ...) -> None: ...

class EmotionKey(_message.Message):
    __slots__ = ("time_s", "emotions")
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    EMOTIONS_FIELD_NUMBER: _ClassVar[int]
    time_s: float
    emotions: _containers.RepeatedCompositeFieldContainer[EmotionIntensity]
    def __init__(self, time_s: _Optional[float] = ..., emotions: _Optional[_Iterable[_Union[EmotionIntensity, _Mapping]]] = ...) -> None: ...

class EmotionIntensity(_message.Message):
    __slots__ = ("emotion", "intensity")
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    emotion: str
    intensity: float
    def __init__(self, emotion: _Optional[str] = ..., intensity: _Optional[float] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_p")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ...) -> None: ...

class MotionHeader(_message.Message):
    __slots__ = ("rig_name", "rig_digest", "skeleton", "frame", "frame_rate_hz", "bundle_name", "bundle_digest", "seed", "translated_joints", "contact_joints", "frames_per_block", "options", "experts", "generation")
    RIG_NAME_FIELD_NUMBER: _ClassVar[int]
    RIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SKELETON_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_NAME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_JOINTS_FIELD_NUMBER: _ClassVar[int]
    CONTACT_JOINTS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_BLOCK_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    rig_name: str
    rig_digest: str
    skeleton: _skeleton_pb2.Skeleton
    frame: _skeleton_pb2.EngineFrame
    frame_rate_hz: float
    bundle_name: str
    bundle_digest: str
    seed: int
    translated_joints: _containers.RepeatedScalarFieldContainer[int]
    contact_joints: _containers.RepeatedScalarFieldContainer[int]
    frames_per_block: int
    options: _skeleton_pb2.RetargetOptions
    experts: _containers.RepeatedCompositeFieldContainer[ExpertWeight]
    generation: int
    def __init__(self, rig_name: _Optional[str] = ..., rig_digest: _Optional[str] = ..., skeleton: _Optional[_Union[_skeleton_pb2.Skeleton, _Mapping]] = ..., frame: _Optional[_Union[_skeleton_pb2.EngineFrame, str]] = ..., frame_rate_hz: _Optional[float] = ..., bundle_name: _Optional[str] = ..., bundle_digest: _Optional[str] = ..., seed: _Optional[int] = ..., translated_joints: _Optional[_Iterable[int]] = ..., contact_joints: _Optional[_Iterable[int]] = ..., frames_per_block: _Optional[int] = ..., options: _Optional[_Union[_skeleton_pb2.RetargetOptions, _Mapping]] = ..., experts: _Optional[_Iterable[_Union[ExpertWeight, _Mapping]]] = ..., generation: _Optional[int] = ...) -> None: ...

class ExpertWeight(_message.Message):
    __slots__ = ("expert", "weight")
    EXPERT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    expert: str
    weight: float
    def __init__(self, expert: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class FrameBlock(_message.Message):
    __slots__ = ("first_frame", "frame_count", "local_rotations", "local_translations", "contacts", "root_positions", "root_rotations")
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOCAL_ROTATIONS_FIELD_NUMBER: _ClassVar[int]
    LOCAL_TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    CONTACTS_FIELD_NUMBER: _ClassVar[int]
    ROOT_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    ROOT_ROTATIONS_FIELD_NUMBER: _ClassVar[int]
    first_frame: int
    frame_count: int
    local_rotations: bytes
    local_translations: bytes
    contacts: bytes
    root_positions: bytes
    root_rotations: bytes
    def __init__(self, first_frame: _Optional[int] = ..., frame_count: _Optional[int] = ..., local_rotations: _Optional[bytes] = ..., local_translations: _Optional[bytes] = ..., contacts: _Optional[bytes] = ..., root_positions: _Optional[bytes] = ..., root_rotations: _Optional[bytes] = ...) -> None: ...
