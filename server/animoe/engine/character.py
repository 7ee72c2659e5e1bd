"""One character: what it does next, one token (4 frames) at a time. The engine computes it, in batches.

The generator sees [prompt][begin][tokens so far]. When the window is full the sequence is re-anchored:
[prompt][resume][last few tokens], which is how crops from the middle of clips look in training.

When the prompt or the emotion changes, no token is carried over: with even half a second of context the generator goes
on as before, whatever the new prompt says (measured: a happy walk stayed at 1.44 m/s under "sad"; without context it is
at 0.6 m/s after half a second). The seam is made in pose space instead: of several first tokens the one is taken that
continues the present motion most smoothly, and the decoder's own state carries the joints over.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from animoe.engine.prompts import PlannedPrompt
from animoe.engine.requests import Sampling
from animoe.models.sequence import LEFT_OPEN, MAX_LEFT, PROMPT_SLOTS, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN
from animoe.motion.emotion import EmotionCurve
from animoe.motion.features import HEIGHT, LOCAL_ROTATIONS, RootState
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array

WINDOW_TOKENS = 40
KEPT_TOKENS = 12
"""Tokens carried over when the window is full (1.6 s)."""
WINDOW = PROMPT_SLOTS + 1 + WINDOW_TOKENS
"""Positions of a full window."""
SEAM_CANDIDATES = 8
"""Measured on 298 seams: the best of 8 costs 2.4e-4 (`seam_cost`), of 16 2.3e-4, of 1 3.0e-4; motion in flow 2.3e-4."""
EMOTION_STEP = 0.25
"""How far the emotion moves (sum of absolute changes) before it is a change; less only tints what is going on."""
MIN_SEAM_TOKENS = 2
"""Tokens between two seams of a moving emotion: a slider that is dragged must not cut every block."""

_SECONDS_PER_TOKEN = FRAMES_PER_TOKEN / FRAME_RATE_HZ


@dataclass(frozen=True, eq=False)
class StepInputs:
    """New positions of one character that lead up to its next token.

    Attributes:
        slots, left, positions: (S,) int64 and codes: (S, G) int64, as in `models.motion_lm.LMInputs`. Position 0 starts
            anew, with an empty cache.
        emotion: (E,) of the next token; all positions carry it. inferred: the text suggests it.
        uniforms: (C, G) in [0, 1): C candidates are drawn for the next token.
    """

    slots: Array
    codes: Array
    left: Array
    positions: Array
    emotion: Array
    inferred: bool
    uniforms: Array


class Character:
    """Says what it needs for its next token (`next_inputs`) and takes it in (`take`). Not thread-safe.

    Args:
        prompt: first performed. groups: codes per token. state: (rows, width) of the decoder before its first token.
        total_tokens: of a clip; None never ends.
    """

    def __init__(
        self,
        prompt: PlannedPrompt,
        emotion: EmotionCurve | None,
        sampling: Sampling,
        *,
        groups: int,
        state: Array,
        total_tokens: int | None = None,
    ) -> None:
        self.sampling = sampling
        self.state, self.root = state, RootState()
        self._prompt, self._groups, self._total = prompt, groups, total_tokens
        self._random = np.random.Generator(np.random.Philox(sampling.seed))
        self._emotion, self._emotion_start = emotion, 0
        self._count = 0
        self._tokens: deque[Array] = deque(maxlen=KEPT_TOKENS)  # a session may last for days
        self._recent: Array | None = None  # features of the last two frames
        self._length = 0  # positions of the window that the generator has seen
        self._kept = 0  # tokens that a fresh window starts with
        self._seam, self._last_seam = False, -MIN_SEAM_TOKENS
        self._asked = False  # for a token that has not come
        self._felt = self._emotion_now()

    @property
    def prompt(self) -> PlannedPrompt:
        """What is being performed, and with which experts."""
        return self._prompt

    @property
    def first_frame(self) -> int:
        """Of the next token."""
        return self._count * FRAMES_PER_TOKEN

    def set_prompt(self, prompt: PlannedPrompt) -> None:
        """Goes on with another prompt, or newer experts, from the next token; the same ones again change nothing."""
        if (prompt.text, prompt.scenarios) != (self._prompt.text, self._prompt.scenarios):
            self._prompt = prompt
            self._change()

    def set_emotion(self, emotion: EmotionCurve | None) -> None:
        """Replaces the emotion curve from the next token; its times count from now. None leaves it to the text."""
        inferred_before = self._emotion is None
        self._emotion, self._emotion_start = emotion, self._count
        if inferred_before != (emotion is None):
            self._change()  # else the next token sees whether the vector moved far enough

    def next_inputs(self) -> StepInputs:
        """What the generator must see for the next token. To be followed by `take`, unless the step fails."""
        emotion = self._emotion_now()
        if self._moved(emotion):
            self._change()
        elif self._asked:
            self._anchor(KEPT_TOKENS)  # that step failed: what the cache holds is not known
        self._asked = True
        slots, codes = self._window() if not self._length else (np.array([SLOT_TOKEN]), self._tokens[-1][None])
        first, count = self._length, len(slots)
        self._length += count
        return StepInputs(
            slots=slots,
            codes=codes,
            left=self._left(count, has_prefix=first == 0),
            positions=np.arange(first, first + count),
            emotion=emotion,
            inferred=self._emotion is None,
            uniforms=self._random.random((SEAM_CANDIDATES if self._seam else 1, self._groups), dtype=np.float32),
        )

    def take(self, codes: Array, features: Array, states: Array) -> Array:
        """Chooses among C drawn tokens the one that continues the motion best.

        Args:
            codes: (C, G). features: (C, 4, 140) and states: (C, rows, width) of the decoder after each.

        Returns:
            (4, 140) features of the chosen one.
        """
        best = 0 if self._recent is None or len(codes) == 1 else int(np.argmin(seam_cost(self._recent, features)))
        self._tokens.append(codes[best].copy())
        self.state = states[best].copy()  # not a view: it would keep a whole batch
        chosen: Array = features[best]
        self._recent, self._seam, self._asked = chosen[-2:].copy(), False, False
        self._count += 1
        if self._length == WINDOW:
            self._anchor(KEPT_TOKENS)
        return chosen

    def _moved(self, emotion: Array) -> bool:
        """Whether the emotion is so far from the one of the last seam that it needs another."""
        if self._count - self._last_seam < MIN_SEAM_TOKENS or emotion is self._felt:
            return False
        return bool(np.abs(emotion - self._felt).sum() > EMOTION_STEP)

    def _change(self) -> None:
        """The prompt or the emotion is another one from the next token."""
        self._felt, self._last_seam = self._emotion_now(), self._count
        self._seam = self._count > 0
        self._anchor(0)

    def _anchor(self, kept: int) -> None:
        """Starts a fresh window from the last tokens; before the first token there is nothing to resume."""
        self._length, self._kept = 0, min(kept, len(self._tokens))

    def _window(self) -> tuple[Array, Array]:
        """Slots (S,) and codes (S, G) of a fresh window."""
        opening = SLOT_RESUME if self._count else SLOT_BEGIN
        recent = list(self._tokens)[-self._kept :] if self._kept else []
        slots = np.array([*range(PROMPT_SLOTS), opening, *[SLOT_TOKEN] * len(recent)])
        return slots, np.stack([np.zeros(self._groups, dtype=np.int64)] * (PROMPT_SLOTS + 1) + recent)

    def _emotion_now(self) -> Array:
        """(E,) emotion vector of the next token; what the text suggests when the emotion is left to it."""
        if self._emotion is None:
            return self._prompt.plan.emotion
        return self._emotion.at((self._count - self._emotion_start) * _SECONDS_PER_TOKEN)

    def _left(self, count: int, *, has_prefix: bool) -> Array:
        """Tokens still to come after each position, counted as in training: the last position has the most recent."""
        if self._total is None:
            return np.full(count, LEFT_OPEN, dtype=np.int64)
        remaining = max(self._total - self._count, 0)
        left = remaining + np.arange(count - 1, -1, -1)
        if has_prefix:
            left[:PROMPT_SLOTS] = left[PROMPT_SLOTS]
        return np.minimum(left, MAX_LEFT).astype(np.int64)


def seam_cost(recent: Array, features: Array) -> Array:
    """How roughly candidates continue a motion: mean squared second difference of their poses.

    Args:
        recent: (2, 140) features of the frames before. features: (C, 4, 140) of the candidates.

    Returns:
        (C,) costs. Root velocities are left out: a change of pace is what the caller asked for.
    """
    pose = slice(HEIGHT.start, LOCAL_ROTATIONS.stop)
    before = np.broadcast_to(recent[:, pose], (len(features), 2, recent[:, pose].shape[-1]))
    joined = np.concatenate([before, features[..., pose]], axis=1)
    cost: Array = np.square(np.diff(joined, n=2, axis=1)).mean(axis=(1, 2))
    return cost
