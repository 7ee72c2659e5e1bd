"""Emotion as a control: weights over categories times an intensity, constant or changing over time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from animoe.errors import InvalidRequest, NotFound
from animoe.rig.rotations import Array

EMOTIONS: tuple[str, ...] = ("neutral", "happy", "sad", "angry", "proud", "fearful", "tired", "excited")
MAX_INTENSITY = 2.0


@dataclass(frozen=True)
class EmotionKey:
    """One key of a curve.

    Attributes:
        time_s: seconds from the start of the motion, >= 0.
        weights: category -> weight >= 0; they are normalised to sum 1. Empty means neutral.
        intensity: 0 (neutral) to 2 (twice what actors did); 1 is as acted.
    """

    time_s: float
    weights: Mapping[str, float]
    intensity: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.time_s) and self.time_s >= 0):
            raise InvalidRequest(f"emotion key time must be 0 seconds or later, got {self.time_s}")
        if not (np.isfinite(self.intensity) and 0 <= self.intensity <= MAX_INTENSITY):
            raise InvalidRequest(f"emotion intensity must be between 0 and {MAX_INTENSITY:g}, got {self.intensity}")
        for name, weight in self.weights.items():
            if name not in EMOTIONS:
                raise NotFound(f"unknown emotion {name!r}; choose from {', '.join(EMOTIONS)}")
            if not (np.isfinite(weight) and weight >= 0):
                raise InvalidRequest(f"weight of emotion {name!r} must be 0 or more, got {weight}")

    @property
    def vector(self) -> Array:
        """(E,) float32: normalised weights times intensity, in the order of EMOTIONS; neutral is the zero vector.

        So the way from neutral to an emotion is a straight line, and intensity is how far to go along it.
        """
        row = np.array([self.weights.get(name, 0.0) for name in EMOTIONS], dtype=np.float32)
        total = row.sum()
        if total <= 0:
            return np.zeros(len(EMOTIONS), dtype=np.float32)
        scaled: Array = row / total * np.float32(self.intensity)
        scaled[EMOTIONS.index("neutral")] = 0.0
        return scaled


@dataclass(frozen=True)
class EmotionCurve:
    """Keys sorted by time; linear between keys, held before the first and after the last."""

    keys: tuple[EmotionKey, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise InvalidRequest("an emotion curve needs at least one key; without a curve the text decides")
        times = [key.time_s for key in self.keys]
        if times != sorted(times):
            raise InvalidRequest("emotion keys must be sorted by time")

    @classmethod
    def constant(cls, name: str, intensity: float = 1.0) -> EmotionCurve:
        """One emotion for the whole motion."""
        return cls((EmotionKey(0.0, {name: 1.0}, intensity),))

    def sample(self, times_s: Sequence[float] | Array) -> Array:
        """(N, E) float32 emotion vectors at (N,) seconds from the start."""
        return np.stack([self.at(time_s) for time_s in times_s])

    def at(self, time_s: float) -> Array:
        """(E,) float32 emotion vector at one time; quick, for every token of a live character."""
        times, rows = self._table
        after = bisect_right(times, time_s)
        if after in (0, len(times)):
            return rows[min(after, len(times) - 1)]
        start, end = times[after - 1], times[after]
        found: Array = rows[after - 1] + (rows[after] - rows[after - 1]) * np.float32((time_s - start) / (end - start))
        return found

    @cached_property
    def _table(self) -> tuple[list[float], list[Array]]:
        """Times and vectors of the keys."""
        return [key.time_s for key in self.keys], [key.vector for key in self.keys]
