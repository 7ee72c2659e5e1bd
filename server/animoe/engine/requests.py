"""What callers ask of the engine. Checked here, once; everything inside assumes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.errors import InvalidRequest
from animoe.motion.emotion import EmotionCurve

MAX_PROMPT_CHARS = 1000
MIN_SECONDS, MAX_SECONDS = 0.2, 60.0
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        seed: 0 to 2^63 - 1; same seed, prompt, curve and bundle give the same motion.
        temperature: 0 to 2; 0 takes the likeliest token.
        top_p: nucleus, in (0, 1].
    """

    seed: int = 0
    temperature: float = 0.75
    top_p: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise InvalidRequest(f"seed must be between 0 and 2^63 - 1, got {self.seed}")
        if not (np.isfinite(self.temperature) and 0 <= self.temperature <= 2):
            raise InvalidRequest(f"temperature must be between 0 and 2, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InvalidRequest(f"top_p must be above 0 and at most 1, got {self.top_p}")


@dataclass(frozen=True)
class ClipRequest:
    """One finished clip: `text` performed for `seconds`, ending by itself.

    `emotion` None leaves the emotion to the text.
    """

    text: str
    seconds: float
    emotion: EmotionCurve | None = None
    sampling: Sampling = Sampling()

    def __post_init__(self) -> None:
        check_prompt(self.text)
        if not (np.isfinite(self.seconds) and MIN_SECONDS <= self.seconds <= MAX_SECONDS):
            raise InvalidRequest(
                f"seconds must be between {MIN_SECONDS:g} and {MAX_SECONDS:g}, got {self.seconds:g}; "
                "for endless motion open a live session"
            )


@dataclass(frozen=True)
class SessionRequest:
    """A live session: `text` performed until the caller changes or stops it."""

    text: str
    emotion: EmotionCurve | None = None
    sampling: Sampling = Sampling()

    def __post_init__(self) -> None:
        check_prompt(self.text)


def check_prompt(text: str) -> None:
    """Raises InvalidRequest unless `text` is a usable prompt."""
    if not text.strip():
        raise InvalidRequest("the prompt is empty; describe the motion, for example 'a person walks forward'")
    if len(text) > MAX_PROMPT_CHARS:
        raise InvalidRequest(
            f"the prompt has {len(text)} characters; at most {MAX_PROMPT_CHARS} are allowed, one sentence is enough"
        )
