from animoe.v1 import job_service_pb2 as _job_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ServerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVER_STATE_UNSPECIFIED: _ClassVar[ServerState]
    SERVER_STATE_LOADING: _ClassVar[ServerState]
    SERVER_STATE_SERVING: _ClassVar[ServerState]
    SERVER_STATE_STOPPING: _ClassVar[ServerState]
SERVER_STATE_UNSPECIFIED: ServerState
SERVER_STATE_LOADING: ServerState
SERVER_STATE_SERVING: ServerState
SERVER_STATE_STOPPING: ServerState

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ServerStatus
    def __init__(self, status: _Optional[_Union[ServerStatus, _Mapping]] = ...) -> None: ...

class WatchStatusRequest(_message.Message):
    __slots__ = ("interval_s",)
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    interval_s: float
    def __init__(self, interval_s: _Optional[float] = ...) -> None: ...

class WatchStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ServerStatus
    def __init__(self, status: _Optional[_Union[ServerStatus, _Mapping]] = ...) -> None: ...

class ServerStatus(_message.Message):
    __slots__ = ("server_version", "state", "uptime_s", "bundle_name", "bundle_digest", "generation", "session_count", "stream_count", "max_stream_count", "sessions_opened", "window_s", "frames_per_second", "frames_sent", "first_frame", "step", "batch_mean", "batch_max", "margin_p50_s", "margin_p1_s", "deadlines_missed", "deadlines_missed_recently", "queue_depth", "experts", "refusals", "jobs", "rss_bytes", "cpu_share", "cuts")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_NAME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    STREAM_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAM_COUNT_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_OPENED_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    FRAMES_SENT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    BATCH_MEAN_FIELD_NUMBER: _ClassVar[int]
    BATCH_MAX_FIELD_NUMBER: _ClassVar[int]
    MARGIN_P50_S_FIELD_NUMBER: _ClassVar[int]
    MARGIN_P1_S_FIELD_NUMBER: _ClassVar[int]
    DEADLINES_MISSED_FIELD_NUMBER: _ClassVar[int]
    DEADLINES_MISSED_RECENTLY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_SHARE_FIELD_NUMBER: _ClassVar[int]
    CUTS_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    state: ServerState
    uptime_s: float
    bundle_name: str
    bundle_digest: str
    generation: int
    session_count: int
    stream_count: int
    max_stream_count: int
    sessions_opened: int
    window_s: float
    frames_per_second: float
    frames_sent: int
    first_frame: Latency
    step: Latency
    batch_mean: float
    batch_max: int
    margin_p50_s: float
    margin_p1_s: float
    deadlines_missed: int
    deadlines_missed_recently: int
    queue_depth: int
    experts: _containers.RepeatedCompositeFieldContainer[ExpertUse]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    jobs: _containers.RepeatedCompositeFieldContainer[JobCount]
    rss_bytes: int
    cpu_share: float
    cuts: _containers.RepeatedCompositeFieldContainer[Refusal]
    def __init__(self, server_version: _Optional[str] = ..., state: _Optional[_Union[ServerState, str]] = ..., uptime_s: _Optional[float] = ..., bundle_name: _Optional[str] = ..., bundle_digest: _Optional[str] = ..., generation: _Optional[int] = ..., session_count: _Optional[int] = ..., stream_count: _Optional[int] = ..., max_stream_count: _Optional[int] = ..., sessions_opened: _Optional[int] = ..., window_s: _Optional[float] = ..., frames_per_second: _Optional[float] = ..., frames_sent: _Optional[int] = ..., first_frame: _Optional[_Union[Latency, _Mapping]] = ..., step: _Optional[_Union[Latency, _Mapping]] = ..., batch_mean: _Optional[float] = ..., batch_max: _Optional[int] = ..., margin_p50_s: _Optional[float] = ..., margin_p1_s: _Optional[float] = ..., deadlines_missed: _Optional[int] = ..., deadlines_missed_recently: _Optional[int] = ..., queue_depth: _Optional[int] = ..., experts: _Optional[_Iterable[_Union[ExpertUse, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., jobs: _Optional[_Iterable[_Union[JobCount, _Mapping]]] = ..., rss_bytes: _Optional[int] = ..., cpu_share: _Optional[float] = ..., cuts: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ...) -> None: ...

class Latency(_message.Message):
    __slots__ = ("count", "p50_s", "p99_s", "max_s")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    P50_S_FIELD_NUMBER: _ClassVar[int]
    P99_S_FIELD_NUMBER: _ClassVar[int]
    MAX_S_FIELD_NUMBER: _ClassVar[int]
    count: int
    p50_s: float
    p99_s: float
    max_s: float
    def __init__(self, count: _Optional[int] = ..., p50_s: _Optional[float] = ..., p99_s: _Optional[float] = ..., max_s: _Optional[float] = ...) -> None: ...

class ExpertUse(_message.Message):
    __slots__ = ("expert", "characters")
    EXPERT_FIELD_NUMBER: _ClassVar[int]
    CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    expert: str
    characters: float
    def __init__(self, expert: _Optional[str] = ..., characters: _Optional[float] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "count")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    count: int
    def __init__(self, reason: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class JobCount(_message.Message):
    __slots__ = ("state", "count")
    STATE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    state: _job_service_pb2.JobState
    count: int
    def __init__(self, state: _Optional[_Union[_job_service_pb2.JobState, str]] = ..., count: _Optional[int] = ...) -> None: ...
