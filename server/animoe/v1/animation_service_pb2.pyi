from animoe.v1 import clip_pb2 as _clip_pb2
from animoe.v1 import skeleton_pb2 as _skeleton_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_REASON_UNSPECIFIED: _ClassVar[EndReason]
    END_REASON_STOPPED: _ClassVar[EndReason]
    END_REASON_SERVER_SHUTDOWN: _ClassVar[EndReason]
END_REASON_UNSPECIFIED: EndReason
END_REASON_STOPPED: EndReason
END_REASON_SERVER_SHUTDOWN: EndReason

class GetCapabilitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapabilitiesResponse(_message.Message):
    __slots__ = ("server_version", "bundle_name", "bundle_digest", "emotions", "rigs", "frame_rate_hz", "frames_per_block", "max_prompt_chars", "min_seconds", "max_seconds", "max_joint_count", "max_stream_count", "generation", "experts", "max_upload_bytes", "limits")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_NAME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EMOTIONS_FIELD_NUMBER: _ClassVar[int]
    RIGS_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_BLOCK_FIELD_NUMBER: _ClassVar[int]
    MAX_PROMPT_CHARS_FIELD_NUMBER: _ClassVar[int]
    MIN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_JOINT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAM_COUNT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    MAX_UPLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    bundle_name: str
    bundle_digest: str
    emotions: _containers.RepeatedScalarFieldContainer[str]
    rigs: _containers.RepeatedCompositeFieldContainer[_skeleton_pb2.RigProfile]
    frame_rate_hz: float
    frames_per_block: int
    max_prompt_chars: int
    min_seconds: float
    max_seconds: float
    max_joint_count: int
    max_stream_count: int
    generation: int
    experts: _containers.RepeatedScalarFieldContainer[str]
    max_upload_bytes: int
    limits: StreamLimits
    def __init__(self, server_version: _Optional[str] = ..., bundle_name: _Optional[str] = ..., bundle_digest: _Optional[str] = ..., emotions: _Optional[_Iterable[str]] = ..., rigs: _Optional[_Iterable[_Union[_skeleton_pb2.RigProfile, _Mapping]]] = ..., frame_rate_hz: _Optional[float] = ..., frames_per_block: _Optional[int] = ..., max_prompt_chars: _Optional[int] = ..., min_seconds: _Optional[float] = ..., max_seconds: _Optional[float] = ..., max_joint_count: _Optional[int] = ..., max_stream_count: _Optional[int] = ..., generation: _Optional[int] = ..., experts: _Optional[_Iterable[str]] = ..., max_upload_bytes: _Optional[int] = ..., limits: _Optional[_Union[StreamLimits, _Mapping]] = ...) -> None: ...

class StreamLimits(_message.Message):
    __slots__ = ("max_messages_per_second", "message_burst", "messages_per_prompt", "greedy_timeout_s", "max_message_bytes", "max_queue_count", "min_queue_seconds", "max_queue_seconds", "max_emotion_keys", "max_transition_s", "min_pace", "max_pace", "max_intensity_scale", "min_buffer_s", "max_buffer_s", "min_reserve_s", "max_reserve_s", "start_timeout_s", "idle_timeout_s", "stuck_timeout_s", "max_clip_count")
    MAX_MESSAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_BURST_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_PER_PROMPT_FIELD_NUMBER: _ClassVar[int]
    GREEDY_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_EMOTION_KEYS_FIELD_NUMBER: _ClassVar[int]
    MAX_TRANSITION_S_FIELD_NUMBER: _ClassVar[int]
    MIN_PACE_FIELD_NUMBER: _ClassVar[int]
    MAX_PACE_FIELD_NUMBER: _ClassVar[int]
    MAX_INTENSITY_SCALE_FIELD_NUMBER: _ClassVar[int]
    MIN_BUFFER_S_FIELD_NUMBER: _ClassVar[int]
    MAX_BUFFER_S_FIELD_NUMBER: _ClassVar[int]
    MIN_RESERVE_S_FIELD_NUMBER: _ClassVar[int]
    MAX_RESERVE_S_FIELD_NUMBER: _ClassVar[int]
    START_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    STUCK_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    MAX_CLIP_COUNT_FIELD_NUMBER: _ClassVar[int]
    max_messages_per_second: float
    message_burst: float
    messages_per_prompt: float
    greedy_timeout_s: float
    max_message_bytes: int
    max_queue_count: int
    min_queue_seconds: float
    max_queue_seconds: float
    max_emotion_keys: int
    max_transition_s: float
    min_pace: float
    max_pace: float
    max_intensity_scale: float
    min_buffer_s: float
    max_buffer_s: float
    min_reserve_s: float
    max_reserve_s: float
    start_timeout_s: float
    idle_timeout_s: float
    stuck_timeout_s: float
    max_clip_count: int
    def __init__(self, max_messages_per_second: _Optional[float] = ..., message_burst: _Optional[float] = ..., messages_per_prompt: _Optional[float] = ..., greedy_timeout_s: _Optional[float] = ..., max_message_bytes: _Optional[int] = ..., max_queue_count: _Optional[int] = ..., min_queue_seconds: _Optional[float] = ..., max_queue_seconds: _Optional[float] = ..., max_emotion_keys: _Optional[int] = ..., max_transition_s: _Optional[float] = ..., min_pace: _Optional[float] = ..., max_pace: _Optional[float] = ..., max_intensity_scale: _Optional[float] = ..., min_buffer_s: _Optional[float] = ..., max_buffer_s: _Optional[float] = ..., min_reserve_s: _Optional[float] = ..., max_reserve_s: _Optional[float] = ..., start_timeout_s: _Optional[float] = ..., idle_timeout_s: _Optional[float] = ..., stuck_timeout_s: _Optional[float] = ..., max_clip_count: _Optional[int] = ...) -> None: ...

