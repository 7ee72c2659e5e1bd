"""Text -> sentence and word vectors with ONNX Runtime; the same file serves training and run time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from animoe.bundle.manifest import bundle_file
from animoe.engine.onnx_session import open_session
from animoe.errors import BundleError
from animoe.rig.rotations import Array

MAX_WORD_PIECES = 128


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """sentence (384,) float32 unit vector; words (T, 384) float32, None when the bundle has no CGED."""

    sentence: Array
    words: Array | None


_KEPT = 64
"""Texts whose vectors are remembered, about 20 kB each: few, since what is planned with them is remembered too."""


class PromptEncoder:
    """Vectors of prompts, cached by text."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self._session = open_session(bundle_file(folder, "prompt_encoder.onnx"), threads=threads)
        self._tokenizer = _open_tokenizer(bundle_file(folder, "prompt_tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_WORD_PIECES)
        self._tokenizer.no_padding()
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._cached = lru_cache(maxsize=_KEPT)(self._encode)

    def encode(self, text: str) -> Array:
        """(384,) float32 unit vector of one prompt."""
        return self.encode_words(text).sentence

    def encode_words(self, text: str) -> EncodedPrompt:
        """Sentence and word vectors of one prompt; capitals do not matter, [MASK] hides a word."""
        return self._cached(" ".join(text.lower().replace("[mask]", "[MASK]").split()))

    def encode_all(self, texts: Sequence[str]) -> Array:
        """(N, 384) float32 unit vectors."""
        return np.stack([self.encode(text) for text in texts])

    def _encode(self, text: str) -> EncodedPrompt:
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        found = {name: np.asarray(value)[0] for name, value in self._run(feeds).items()}
        for value in found.values():
            value.setflags(write=False)
        return EncodedPrompt(found["sentence"], found.get("words"))

    def _run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))


def _open_tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise BundleError(f"cannot open {path}: {error}; restore the bundle") from error
