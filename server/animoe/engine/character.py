"""One character: prompt and emotion in, tokens and frames out, one token (4 frames) at a time.

The generator sees [prompt][begin][tokens so far]. When the window is full, or the prompt changes, the sequence is
re-anchored: [prompt][resume][last few tokens], which is how crops from the middle of clips look in training. The
decoder and the root keep their own state across, so the motion goes on without a jump.
"""

from __future__ import annotations

import numpy as np

from animoe.engine.requests import Sampling
from animoe.engine.runtime import Runtime, StepInputs
from animoe.models.sequence import LEFT_OPEN, MAX_LEFT, PROMPT_SLOTS, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN
from animoe.motion.emotion import EMOTIONS, EmotionCurve
from animoe.motion.features import RootState, features_to_pose
from animoe.motion.pose_block import PoseBlock
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array

WINDOW_TOKENS = 40
KEPT_TOKENS = 12
"""Tokens carried over when the window is full (1.6 s)."""
KEPT_ON_PROMPT = 4
"""Tokens carried over when the prompt changes (0.5 s): enough to go on smoothly, too few to stay in the old action."""

_SECONDS_PER_TOKEN = FRAMES_PER_TOKEN / FRAME_RATE_HZ


class Character:
    """Generates a stream of pose blocks. Not thread-safe; cheap (about 1 MB)."""

    def __init__(
        self,
        runtime: Runtime,
        text: str,
        emotion: EmotionCurve | None,
        sampling: Sampling,
        *,
        total_tokens: int | None = None,
    ) -> None:
        self._runtime, self._sampling = runtime, sampling
        self._sentence = runtime.prompts.encode(text)
        self._random = np.random.Generator(np.random.Philox(sampling.seed))
        self._total = total_tokens
        self._emotion, self._emotion_start = emotion, 0
        self._tokens: list[Array] = []
        self._cache = runtime.new_cache(PROMPT_SLOTS + 1 + WINDOW_TOKENS)
        self._state = runtime.new_decoder_state()
        self._root = RootState()
        self._pending: StepInputs = self._prefix(SLOT_BEGIN, [])

    @property
    def token_count(self) -> int:
        """Tokens generated so far."""
        return len(self._tokens)

    def set_prompt(self, text: str) -> None:
        """Goes on with another prompt from the next token."""
        self._sentence = self._runtime.prompts.encode(text)
        self._anchor(KEPT_ON_PROMPT)

    def set_emotion(self, emotion: EmotionCurve | None) -> None:
        """Replaces the emotion curve from the next token; its times count from now. None leaves it to the text."""
        self._emotion, self._emotion_start = emotion, len(self._tokens)
        self._anchor(KEPT_ON_PROMPT)

    def next_block(self) -> PoseBlock:
        """Draws one token and decodes its four frames."""
        uniform = self._random.random(self._runtime.manifest.groups, dtype=np.float32)
        codes = self._runtime.step(
            self._sentence,
            self._pending,
            self._cache,
            uniform,
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
        )
        first = len(self._tokens) * FRAMES_PER_TOKEN
        self._tokens.append(codes)
        if self._cache.room:
            self._pending = self._inputs(np.array([SLOT_TOKEN]), [codes], self._cache.length)
        else:
            self._anchor(KEPT_TOKENS)
        features, self._state = self._runtime.decode(codes[None], self._state)
        rotations, positions, contacts = features_to_pose(features, self._root)
        return PoseBlock(first, rotations, positions, contacts)

    def _anchor(self, kept: int) -> None:
        """Starts a fresh window from the last tokens; before the first token there is nothing to resume."""
        self._cache.clear()
        recent = self._tokens[-kept:]
        self._pending = self._prefix(SLOT_RESUME if recent else SLOT_BEGIN, recent)

    def _prefix(self, opening: int, recent: list[Array]) -> StepInputs:
        slots = np.array([*range(PROMPT_SLOTS), opening, *[SLOT_TOKEN] * len(recent)])
        blank = np.zeros(self._runtime.manifest.groups, dtype=np.int64)
        return self._inputs(slots, [blank] * (PROMPT_SLOTS + 1) + recent, 0)

    def _inputs(self, slots: Array, codes: list[Array], position: int) -> StepInputs:
        """Inputs of S positions that lead up to the next token; all of them carry that token's emotion."""
        count = len(slots)
        now = (len(self._tokens) - self._emotion_start) * _SECONDS_PER_TOKEN
        row = np.zeros(len(EMOTIONS), np.float32) if self._emotion is None else self._emotion.sample([now])[0]
        return StepInputs(
            slots=slots.astype(np.int64),
            codes=np.stack(codes).astype(np.int64),
            emotion=np.tile(row, (count, 1)),
            inferred=np.full(count, float(self._emotion is None), dtype=np.float32),
            left=self._left(count, has_prefix=position == 0),
            positions=np.arange(position, position + count, dtype=np.int64),
        )

    def _left(self, count: int, *, has_prefix: bool) -> Array:
        """Tokens still to come after each position, counted as in training: the last position has the most recent."""
        if self._total is None:
            return np.full(count, LEFT_OPEN, dtype=np.int64)
        remaining = max(self._total - len(self._tokens), 0)
        left = remaining + np.arange(count - 1, -1, -1)
        if has_prefix:
            left[:PROMPT_SLOTS] = left[PROMPT_SLOTS]
        return np.minimum(left, MAX_LEFT).astype(np.int64)
