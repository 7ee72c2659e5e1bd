"""The models of a bundle in ONNX Runtime: token by token generation and streaming decoding. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animoe.bundle.manifest import Manifest, read_manifest
from animoe.engine.onnx_session import open_session
from animoe.engine.prompt_encoder import PromptEncoder
from animoe.rig.rotations import Array


@dataclass(frozen=True, eq=False)
class StepInputs:
    """New positions of one character. Arrays as in `models.motion_lm.LMInputs`, without the batch axis.

    slots, left, positions (S,) int64; codes (S, G) int64; emotion (S, E), inferred (S,) float32.
    """

    slots: Array
    codes: Array
    emotion: Array
    inferred: Array
    left: Array
    positions: Array


class KeyValueCache:
    """Keys and values of one character, in one buffer that never moves while it is filled."""

    def __init__(self, shape: tuple[int, int, int], capacity: int) -> None:
        layers, heads, dim = shape
        self._buffer = np.zeros((1, layers, 2, capacity, heads, dim), dtype=np.float32)
        self.length = 0

    @property
    def room(self) -> int:
        """Positions that still fit."""
        return self._buffer.shape[3] - self.length

    def filled(self) -> tuple[Array, Array]:
        """Cache (1, L, 2, P, H, D) and mask (1, P); P >= 1, so an empty cache is one masked position."""
        count = max(self.length, 1)
        mask = np.full((1, count), float(self.length > 0), dtype=np.float32)
        return self._buffer[:, :, :, :count], mask

    def append(self, present: Array) -> None:
        """Adds (1, L, 2, S, H, D)."""
        count = present.shape[3]
        self._buffer[:, :, :, self.length : self.length + count] = present
        self.length += count

    def clear(self) -> None:
        self.length = 0


class Runtime:
    """Opened models of one bundle; stateless, so any number of characters share it."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.manifest: Manifest = read_manifest(folder)
        self.prompts = PromptEncoder(folder, threads=threads)
        self._step = open_session(folder / "motion_lm_step.onnx", threads=threads)
        self._decoder = open_session(folder / "decoder.onnx", threads=threads)

    def new_cache(self, capacity: int) -> KeyValueCache:
        return KeyValueCache(self.manifest.cache, capacity)

    def new_decoder_state(self) -> Array:
        """(1, rows, width) zeros: the state before a stream's first token."""
        return np.zeros((1, *self.manifest.decoder_state), dtype=np.float32)

    def step(
        self,
        sentence: Array,
        inputs: StepInputs,
        cache: KeyValueCache,
        uniforms: Array,
        *,
        temperature: float,
        top_p: float,
    ) -> Array:
        """Feeds S positions of one character, extends its cache and draws C candidates for the next token.

        Args:
            sentence: (384,) float32. uniforms: (C, G) float32 in [0, 1), one per code.

        Returns:
            codes (C, G) int64.
        """
        past, past_mask = cache.filled()
        feeds = {
            "sentence": sentence[None],
            "slots": inputs.slots[None],
            "codes": inputs.codes[None],
            "emotion": inputs.emotion[None],
            "inferred": inputs.inferred[None],
            "left": inputs.left[None],
            "positions": inputs.positions[None],
            "past": past,
            "past_mask": past_mask,
            "temperature": np.array([temperature], dtype=np.float32),
            "top_p": np.array([top_p], dtype=np.float32),
        }
        if len(uniforms) > 1:
            feeds = {name: np.repeat(value, len(uniforms), axis=0) for name, value in feeds.items()}
        codes, present = self._step.run(["next_codes", "present"], feeds | {"uniform": uniforms})
        cache.append(np.asarray(present)[:1])  # the same for every candidate
        drawn: Array = np.asarray(codes)
        return drawn

    def decode(self, codes: Array, states: Array) -> tuple[Array, Array]:
        """Codes (C, N, G) and states (C, rows, width) -> features (C, 4N, 140) and the next states."""
        features, following = self._decoder.run(["features", "next_state"], {"codes": codes, "state": states})
        return np.asarray(features), np.asarray(following)