class GenerateClipRequest(_message.Message):
    __slots__ = ("text", "seconds", "rig", "emotion", "seed", "sampling")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    RIG_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    text: str
    seconds: float
    rig: _skeleton_pb2.RigSelection
    emotion: _clip_pb2.EmotionCurve
    seed: int
    sampling: _clip_pb2.Sampling
    def __init__(self, text: _Optional[str] = ..., seconds: _Optional[float] = ..., rig: _Optional[_Union[_skeleton_pb2.RigSelection, _Mapping]] = ..., emotion: _Optional[_Union[_clip_pb2.EmotionCurve, _Mapping]] = ..., seed: _Optional[int] = ..., sampling: _Optional[_Union[_clip_pb2.Sampling, _Mapping]] = ...) -> None: ...

class GenerateClipResponse(_message.Message):
    __slots__ = ("header", "frames")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    header: _clip_pb2.MotionHeader
    frames: _clip_pb2.FrameBlock
    def __init__(self, header: _Optional[_Union[_clip_pb2.MotionHeader, _Mapping]] = ..., frames: _Optional[_Union[_clip_pb2.FrameBlock, _Mapping]] = ...) -> None: ...

class AnimateRequest(_message.Message):
    __slots__ = ("start", "prompt", "emotion", "stop", "playhead", "queue", "pace", "intensity", "pause", "resume", "control_id")
    START_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    PLAYHEAD_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    PACE_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    CONTROL_ID_FIELD_NUMBER: _ClassVar[int]
    start: AnimateStart
    prompt: PromptChange
    emotion: EmotionChange
    stop: AnimateStop
    playhead: PlayheadReport
    queue: QueueChange
    pace: PaceChange
    intensity: IntensityChange
    pause: AnimatePause
    resume: AnimateResume
    control_id: int
    def __init__(self, start: _Optional[_Union[AnimateStart, _Mapping]] = ..., prompt: _Optional[_Union[PromptChange, _Mapping]] = ..., emotion: _Optional[_Union[EmotionChange, _Mapping]] = ..., stop: _Optional[_Union[AnimateStop, _Mapping]] = ..., playhead: _Optional[_Union[PlayheadReport, _Mapping]] = ..., queue: _Optional[_Union[QueueChange, _Mapping]] = ..., pace: _Optional[_Union[PaceChange, _Mapping]] = ..., intensity: _Optional[_Union[IntensityChange, _Mapping]] = ..., pause: _Optional[_Union[AnimatePause, _Mapping]] = ..., resume: _Optional[_Union[AnimateResume, _Mapping]] = ..., control_id: _Optional[int] = ...) -> None: ...

class AnimateStart(_message.Message):
    __slots__ = ("text", "rig", "emotion", "seed", "sampling", "playback", "queue", "pace", "intensity")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    RIG_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    PLAYBACK_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    PACE_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    text: str
    rig: _skeleton_pb2.RigSelection
    emotion: _clip_pb2.EmotionCurve
    seed: int
    sampling: _clip_pb2.Sampling
    playback: Playback
    queue: QueueChange
    pace: PaceChange
    intensity: IntensityChange
    def __init__(self, text: _Optional[str] = ..., rig: _Optional[_Union[_skeleton_pb2.RigSelection, _Mapping]] = ..., emotion: _Optional[_Union[_clip_pb2.EmotionCurve, _Mapping]] = ..., seed: _Optional[int] = ..., sampling: _Optional[_Union[_clip_pb2.Sampling, _Mapping]] = ..., playback: _Optional[_Union[Playback, _Mapping]] = ..., queue: _Optional[_Union[QueueChange, _Mapping]] = ..., pace: _Optional[_Union[PaceChange, _Mapping]] = ..., intensity: _Optional[_Union[IntensityChange, _Mapping]] = ...) -> None: ...

