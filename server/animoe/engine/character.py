"""One character: prompt and emotion in, tokens and frames out, one token (4 frames) at a time.

The generator sees [prompt][begin][tokens so far]. When the window is full the sequence is re-anchored:
[prompt][resume][last few tokens], which is how crops from the middle of clips look in training.

When the prompt or the emotion changes, no token is carried over: with even half a second of context the generator goes
on as before, whatever the new prompt says (measured: a happy walk stayed at 1.44 m/s under "sad"; without context it is
at 0.6 m/s after half a second). The seam is made in pose space instead: of several first tokens the one is taken that
continues the present motion most smoothly, and the decoder's own state carries the joints over.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from animoe.engine.requests import Sampling
from animoe.engine.runtime import PlannedPrompt, Runtime, StepInputs
from animoe.models.sequence import LEFT_OPEN, MAX_LEFT, PROMPT_SLOTS, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN
from animoe.motion.emotion import EmotionCurve
from animoe.motion.features import HEIGHT, LOCAL_ROTATIONS, YAW_RATE, RootState, features_to_pose
from animoe.motion.pose_block import PoseBlock
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array

WINDOW_TOKENS = 40
KEPT_TOKENS = 12
"""Tokens carried over when the window is full (1.6 s)."""
SEAM_CANDIDATES = 16
EMOTION_STEP = 0.25
"""How far the emotion moves (sum of absolute changes) before it is a change; less only tints what is going on."""
MIN_SEAM_TOKENS = 2
"""Tokens between two seams of a moving emotion: a slider that is dragged must not cut every block."""

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
        self._prompt = runtime.plan(text)
        self._random = np.random.Generator(np.random.Philox(sampling.seed))
        self._total = total_tokens
        self._emotion, self._emotion_start = emotion, 0
        self._count = 0
        self._tokens: deque[Array] = deque(maxlen=KEPT_TOKENS)  # a session may last for days
        self._cache = runtime.new_cache(PROMPT_SLOTS + 1 + WINDOW_TOKENS)
        self._state = runtime.new_decoder_state()
        self._root = RootState()
        self._recent: Array | None = None  # features of the last two frames
        self._seam, self._last_seam = False, -MIN_SEAM_TOKENS
        self._felt = self._emotion_now()
        self._pending: StepInputs = self._prefix(SLOT_BEGIN, [])

    @property
    def prompt(self) -> PlannedPrompt:
        """What is being performed, and with which experts."""
        return self._prompt

    def set_prompt(self, text: str) -> None:
        """Goes on with another prompt, or newer experts, from the next token; the same ones again change nothing."""
        plan = self._runtime.plan(text)
        if (text, plan.scenarios) != (self._prompt.text, self._prompt.scenarios):
            self._prompt = plan
            self._change()

    def set_emotion(self, emotion: EmotionCurve | None) -> None:
        """Replaces the emotion curve from the next token; its times count from now. None leaves it to the text."""
        inferred_before = self._emotion is None
        self._emotion, self._emotion_start = emotion, self._count
        if inferred_before != (emotion is None):
            self._change()  # else the next token sees whether the vector moved far enough

    def next_block(self) -> PoseBlock:
        """Draws one token and decodes its four frames."""
        if self._emotion_moved():
            self._change()
        count = SEAM_CANDIDATES if self._seam else 1
        candidates = self._runtime.step(
            self._prompt,
            self._pending,
            self._cache,
            self._random.random((count, self._runtime.manifest.groups), dtype=np.float32),
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
        )
        features, states = self._runtime.decode(candidates[:, None], np.repeat(self._state, count, axis=0))
        best = 0 if self._recent is None else int(np.argmin(seam_cost(self._recent, features)))
        codes, frames, self._state = candidates[best], features[best], states[best : best + 1]
        first = self._count * FRAMES_PER_TOKEN
        self._tokens.append(codes)
        self._count += 1
        self._recent, self._seam = frames[-2:], False
        if self._cache.room:
            self._pending = self._inputs(np.array([SLOT_TOKEN]), [codes], self._cache.length)
        else:
            self._anchor(KEPT_TOKENS)
        headings = self._root.yaw + np.cumsum(frames[:, YAW_RATE].ravel(), dtype=np.float64) / FRAME_RATE_HZ
        rotations, positions, contacts = features_to_pose(frames, self._root)
        return PoseBlock(first, rotations, positions, contacts, headings)

    def _emotion_moved(self) -> bool:
        if self._count - self._last_seam < MIN_SEAM_TOKENS:
            return False
        return bool(np.abs(self._emotion_now() - self._felt).sum() > EMOTION_STEP)

    def _change(self) -> None:
        """The prompt or the emotion is another one from the next token."""
        self._felt, self._last_seam = self._emotion_now(), self._count
        self._seam = self._count > 0
        self._anchor(0)

    def _anchor(self, kept: int) -> None:
        """Starts a fresh window from the last tokens; before the first token there is nothing to resume."""
        self._cache.clear()
        recent = list(self._tokens)[-kept:] if kept else []
        self._pending = self._prefix(SLOT_RESUME if self._count else SLOT_BEGIN, recent)

    def _prefix(self, opening: int, recent: list[Array]) -> StepInputs:
        slots = np.array([*range(PROMPT_SLOTS), opening, *[SLOT_TOKEN] * len(recent)])
        blank = np.zeros(self._runtime.manifest.groups, dtype=np.int64)
        return self._inputs(slots, [blank] * (PROMPT_SLOTS + 1) + recent, 0)

    def _inputs(self, slots: Array, codes: list[Array], position: int) -> StepInputs:
        """Inputs of S positions that lead up to the next token; all of them carry that token's emotion."""
        count = len(slots)
        row = self._emotion_now()
        return StepInputs(
            slots=slots.astype(np.int64),
            codes=np.stack(codes).astype(np.int64),
            emotion=np.tile(row, (count, 1)),
            inferred=np.full(count, float(self._emotion is None), dtype=np.float32),
            left=self._left(count, has_prefix=position == 0),
            positions=np.arange(position, position + count, dtype=np.int64),
        )

    def _emotion_now(self) -> Array:
        """(E,) emotion vector of the next token; what the text suggests when the emotion is left to it."""
        if self._emotion is None:
            return self._prompt.plan.emotion
        now: Array = self._emotion.sample([(self._count - self._emotion_start) * _SECONDS_PER_TOKEN])[0]
        return now

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
