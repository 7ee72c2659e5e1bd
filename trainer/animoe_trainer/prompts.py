"""Prompts as the trainer needs them: vectors of every text, once, and of its twin with emotion words hidden.

Hiding (A7-5 of our notes) keeps the emotion head from being a bag of words: with "sadly" masked it has to look at the
manner ("head lowered, slow dragging steps") and at the dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from animoe.engine.prompt_encoder import EncodedPrompt
from animoe.errors import BundleError
from animoe.rig.rotations import Array

MAX_WORDS = 40
BLANK = 0
"""Row of the table that stands for "no text"."""
_STEMS = (
    r"happ\w*|joy\w*|cheer\w*|merr(?:y|ily)|delight\w*|glee\w*|glad\w*|sad\w*|sorrow\w*|gloom\w*|deject\w*|depress\w*|"
    r"unhapp\w*|melanchol\w*|griev\w*|ang(?:er|ry|rily)\w*|furious\w*|irritat\w*|rag(?:e|ing)|fuming|mad|annoyed|"
    r"proud\w*|pride\w*|haught\w*|superior\w*|arrogan\w*|fear\w*|scared|afraid|timid\w*|nervous\w*|insecure\w*|shy\w*|"
    r"anxious\w*|frighten\w*|tired\w*|exhaust\w*|wear(?:y|ily)|fatigu\w*|sleepy|excite\w*|energ\w*|lively|eager\w*|"
    r"vigorous\w*|enthusias\w*|temper|mood|spirits"
)
_EMOTION_WORDS = re.compile(rf"\b(?:{_STEMS})\b", re.IGNORECASE)


def hide_emotion(text: str) -> str:
    """The text with every word that names an emotion replaced by the encoder's mask."""
    return _EMOTION_WORDS.sub("[MASK]", text)


class WordEncoder(Protocol):
    """Gives the vectors of a prompt: a `PromptEncoder`, or vectors that were kept."""

    def encode_words(self, text: str) -> EncodedPrompt:
        """Sentence and word vectors."""
        ...


class PromptTable:
    """Vectors of N texts and of their hidden twins, as tensors that live on one device.

    Attributes:
        sentences: (R, 384) float32, words (R, MAX_WORDS, 384) float16, mask (R, MAX_WORDS) float32; row BLANK is empty.
    """

    def __init__(self, texts: Iterable[str], encoder: WordEncoder, *, device: str = "cpu") -> None:
        unique = sorted(set(texts))
        twins = [hide_emotion(text) for text in unique]
        rows = list(dict.fromkeys([*unique, *twins]))
        index = {text: row for row, text in enumerate(rows, start=1)}
        self.ids = {text: index[text] for text in unique}
        self._hidden = np.zeros(len(rows) + 1, dtype=np.int64)
        for text, twin in zip(unique, twins, strict=True):
            self._hidden[index[text]] = index[twin]
        sentences, words, mask = _encode_all(rows, encoder)
        self.sentences, self.words, self.mask = (
            torch.from_numpy(a).to(device, non_blocking=True) for a in (sentences, words, mask)
        )

    def hidden(self, row: int) -> int:
        """Row of a text's twin with its emotion words hidden (itself when it has none)."""
        return int(self._hidden[row])

    def vectors(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sentences (B, D), words (B, T, D) and mask (B, T) of rows (B,), cut to the longest."""
        rows = rows.to(self.sentences.device)
        mask = self.mask[rows]
        longest = max(1, int(mask.sum(1).max()))
        return self.sentences[rows], self.words[rows, :longest].float(), mask[:, :longest]


def _encode_all(texts: Sequence[str], encoder: WordEncoder) -> tuple[Array, Array, Array]:
    """Sentences, words and mask of all rows; row BLANK says nothing (one word of zeros)."""
    found = [encoder.encode_words(text) for text in tqdm(texts, desc="embedding texts", leave=False)]
    width = len(found[0].sentence) if found else 1
    sentences = np.zeros((len(texts) + 1, width), dtype=np.float32)
    words = np.zeros((len(texts) + 1, MAX_WORDS, width), dtype=np.float16)
    mask = np.zeros((len(texts) + 1, MAX_WORDS), dtype=np.float32)
    mask[BLANK, 0] = 1.0
    for row, prompt in enumerate(found, start=1):
        if prompt.words is None:
            raise BundleError("this prompt encoder gives no word vectors; export it again with `animoe-train base`")
        part = prompt.words[:MAX_WORDS]
        sentences[row], words[row, : len(part)], mask[row, : len(part)] = prompt.sentence, part, 1.0
    return sentences, words, mask
