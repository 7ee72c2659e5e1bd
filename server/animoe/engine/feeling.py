"""What a character feels from frame to frame: an emotion curve, the way into it, and how strong it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.errors import InvalidRequest
from animoe.motion.emotion import MAX_INTENSITY, EmotionCurve
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array

MAX_TRANSITION_S = 60.0


@dataclass(frozen=True, eq=False)
class Feeling:
    """An emotion from the frame at which it took effect.

    Attributes:
        curve: its times count from `start_frame`; None = what the text suggests.
        start_frame: on the character's own time line. before: (E,) felt until then.
        transition_s: the way from `before` to the curve; 0 = at once.
    """

    curve: EmotionCurve | None
    start_frame: int = 0
    before: Array | None = None
    transition_s: float = 0.0

    def at(self, frame: int, suggested: Array) -> Array:
        """(E,) felt at a frame.

        Args:
            suggested: (E,) by the text.
        """
        seconds = (frame - self.start_frame) / FRAME_RATE_HZ
        target = suggested if self.curve is None else self.curve.at(seconds)
        if self.before is None or seconds >= self.transition_s:
            return target
        share = np.float32(smoothstep(seconds / self.transition_s))
        found: Array = self.before + (target - self.before) * share
        return found


def scaled(emotion: Array, intensity: float) -> Array:
    """An emotion (E,) times an intensity, never beyond what an emotion can be."""
    if intensity == 1.0:
        return emotion
    found: Array = emotion * np.float32(intensity)
    total = float(found.sum())
    return found if total <= MAX_INTENSITY else found * np.float32(MAX_INTENSITY / total)


def smoothstep(share: float) -> float:
    """From 0 to 1 over [0, 1], with level ends."""
    return share * share * (3.0 - 2.0 * share)


def check_transition(seconds: float) -> None:
    """Raises InvalidRequest unless an emotion can take so long to come."""
    if not (np.isfinite(seconds) and 0 <= seconds <= MAX_TRANSITION_S):
        raise InvalidRequest(
            f"an emotion's transition takes 0 to {MAX_TRANSITION_S:g} seconds, got {seconds}; for longer ones send keys"
        )


def check_intensity(scale: float) -> None:
    """Raises InvalidRequest unless emotions can be made so strong."""
    if not (np.isfinite(scale) and 0 <= scale <= MAX_INTENSITY):
        raise InvalidRequest(f"intensity must be between 0 (neutral) and {MAX_INTENSITY:g}, got {scale}")
