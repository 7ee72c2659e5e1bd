"""Ways to say an emotion: a name, weights, or keys over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from animoe.v1 import clip_pb2

Emotion = str | Mapping[str, float] | Sequence[tuple[float, Mapping[str, float]]]
"""A name ("sad"); name -> intensity 0 to 2 ({"sad": 0.7, "tired": 0.3}); or such mappings over time in
seconds ([(0, {"sad": 1}), (2, {"happy": 1})]), sorted by time."""


def emotion_curve(emotion: Emotion | None, intensity: float = 1.0) -> clip_pb2.EmotionCurve | None:
    """The message for an emotion; `intensity` multiplies it. None leaves the emotion to the text."""
    if emotion is None:
        return None
    if isinstance(emotion, str):
        emotion = {emotion: 1.0}
    keys = [(0.0, emotion)] if isinstance(emotion, Mapping) else emotion
    return clip_pb2.EmotionCurve(keys=[_key(time_s, weights, intensity) for time_s, weights in keys])


def _key(time_s: float, weights: Mapping[str, float], intensity: float) -> clip_pb2.EmotionKey:
    emotions = [
        clip_pb2.EmotionIntensity(emotion=name, intensity=weight * intensity) for name, weight in weights.items()
    ]
    return clip_pb2.EmotionKey(time_s=time_s, emotions=emotions)