class Playback(_message.Message):
    __slots__ = ("buffer_s", "replaceable")
    BUFFER_S_FIELD_NUMBER: _ClassVar[int]
    REPLACEABLE_FIELD_NUMBER: _ClassVar[int]
    buffer_s: float
    replaceable: bool
    def __init__(self, buffer_s: _Optional[float] = ..., replaceable: _Optional[bool] = ...) -> None: ...

class PlayheadReport(_message.Message):
    __slots__ = ("frame", "held_frame_count", "held_for_s", "stall_count")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    HELD_FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_FOR_S_FIELD_NUMBER: _ClassVar[int]
    STALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    frame: float
    held_frame_count: int
    held_for_s: float
    stall_count: int
    def __init__(self, frame: _Optional[float] = ..., held_frame_count: _Optional[int] = ..., held_for_s: _Optional[float] = ..., stall_count: _Optional[int] = ...) -> None: ...

class PromptChange(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class EmotionChange(_message.Message):
    __slots__ = ("emotion", "transition_s")
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_S_FIELD_NUMBER: _ClassVar[int]
    emotion: _clip_pb2.EmotionCurve
    transition_s: float
    def __init__(self, emotion: _Optional[_Union[_clip_pb2.EmotionCurve, _Mapping]] = ..., transition_s: _Optional[float] = ...) -> None: ...

class QueueChange(_message.Message):
    __slots__ = ("prompts", "idle_text")
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    IDLE_TEXT_FIELD_NUMBER: _ClassVar[int]
    prompts: _containers.RepeatedCompositeFieldContainer[QueuedPrompt]
    idle_text: str
    def __init__(self, prompts: _Optional[_Iterable[_Union[QueuedPrompt, _Mapping]]] = ..., idle_text: _Optional[str] = ...) -> None: ...

class QueuedPrompt(_message.Message):
    __slots__ = ("text", "seconds", "emotion")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    text: str
    seconds: float
    emotion: _clip_pb2.EmotionCurve
    def __init__(self, text: _Optional[str] = ..., seconds: _Optional[float] = ..., emotion: _Optional[_Union[_clip_pb2.EmotionCurve, _Mapping]] = ...) -> None: ...

class PaceChange(_message.Message):
    __slots__ = ("pace",)
    PACE_FIELD_NUMBER: _ClassVar[int]
    pace: float
    def __init__(self, pace: _Optional[float] = ...) -> None: ...

class IntensityChange(_message.Message):
    __slots__ = ("scale",)
    SCALE_FIELD_NUMBER: _ClassVar[int]
    scale: float
    def __init__(self, scale: _Optional[float] = ...) -> None: ...

class AnimatePause(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AnimateResume(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AnimateStop(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AnimateResponse(_message.Message):
    __slots__ = ("header", "frames", "control_applied", "control_rejected", "ended")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    CONTROL_APPLIED_FIELD_NUMBER: _ClassVar[int]
    CONTROL_REJECTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    header: _clip_pb2.MotionHeader
    frames: _clip_pb2.FrameBlock
    control_applied: ControlApplied
    control_rejected: ControlRejected
    ended: AnimateEnded
    def __init__(self, header: _Optional[_Union[_clip_pb2.MotionHeader, _Mapping]] = ..., frames: _Optional[_Union[_clip_pb2.FrameBlock, _Mapping]] = ..., control_applied: _Optional[_Union[ControlApplied, _Mapping]] = ..., control_rejected: _Optional[_Union[ControlRejected, _Mapping]] = ..., ended: _Optional[_Union[AnimateEnded, _Mapping]] = ...) -> None: ...

class ControlApplied(_message.Message):
    __slots__ = ("control_id", "first_frame", "experts", "generation", "bundle_digest", "replaced_frame_count", "reserve_s")
    CONTROL_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    RESERVE_S_FIELD_NUMBER: _ClassVar[int]
    control_id: int
    first_frame: int
    experts: _containers.RepeatedCompositeFieldContainer[_clip_pb2.ExpertWeight]
    generation: int
    bundle_digest: str
    replaced_frame_count: int
    reserve_s: float
    def __init__(self, control_id: _Optional[int] = ..., first_frame: _Optional[int] = ..., experts: _Optional[_Iterable[_Union[_clip_pb2.ExpertWeight, _Mapping]]] = ..., generation: _Optional[int] = ..., bundle_digest: _Optional[str] = ..., replaced_frame_count: _Optional[int] = ..., reserve_s: _Optional[float] = ...) -> None: ...

class ControlRejected(_message.Message):
    __slots__ = ("control_id", "reason", "message")
    CONTROL_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    control_id: int
    reason: str
    message: str
    def __init__(self, control_id: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class AnimateEnded(_message.Message):
    __slots__ = ("frame_count", "reason")
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    frame_count: int
    reason: EndReason
    def __init__(self, frame_count: _Optional[int] = ..., reason: _Optional[_Union[EndReason, str]] = ...) -> None: ...
