from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RootMotion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROOT_MOTION_UNSPECIFIED: _ClassVar[RootMotion]
    ROOT_MOTION_WORLD: _ClassVar[RootMotion]
    ROOT_MOTION_IN_PLACE: _ClassVar[RootMotion]
    ROOT_MOTION_ROOT_BONE: _ClassVar[RootMotion]

class FootLock(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FOOT_LOCK_UNSPECIFIED: _ClassVar[FootLock]
    FOOT_LOCK_ON: _ClassVar[FootLock]
    FOOT_LOCK_OFF: _ClassVar[FootLock]

class EngineFrame(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENGINE_FRAME_UNSPECIFIED: _ClassVar[EngineFrame]
    ENGINE_FRAME_GLTF: _ClassVar[EngineFrame]
    ENGINE_FRAME_UNITY: _ClassVar[EngineFrame]
    ENGINE_FRAME_UNREAL: _ClassVar[EngineFrame]
    ENGINE_FRAME_UNREAL_ACTOR: _ClassVar[EngineFrame]
    ENGINE_FRAME_BLENDER: _ClassVar[EngineFrame]
ROOT_MOTION_UNSPECIFIED: RootMotion
ROOT_MOTION_WORLD: RootMotion
ROOT_MOTION_IN_PLACE: RootMotion
ROOT_MOTION_ROOT_BONE: RootMotion
FOOT_LOCK_UNSPECIFIED: FootLock
FOOT_LOCK_ON: FootLock
FOOT_LOCK_OFF: FootLock
ENGINE_FRAME_UNSPECIFIED: EngineFrame
ENGINE_FRAME_GLTF: EngineFrame
ENGINE_FRAME_UNITY: EngineFrame
ENGINE_FRAME_UNREAL: EngineFrame
ENGINE_FRAME_UNREAL_ACTOR: EngineFrame
ENGINE_FRAME_BLENDER: EngineFrame

class Skeleton(_message.Message):
    __slots__ = ("joint_names", "parents", "rest_translations", "rest_rotations", "joint_roles")
    JOINT_NAMES_FIELD_NUMBER: _ClassVar[int]
    PARENTS_FIELD_NUMBER: _ClassVar[int]
    REST_TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    REST_ROTATIONS_FIELD_NUMBER: _ClassVar[int]
    JOINT_ROLES_FIELD_NUMBER: _ClassVar[int]
    joint_names: _containers.RepeatedScalarFieldContainer[str]
    parents: _containers.RepeatedScalarFieldContainer[int]
    rest_translations: _containers.RepeatedScalarFieldContainer[float]
    rest_rotations: _containers.RepeatedScalarFieldContainer[float]
    joint_roles: _containers.RepeatedCompositeFieldContainer[JointRole]
    def __init__(self, joint_names: _Optional[_Iterable[str]] = ..., parents: _Optional[_Iterable[int]] = ..., rest_translations: _Optional[_Iterable[float]] = ..., rest_rotations: _Optional[_Iterable[float]] = ..., joint_roles: _Optional[_Iterable[_Union[JointRole, _Mapping]]] = ...) -> None: ...

class JointRole(_message.Message):
    __slots__ = ("role", "joint_name")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    JOINT_NAME_FIELD_NUMBER: _ClassVar[int]
    role: str
    joint_name: str
    def __init__(self, role: _Optional[str] = ..., joint_name: _Optional[str] = ...) -> None: ...

class RigSelection(_message.Message):
    __slots__ = ("profile", "skeleton", "frame", "options")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    SKELETON_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    profile: str
    skeleton: Skeleton
    frame: EngineFrame
    options: RetargetOptions
    def __init__(self, profile: _Optional[str] = ..., skeleton: _Optional[_Union[Skeleton, _Mapping]] = ..., frame: _Optional[_Union[EngineFrame, str]] = ..., options: _Optional[_Union[RetargetOptions, _Mapping]] = ...) -> None: ...

class RetargetOptions(_message.Message):
    __slots__ = ("root_motion", "foot_lock", "reach", "ik_bones")
    ROOT_MOTION_FIELD_NUMBER: _ClassVar[int]
    FOOT_LOCK_FIELD_NUMBER: _ClassVar[int]
    REACH_FIELD_NUMBER: _ClassVar[int]
    IK_BONES_FIELD_NUMBER: _ClassVar[int]
    root_motion: RootMotion
    foot_lock: FootLock
    reach: float
    ik_bones: bool
    def __init__(self, root_motion: _Optional[_Union[RootMotion, str]] = ..., foot_lock: _Optional[_Union[FootLock, str]] = ..., reach: _Optional[float] = ..., ik_bones: _Optional[bool] = ...) -> None: ...

class RigProfile(_message.Message):
    __slots__ = ("name", "title", "joint_count", "frame", "has_root_bone")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    JOINT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    HAS_ROOT_BONE_FIELD_NUMBER: _ClassVar[int]
    name: str
    title: str
    joint_count: int
    frame: EngineFrame
    has_root_bone: bool
    def __init__(self, name: _Optional[str] = ..., title: _Optional[str] = ..., joint_count: _Optional[int] = ..., frame: _Optional[_Union[EngineFrame, str]] = ..., has_root_bone: _Optional[bool] = ...) -> None: ...
