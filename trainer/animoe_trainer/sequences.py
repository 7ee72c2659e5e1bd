"""Training sequences of the generator: which text, which emotion, which crop, and the codes to learn.

Emotion must be a control and not only a word. Two thirds of the acted clips are therefore shown with a *neutral*
description of the same content ("a person walks") and the emotion vector alone says how; the rest keep their own words,
with the vector or with the flag that leaves the emotion to the text. Clips of blended intensity always go with neutral
words and a vector of that length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from animoe.errors import InvalidRequest
from animoe.models.motion_lm import LMInputs
from animoe.models.sequence import LEFT_OPEN, MAX_LEFT, PROMPT_SLOTS, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN
from animoe.models.tokenizer import Tokenizer
from animoe.motion.emotion import EMOTIONS, EmotionKey
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.rotations import Array
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.prompts import BLANK, PromptTable
from animoe_trainer.tokenizer import tokenise_all

MIN_TOKENS = 2
UNSAID = -1
"""Value of `Batch.told` for prompts without a text."""


@dataclass(frozen=True)
class BatchConfig:
    """How batches are made.

    crop_tokens: longest crop (40 tokens = 5.3 s). acted_boost: how much likelier a clip with an acted emotion is drawn.
    corrupt: share of context tokens replaced by another clip's, so that sampling errors do not derail the model.
    hide_words: how often CGED sees a text with its emotion words hidden.
    """

    batch: int = 64
    crop_tokens: int = 40
    acted_boost: float = 6.0
    corrupt: float = 0.06
    from_start: float = 0.5
    open_end: float = 0.3
    drop_text: float = 0.1
    hide_words: float = 0.5


@dataclass
class Batch:
    """Inputs, targets (B, S, G) and the mask (B, S) of positions whose next token counts.

    Attributes:
        words, word_mask: (B, T, D) and (B, T) of the prompts, as CGED sees them.
        told: (B,) int64 index of the emotion that the text speaks of, UNSAID without a text.
    """

    inputs: LMInputs
    targets: torch.Tensor
    mask: torch.Tensor
    words: torch.Tensor
    word_mask: torch.Tensor
    told: torch.Tensor


class TokenCorpus:
    """Codes of items at all four frame offsets, and the prompts of their texts."""

    def __init__(self, corpus: Corpus, items: Sequence[Item], tokenizer: Tokenizer, prompts: PromptTable) -> None:
        kept = long_enough(items)
        if not kept:
            raise InvalidRequest("no clip of the packs is long enough to train on")
        # Every clip started at frame 0, 1, 2 and 3: four tokenisations of the same motion.
        offsets = range(FRAMES_PER_TOKEN)
        found = tokenise_all(tokenizer, [corpus.frames(item)[offset:] for item in kept for offset in offsets])
        codes = [found[i : i + FRAMES_PER_TOKEN] for i in range(0, len(found), FRAMES_PER_TOKEN)]
        self._set(kept, codes, prompts)

    def _set(self, items: Sequence[Item], codes: Sequence[list[Array]], prompts: PromptTable) -> None:
        self.items, self.codes, self.prompts = list(items), list(codes), prompts
        self.plain = _plain_texts(self.items)

    def only(self, items: Sequence[Item]) -> TokenCorpus:
        """The part of the corpus that holds `items`; those that are not in it are left out."""
        wanted = {(item.pack, item.line, item.mirrored) for item in items}
        picks = [i for i, item in enumerate(self.items) if (item.pack, item.line, item.mirrored) in wanted]
        if not picks:
            raise InvalidRequest("no clip of the scenario is long enough to train on")
        part = TokenCorpus.__new__(TokenCorpus)
        part._set([self.items[i] for i in picks], [self.codes[i] for i in picks], self.prompts)
        return part


def corpus_texts(items: Sequence[Item]) -> list[str]:
    """Every text of the items, sorted."""
    return sorted({text for item in items for text in item.texts})


def long_enough(items: Sequence[Item]) -> list[Item]:
    """Items that hold two tokens at any frame offset."""
    return [item for item in items if item.count >= FRAMES_PER_TOKEN * (MIN_TOKENS + 1)]


def _plain_texts(items: Sequence[Item]) -> dict[tuple[str, bool], list[str]]:
    """(content, mirrored) -> descriptions of that content performed neutrally in an ordinary style."""
    plain: dict[tuple[str, bool], list[str]] = {}
    for item in items:
        if item.emotion == "neutral" and item.style == "normal":
            plain.setdefault((item.content, item.mirrored), []).extend(item.texts)
    return plain


class BatchMaker:
    """Draws training sequences; the same step always gives the same batch."""

    def __init__(self, tokens: TokenCorpus, config: BatchConfig, seed: int) -> None:
        self.tokens, self.config, self.seed = tokens, config, seed
        totals: dict[str, int] = {}
        for item in tokens.items:
            totals[item.pack] = totals.get(item.pack, 0) + item.count
        boost = {True: config.acted_boost, False: 1.0}
        weights = [
            np.sqrt(item.count) * boost[item.emotion != "neutral"] / totals[item.pack] ** 0.4 for item in tokens.items
        ]
        self.weights = np.array(weights) / np.sum(weights)

    def batch(self, step: int, *, evaluate: bool = False) -> Batch:
        """The batch of a step, on the device of the prompts."""
        rng = np.random.default_rng((self.seed, step, int(evaluate)))
        picks = rng.choice(len(self.tokens.items), size=self.config.batch, p=self.weights)
        rows = [self._sequence(int(i), rng, evaluate) for i in picks]
        length = max(len(r["slots"]) for r in rows)
        single = ("row", "word_row", "told")
        arrays = {key: np.stack([_padded(r[key], length) for r in rows]) for key in rows[0] if key not in single}
        t = {key: torch.from_numpy(value) for key, value in arrays.items()}
        t |= {key: torch.tensor([r[key] for r in rows]) for key in single}
        prompts = self.tokens.prompts
        sentence = prompts.vectors(t["row"])[0]
        _, words, word_mask = prompts.vectors(t["word_row"])
        home = sentence.device
        t = {key: value.to(home, non_blocking=True) for key, value in t.items()}
        inputs = LMInputs(sentence, t["slots"], t["codes"], t["emotion"], t["inferred"], t["left"])
        return Batch(inputs, t["targets"], t["mask"], words, word_mask, t["told"])

    def _sequence(self, index: int, rng: np.random.Generator, evaluate: bool) -> dict[str, Any]:
        config, item = self.config, self.tokens.items[index]
        clip = self.tokens.codes[index][int(rng.integers(FRAMES_PER_TOKEN))]
        total = len(clip)
        start = 0 if rng.random() < config.from_start else int(rng.integers(max(1, total - MIN_TOKENS)))
        codes = clip[start : start + config.crop_tokens]
        row, told, emotion, inferred = self._condition(item, rng, evaluate)
        hide = not evaluate and rng.random() < config.hide_words
        count = len(codes)
        slots = np.array([*range(PROMPT_SLOTS), SLOT_BEGIN if start == 0 else SLOT_RESUME, *[SLOT_TOKEN] * (count - 1)])
        seen = np.zeros((len(slots), codes.shape[1]), dtype=np.int64)
        seen[PROMPT_SLOTS + 1 :] = codes[:-1]
        if not evaluate:
            self._corrupt(seen[PROMPT_SLOTS + 1 :], rng)
        targets = np.zeros_like(seen)
        targets[PROMPT_SLOTS:] = codes
        left = np.full(len(slots), LEFT_OPEN)
        if rng.random() >= config.open_end:
            left[PROMPT_SLOTS:] = np.minimum(total - start - np.arange(count), MAX_LEFT)
            left[:PROMPT_SLOTS] = left[PROMPT_SLOTS]
        return {
            "row": row,
            "word_row": self.tokens.prompts.hidden(row) if hide else row,
            "told": told,
            "slots": slots,
            "codes": seen,
            "targets": targets,
            "emotion": np.tile(emotion, (len(slots), 1)),
            "inferred": np.full(len(slots), inferred, dtype=np.float32),
            "left": left,
            "mask": np.arange(len(slots)) >= PROMPT_SLOTS,
        }

    def _condition(self, item: Item, rng: np.random.Generator, evaluate: bool) -> tuple[int, int, Array, float]:
        """Prompt row, emotion that the text tells, emotion vector and the flag "emotion left to the text"."""
        rows = self.tokens.prompts.ids
        row, told = rows[str(rng.choice(item.texts))], EMOTIONS.index(item.emotion)
        given = EmotionKey(0.0, {item.emotion: 1.0}, item.intensity).vector
        draw = rng.random()
        plain = self.tokens.plain.get((item.content, item.mirrored), [])
        if item.emotion != "neutral" and plain and (draw < 0.65 or item.intensity != 1.0):
            row, told, inferred = rows[str(rng.choice(plain))], EMOTIONS.index("neutral"), 0.0
        else:
            inferred = float(draw > 0.82) if item.emotion != "neutral" else float(draw > 0.7)
        if not evaluate and rng.random() < self.config.drop_text:
            row, told = BLANK, UNSAID
        return row, told, np.zeros_like(given) if inferred else given, inferred

    def _corrupt(self, seen: Array, rng: np.random.Generator) -> None:
        hit = np.flatnonzero(rng.random(len(seen)) < self.config.corrupt)
        for position in hit:
            other = self.tokens.codes[int(rng.integers(len(self.tokens.codes)))][0]
            seen[position] = other[int(rng.integers(len(other)))]


def _padded(row: Array, length: int) -> Array:
    return np.pad(row, [(0, length - len(row))] + [(0, 0)] * (row.ndim - 1))
