"""A character before a token: everything that changes while it performs, and that it must get back to go back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from animoe.engine.feeling import Feeling, scaled
from animoe.engine.inertia import Inertia
from animoe.engine.pace import PLAIN, Frames, Pace
from animoe.engine.prompt_queue import Programme
from animoe.engine.prompts import PlannedPrompt
from animoe.motion.features import RootState
from animoe.rig.rotations import Array

MIN_SEAM_TOKENS = 2
"""Tokens between two seams of a moving emotion: a slider that is dragged must not cut every block."""


@dataclass
class Moment:
    """A character before a token. What its fields hold is never changed, only replaced: a shallow copy is a copy.

    Attributes:
        prompt, feeling, intensity, pace: what is performed, and how. act: what an act of the programme feels instead.
        programme: what is performed when; None = the present prompt without end.
        token, frame: number of the next token, and of the next frame on the character's own time line.
        state: (rows, width) of the decoder. root: where the body stands.
        tokens: the last ones, up to KEPT_TOKENS of (G,). recent: (2, 140) features of the last frames.
        length: positions of the window that the generator has seen. kept: tokens that a fresh window starts with.
        seam: the next token is one. last_seam: token of the last one. felt: (E,) emotion there.
        asked: for a token that has not come. inertia: of the motion before the last seam.
        last: frame of the motion, at its own pace.
    """

    prompt: PlannedPrompt
    feeling: Feeling
    state: Array
    act: Feeling | None = None
    intensity: float = 1.0
    pace: Pace = PLAIN
    programme: Programme | None = None
    token: int = 0
    frame: int = 0
    root: RootState = field(default_factory=RootState)
    tokens: tuple[Array, ...] = ()
    recent: Array | None = None
    length: int = 0
    kept: int = 0
    seam: bool = False
    last_seam: int = -MIN_SEAM_TOKENS
    felt: Array = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    asked: bool = False
    inertia: Inertia | None = None
    last: Frames | None = None

    def copy(self) -> Moment:
        """The same again; `copy.copy` takes five times as long, and this is done for every token."""
        found = object.__new__(Moment)
        found.__dict__.update(self.__dict__)
        return found

    def emotion(self) -> Array:
        """(E,) of the next token."""
        felt = self.act or self.feeling
        return scaled(felt.at(self.frame, self.prompt.plan.emotion), self.intensity)

    @property
    def inferred(self) -> bool:
        """Whether the emotion is left to the text."""
        return (self.act or self.feeling).curve is None
