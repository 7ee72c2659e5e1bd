"""Keyframe tracks of glTF sampled on a grid: STEP, LINEAR and CUBICSPLINE (specification, appendix C)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.rig.rotations import Array, normalize, slerp

SNAP = 1e-4
"""Share of a key interval; a frame this near to a key takes the key itself (times are float32)."""


@dataclass(frozen=True, eq=False)
class KeySpan:
    """Where each of T frames lies between the keys of a track.

    Attributes:
        low, high: (T,) indices of the keys before and after.
        weight: (T,) 0 at `low`, 1 at `high`.
        gap_s: (T,) seconds from `low` to `high`.
    """

    low: Array
    high: Array
    weight: Array
    gap_s: Array

    @classmethod
    def locate(cls, key_times_s: Array, grid_s: Array, *, step: bool) -> KeySpan:
        """Finds the (T,) grid times between (K,) ascending key times.

        Before the first and after the last key that key holds; a STEP key holds until the next one.
        """
        last = len(key_times_s) - 1
        low = np.clip(np.searchsorted(key_times_s, grid_s, side="right") - 1, 0, max(last - 1, 0))
        high = np.minimum(low + 1, last)
        gap = key_times_s[high] - key_times_s[low]
        weight = np.clip((grid_s - key_times_s[low]) / np.maximum(gap, 1e-12), 0.0, 1.0)
        weight = np.where(weight < SNAP, 0.0, np.where(weight > 1 - SNAP, 1.0, weight))
        return cls(low, high, np.floor(weight) if step else weight, gap)


class TrackBatch:
    """Tracks of one kind (rotations, or translations and scales) that are interpolated together."""

    def __init__(self, *, rotations: bool) -> None:
        self._rotations = rotations
        self._joints: list[int] = []
        self._before: list[Array] = []
        self._after: list[Array] = []
        self._weights: list[Array] = []
        self._splines: list[tuple[int, KeySpan, Array]] = []

    def add(self, joint: int, span: KeySpan, values: Array) -> None:
        """A STEP or LINEAR track of (K, C) key values."""
        self._joints.append(joint)
        self._before.append(values.take(span.low, axis=0))
        self._after.append(values.take(span.high, axis=0))
        self._weights.append(span.weight)

    def add_spline(self, joint: int, span: KeySpan, values: Array) -> None:
        """A CUBICSPLINE track of (K, 3, C): in-tangents, values and out-tangents."""
        self._splines.append((joint, span, values))

    def sample_into(self, target: Array) -> int | None:
        """Writes the sampled tracks into `target` (T, J, C).

        Returns:
            A joint whose keys are NaN or infinite, or None when all is well.
        """
        if self._joints:
            before, after = np.stack(self._before, axis=1), np.stack(self._after, axis=1)
            finite = np.isfinite(before).all(axis=(0, 2)) & np.isfinite(after).all(axis=(0, 2))
            if not finite.all():
                return self._joints[int(np.argmin(finite))]
            weight = np.stack(self._weights, axis=1)
            target[:, self._joints] = self._blend(before, after, weight)
        for joint, span, values in self._splines:
            if not np.isfinite(values).all():
                return joint
            target[:, joint] = self._hermite(span, values)
        return None

    def _blend(self, before: Array, after: Array, weight: Array) -> Array:
        if self._rotations:
            return slerp(normalize(before), normalize(after), weight)
        blended: Array = before + (after - before) * weight[..., None]
        return blended

    def _hermite(self, span: KeySpan, values: Array) -> Array:
        t = span.weight[:, None]
        gap = span.gap_s[:, None]
        start, leaving = values[span.low, 1], values[span.low, 2] * gap
        end, arriving = values[span.high, 1], values[span.high, 0] * gap
        t2, t3 = t * t, t * t * t
        curve: Array = (
            (2 * t3 - 3 * t2 + 1) * start + (t3 - 2 * t2 + t) * leaving + (3 * t2 - 2 * t3) * end + (t3 - t2) * arriving
        )
        return normalize(curve) if self._rotations else curve
