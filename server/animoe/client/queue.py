"""Prompts that are performed one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from animoe.client.emotion import Emotion, emotion_curve
from animoe.v1 import animation_service_pb2 as pb


@dataclass(frozen=True)
class Queued:
    """A prompt with its time.

    Attributes:
        text: what the character does. seconds: for how long, 0.2 to 3600.
        emotion: while it does so, see `Emotion`; None is what it feels anyway. intensity: multiplies the emotion.
    """

    text: str
    seconds: float
    emotion: Emotion | None = None
    intensity: float = 1.0


def queue_change(prompts: Sequence[Queued], idle: str = "") -> pb.QueueChange:
    """The message for a queue."""
    items = [
        pb.QueuedPrompt(text=item.text, seconds=item.seconds, emotion=emotion_curve(item.emotion, item.intensity))
        for item in prompts
    ]
    return pb.QueueChange(prompts=items, idle_text=idle)
