"""One character: what it does next, one token (4 frames) at a time. The engine computes it, in batches.

The generator sees [prompt][begin][tokens so far]. When the window is full the sequence is re-anchored:
[prompt][resume][last few tokens], which is how crops from the middle of clips look in training.

When the prompt or the emotion changes, no token is carried over: with even half a second of context the generator goes
on as before, whatever the new prompt says (measured: a happy walk stayed at 1.44 m/s under "sad"; without context it is
at 0.6 m/s after half a second). The seam is made in pose space instead: of several first tokens the one is taken that
continues the present motion most smoothly, the decoder's own state carries the joints over, and what is still too rough
is faded (`inertia`).

Everything that changes from token to token is a `Moment`, so a character can go back to an earlier one. The generator's
cache does not go back with it: every control re-anchors, at the least, and so does going back. So a control has the
same effect to the last bit whether the character had already gone further or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from animoe.engine.draws import Draws
from animoe.engine.feeling import Feeling
from animoe.engine.inertia import Inertia, seam_cost
from animoe.engine.moment import MIN_SEAM_TOKENS, Moment
from animoe.engine.pace import Frames, Pace
from animoe.engine.prompt_queue import Act, Programme
from animoe.engine.prompts import PlannedPrompt
from animoe.engine.requests import Sampling
from animoe.models.sequence import LEFT_OPEN, MAX_LEFT, PROMPT_SLOTS, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN
from animoe.motion.emotion import EmotionCurve
from animoe.motion.features import RootState
from animoe.motion.pose_block import PoseBlock
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.rotations import Array

WINDOW_TOKENS = 40
KEPT_TOKENS = 12
"""Tokens carried over when the window is full (1.6 s)."""
WINDOW = PROMPT_SLOTS + 1 + WINDOW_TOKENS
"""Positions of a full window."""
SEAM_CANDIDATES = 8
"""Measured on 298 seams: the best of 8 costs 2.4e-4 (`seam_cost`), of 16 2.3e-4, of 1 3.0e-4; motion in flow 2.3e-4."""
_NEXT_SLOT: Array = np.array([SLOT_TOKEN])
_LEFT_OPEN: Array = np.full(WINDOW, LEFT_OPEN, dtype=np.int64)
_POSITIONS: Array = np.arange(WINDOW)
EMOTION_STEP = 0.25
"""How far the emotion moves (sum of absolute changes) before it is a change; less only tints what is going on."""


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
    """Says what it needs for its next token (`next_inputs`), takes it in (`take`) and poses it. Not thread-safe.

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
        self._groups, self._total = groups, total_tokens
        self._draws = Draws(sampling.seed, SEAM_CANDIDATES, groups)
        self._now = Moment(prompt, Feeling(emotion), state)
        self._now.felt = self._now.emotion()

    @property
    def prompt(self) -> PlannedPrompt:
        """What is being performed, and with which experts."""
        return self._now.prompt

    @property
    def state(self) -> Array:
        """(rows, width) of the decoder."""
        return self._now.state

    @property
    def root(self) -> RootState:
        """Where the body stands, on its own: not to be changed."""
        return self._now.root

    @property
    def token(self) -> int:
        """Number of the next token."""
        return self._now.token

    @property
    def first_frame(self) -> int:
        """Of the next block, on the character's own time line."""
        return self._now.frame

    def moment(self) -> Moment:
        """To go back to."""
        return self._now.copy()

    def go_back(self, moment: Moment) -> None:
        """Forgets everything since; the moment can be gone back to again."""
        self._now = moment.copy()
        self.reopen()

    def reopen(self) -> None:
        """The next token opens a window: with the last tokens, unless one without them is due anyway."""
        if self._now.length:
            self._anchor(KEPT_TOKENS)

    def set_prompt(self, prompt: PlannedPrompt) -> None:
        """Goes on with another prompt, or newer experts, from the next token; ends the programme.

        The same ones again change nothing.
        """
        if self._now.programme is not None or self._now.act is not None:
            self.reopen()
            self._now.programme = None
        self._perform(prompt, None)

    def set_programme(self, acts: tuple[Act, ...], idle: PlannedPrompt) -> None:
        """Performs acts one after another from the next token, then the idle prompt without end."""
        self.reopen()
        self._now.programme = Programme(self._now.frame, acts, idle)
        self._advance()

    def set_emotion(self, emotion: EmotionCurve | None, transition_s: float = 0.0) -> None:
        """Replaces the emotion curve from the next token; its times count from now. None leaves it to the text.

        Args:
            transition_s: the way from what is felt now to the curve.
        """
        self.reopen()
        now, inferred_before = self._now, self._now.inferred
        before = (now.act or now.feeling).at(now.frame, now.prompt.plan.emotion) if transition_s else None
        now.feeling, now.act = Feeling(emotion, now.frame, before, transition_s), None
        if inferred_before != now.inferred:
            self._change()  # else the next token sees whether the vector moved far enough

    def set_intensity(self, scale: float) -> None:
        """Makes emotions weaker or stronger from the next token."""
        self.reopen()
        self._now.intensity = scale

    def set_pace(self, ratio: float) -> None:
        """Runs at another ratio of the motion's own speed from the next frame."""
        self.reopen()
        self._now.pace = self._now.pace.towards(ratio) if self._now.token else Pace(ratio, ratio)

    def next_inputs(self) -> StepInputs:
        """What the generator must see for the next token. To be followed by `take`, unless the step fails."""
        self._advance()
        now = self._now
        emotion = now.emotion()
        if self._moved(emotion):
            self._change()
        elif now.asked:
            self._anchor(KEPT_TOKENS)  # that step failed: what the cache holds is not known
        now.asked = True
        slots, codes = self._window() if not now.length else (_NEXT_SLOT, now.tokens[-1][None])
        first, count = now.length, len(slots)
        now.length += count
        return StepInputs(
            slots=slots,
            codes=codes,
            left=self._left(count, has_prefix=first == 0),
            positions=_POSITIONS[first : first + count],
            emotion=emotion,
            inferred=now.inferred,
            uniforms=self._draws.of(now.token, SEAM_CANDIDATES if now.seam else 1),
        )

    def take(self, codes: Array, features: Array, states: Sequence[Array]) -> Array:
        """Chooses among C drawn tokens the one that continues the motion best.

        Args:
            codes: (C, G). features: (C, 4, 140) and states: C of (rows, width), of the decoder after each.

        Returns:
            (4, 140) features of the chosen one, with what is left of the motion before a seam.
        """
        now, best = self._now, 0
        if now.seam and now.recent is not None:
            costs = seam_cost(now.recent, features)
            best = int(np.argmin(costs))
            now.inertia = Inertia.at_seam(now.recent, float(costs[best]))
        now.tokens = (*now.tokens[-KEPT_TOKENS + 1 :], codes[best].copy())
        now.state = states[best]
        chosen: Array = features[best]
        if now.inertia is not None:
            chosen, now.inertia = now.inertia.applied(chosen)
        now.recent, now.seam, now.asked = chosen[-2:].copy(), False, False
        now.token += 1
        if now.length == WINDOW:
            self._anchor(KEPT_TOKENS)
        return chosen

    def pose(self, frames: Frames, root: RootState) -> PoseBlock:
        """The block that follows, of the frames of a token taken, at the character's pace.

        Args:
            root: where the body stands after these frames.
        """
        now = self._now
        (rotations, positions, contacts, headings), pace = now.pace.read(frames, now.last)
        block = PoseBlock(now.frame, rotations, positions, contacts, headings)
        rotations, positions, contacts, headings = frames
        now.last = rotations[-1:].copy(), positions[-1:].copy(), contacts[-1:].copy(), headings[-1:].copy()
        now.root, now.pace = root, pace
        now.frame += block.frame_count
        return block

    def _advance(self) -> None:
        """Takes up the next act of the programme when the present one is over, to the nearest token."""
        now = self._now
        half_block = FRAMES_PER_TOKEN / 2 / now.pace.ratio
        if now.programme is not None and now.frame + half_block > now.programme.ends_frame:
            act, now.programme = now.programme.following()
            self._perform(act.prompt, None if act.emotion is None else Feeling(act.emotion, now.frame))

    def _perform(self, prompt: PlannedPrompt, act: Feeling | None) -> None:
        now = self._now
        before = now.prompt.text, now.prompt.scenarios, now.inferred
        now.act = act
        if (prompt.text, prompt.scenarios) != before[:2]:
            now.prompt = prompt
        if (now.prompt.text, now.prompt.scenarios, now.inferred) != before:
            self._change()

    def _moved(self, emotion: Array) -> bool:
        """Whether the emotion is so far from the one of the last seam that it needs another."""
        now = self._now
        if now.token - now.last_seam < MIN_SEAM_TOKENS or emotion is now.felt:
            return False
        return bool(np.abs(emotion - now.felt).sum() > EMOTION_STEP)

    def _change(self) -> None:
        """The prompt or the emotion is another one from the next token."""
        now = self._now
        now.felt, now.last_seam = now.emotion(), now.token
        now.seam = now.token > 0
        self._anchor(0)

    def _anchor(self, kept: int) -> None:
        """Starts a fresh window from the last tokens; before the first token there is nothing to resume."""
        self._now.length, self._now.kept = 0, min(kept, len(self._now.tokens))

    def _window(self) -> tuple[Array, Array]:
        """Slots (S,) and codes (S, G) of a fresh window."""
        now = self._now
        opening = SLOT_RESUME if now.token else SLOT_BEGIN
        recent = now.tokens[-now.kept :] if now.kept else ()
        slots = np.array([*range(PROMPT_SLOTS), opening, *[SLOT_TOKEN] * len(recent)])
        return slots, np.stack([*[np.zeros(self._groups, dtype=np.int64)] * (PROMPT_SLOTS + 1), *recent])

    def _left(self, count: int, *, has_prefix: bool) -> Array:
        """Tokens still to come after each position, counted as in training: the last position has the most recent."""
        if self._total is None:
            return _LEFT_OPEN[:count]
        remaining = max(self._total - self._now.token, 0)
        left = remaining + np.arange(count - 1, -1, -1)
        if has_prefix:
            left[:PROMPT_SLOTS] = left[PROMPT_SLOTS]
        return np.minimum(left, MAX_LEFT).astype(np.int64)
