"""protobuf <-> what a live session may be told, and what it allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from animoe.engine import Control, LiveSession, QueuedPrompt
from animoe.engine.controls import EmotionControl, IntensityControl, PaceControl, PromptControl, QueueControl
from animoe.engine.feeling import MAX_TRANSITION_S
from animoe.engine.pace import MAX_PACE, MIN_PACE
from animoe.engine.prompt_queue import IDLE_PROMPT, MAX_QUEUED, MAX_QUEUED_SECONDS
from animoe.engine.requests import MIN_SECONDS
from animoe.errors import AniMoEError, FailedPrecondition, InvalidRequest
from animoe.motion.emotion import MAX_INTENSITY
from animoe.serving.convert import emotion_from_proto, experts_to_proto
from animoe.serving.limits import (
    MAX_BUFFER_S,
    MAX_EMOTION_KEYS,
    MAX_MESSAGE_BYTES,
    MESSAGES_PER_PROMPT,
    MIN_BUFFER_S,
    Limits,
)
from animoe.serving.pacing import LEAD_S, REPLACEABLE_LEAD_S
from animoe.serving.reserve import MAX_RESERVE_S, MIN_RESERVE_S
from animoe.v1 import animation_service_pb2 as pb


@dataclass(frozen=True)
class Playback:
    """How a caller plays: see animation_service.proto. `buffer_s` None is the default."""

    buffer_s: float | None = None
    replaceable: bool = False

    def lead_s(self, *, replaceable: bool) -> float:
        """Seconds of motion ahead of the playhead."""
        return self.buffer_s or (REPLACEABLE_LEAD_S if replaceable else LEAD_S)


def playback_from_proto(playback: pb.Playback) -> Playback:
    """Raises InvalidRequest for a buffer out of range."""
    buffer_s = playback.buffer_s
    if buffer_s and not (math.isfinite(buffer_s) and MIN_BUFFER_S <= buffer_s <= MAX_BUFFER_S):
        raise InvalidRequest(
            f"playback.buffer_s must be between {MIN_BUFFER_S:g} and {MAX_BUFFER_S:g} seconds, got {buffer_s:g}; "
            "leave it out for the default"
        )
    return Playback(buffer_s or None, playback.replaceable)


def playhead_from_proto(report: pb.PlayheadReport) -> pb.PlayheadReport:
    """The report itself, when its numbers make sense. Raises InvalidRequest."""
    for name in ("frame", "held_frame_count", "held_for_s", "stall_count"):
        value = getattr(report, name)
        if not (math.isfinite(value) and value >= 0):
            raise InvalidRequest(f"playhead.{name} must be 0 or more, got {value:g}")
    return report


def message_cost(request: pb.AnimateRequest) -> float:
    """What reading a message counts as, in messages."""
    kind = request.WhichOneof("control")
    prompts = {"prompt": 1, "queue": len(request.queue.prompts)}.get(kind or "", 0)
    return max(1.0, prompts * MESSAGES_PER_PROMPT)


def control_from_proto(request: pb.AnimateRequest) -> Control:
    """What a message tells a session.

    Raises:
        InvalidRequest, NotFound: a wrong value. FailedPrecondition: `start` again.
    """
    match request.WhichOneof("control"):
        case "prompt":
            return PromptControl(request.prompt.text)
        case "emotion":
            return _emotion_from_proto(request.emotion)
        case "queue":
            return _queue_from_proto(request.queue)
        case "pace":
            return PaceControl(request.pace.pace)
        case "intensity":
            return IntensityControl(request.intensity.scale)
        case "start":
            raise FailedPrecondition("the session has started already; send `prompt` or `emotion` to change it")
    raise InvalidRequest("the message is empty; set one of prompt, emotion, queue, pace, intensity, pause and stop")


def _emotion_from_proto(change: pb.EmotionChange) -> EmotionControl:
    emotion = emotion_from_proto(change.emotion) if change.HasField("emotion") else None
    return EmotionControl(emotion, change.transition_s)


def _queue_from_proto(queue: pb.QueueChange) -> QueueControl:
    items = []
    for number, item in enumerate(queue.prompts[: MAX_QUEUED + 1]):
        emotion = emotion_from_proto(item.emotion) if item.HasField("emotion") else None
        try:
            items.append(QueuedPrompt(item.text, item.seconds, emotion))
        except InvalidRequest as error:
            raise InvalidRequest(f"queue.prompts[{number}]: {error}") from error
    return QueueControl(tuple(items), queue.idle_text or IDLE_PROMPT)


def applied_to_proto(control_id: int, session: LiveSession, replaced: int, reserve_s: float) -> pb.AnimateResponse:
    """Says that a control was applied just now; for the rest see animation_service.proto."""
    performance = session.performance
    applied = pb.ControlApplied(
        control_id=control_id,
        first_frame=session.next_frame,
        experts=experts_to_proto(performance),
        generation=performance.generation,
        bundle_digest=performance.bundle_digest,
        replaced_frame_count=replaced,
        reserve_s=reserve_s,
    )
    return pb.AnimateResponse(control_applied=applied)


def refusal_to_proto(control_id: int, error: AniMoEError) -> pb.AnimateResponse:
    refusal = pb.ControlRejected(control_id=control_id, reason=error.reason, message=str(error))
    return pb.AnimateResponse(control_rejected=refusal)


def start_controls(start: pb.AnimateStart) -> list[Control]:
    """What a session is told before its first frame. Raises as `control_from_proto`."""
    controls: list[Control] = []
    if start.HasField("queue"):
        controls.append(_queue_from_proto(start.queue))
    if start.HasField("pace"):
        controls.append(PaceControl(start.pace.pace))
    if start.HasField("intensity"):
        controls.append(IntensityControl(start.intensity.scale))
    return controls


def limits_to_proto(limits: Limits, max_clips: int) -> pb.StreamLimits:
    return pb.StreamLimits(
        max_messages_per_second=limits.messages_per_second,
        message_burst=limits.message_burst,
        messages_per_prompt=MESSAGES_PER_PROMPT,
        greedy_timeout_s=limits.greedy_s,
        max_message_bytes=MAX_MESSAGE_BYTES,
        max_queue_count=MAX_QUEUED,
        min_queue_seconds=MIN_SECONDS,
        max_queue_seconds=MAX_QUEUED_SECONDS,
        max_emotion_keys=MAX_EMOTION_KEYS,
        max_transition_s=MAX_TRANSITION_S,
        min_pace=MIN_PACE,
        max_pace=MAX_PACE,
        max_intensity_scale=MAX_INTENSITY,
        min_buffer_s=MIN_BUFFER_S,
        max_buffer_s=MAX_BUFFER_S,
        min_reserve_s=MIN_RESERVE_S,
        max_reserve_s=MAX_RESERVE_S,
        start_timeout_s=limits.start_s,
        idle_timeout_s=limits.idle_s,
        stuck_timeout_s=limits.stuck_s,
        max_clip_count=max_clips,
    )
