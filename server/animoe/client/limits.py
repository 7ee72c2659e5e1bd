"""What the server allows one session."""

from __future__ import annotations

from dataclasses import dataclass, fields

from animoe.v1 import animation_service_pb2 as pb


@dataclass(frozen=True)
class StreamLimits:
    """Fields as in StreamLimits of protos/animoe/v1/animation_service.proto; seconds where a name ends so."""

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


def read_limits(limits: pb.StreamLimits) -> StreamLimits:
    return StreamLimits(**{field.name: getattr(limits, field.name) for field in fields(StreamLimits)})
