"""Prompts that a character performs one after another, and what it does when there are no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from animoe.engine.prompts import PlannedPrompt
from animoe.engine.requests import MIN_SECONDS, check_prompt
from animoe.errors import InvalidRequest
from animoe.motion.emotion import EmotionCurve

MAX_QUEUED = 64
MAX_QUEUED_SECONDS = 3600.0
IDLE_PROMPT = "someone stands in place"
"""Performed when a queue has run dry, unless the caller names another. Of nine such prompts after a walk the stillest:
in 16 takes of 26 seconds nobody leaves a place by more than 0.34 m. Under "a person stands still" one walks on."""


@dataclass(frozen=True)
class QueuedPrompt:
    """A prompt with its time.

    Attributes:
        text: what to perform. seconds: how long, on the character's own time line; rounded to tokens.
        emotion: felt while it is performed, its times count from there; None = what the character feels anyway.
    """

    text: str
    seconds: float
    emotion: EmotionCurve | None = None

    def __post_init__(self) -> None:
        check_prompt(self.text)
        if not (np.isfinite(self.seconds) and MIN_SECONDS <= self.seconds <= MAX_QUEUED_SECONDS):
            raise InvalidRequest(
                f"a queued prompt lasts {MIN_SECONDS:g} to {MAX_QUEUED_SECONDS:g} seconds, got {self.seconds:g}"
            )


@dataclass(frozen=True, eq=False)
class Act:
    """A queued prompt, planned. frames: of the character's own time line, it need not be whole."""

    prompt: PlannedPrompt
    frames: float
    emotion: EmotionCurve | None


@dataclass(frozen=True, eq=False)
class Programme:
    """What is performed until a frame, and then. Never changed, only replaced.

    Attributes:
        ends_frame: of what is performed now. acts: what follows it. idle: what follows them, without end.
    """

    ends_frame: float
    acts: tuple[Act, ...]
    idle: PlannedPrompt

    def following(self) -> tuple[Act, Programme | None]:
        """What comes now, and what is to come after it; None after the idle prompt, which has no end."""
        if not self.acts:
            return Act(self.idle, np.inf, None), None
        first, *rest = self.acts
        return first, Programme(self.ends_frame + first.frames, tuple(rest), self.idle)


def check_queue(items: Sequence[QueuedPrompt]) -> None:
    """Raises InvalidRequest unless this can be queued."""
    if len(items) > MAX_QUEUED:
        raise InvalidRequest(f"a queue holds up to {MAX_QUEUED} prompts, got {len(items)}; send the rest later")
