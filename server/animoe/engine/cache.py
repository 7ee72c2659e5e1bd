"""Keys and values of many live characters as the ONNX step takes them.

A `Cohort` is one block of memory with room for a fixed number of characters; the step reads it where it lies. The
memory of a place is touched when its first character writes to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from animoe.rig.rotations import Array

FAR = np.float32(-1e9)
"""Mask of what may not be seen (`models.decode_step`)."""


class Cohort:
    """Caches of up to `size` characters.

    Args:
        shape: (layers, heads, head_dim) of the generator.
        size: characters. capacity: positions per character.

    Attributes:
        keys, values: (L, size, H, P, D). mask: (size, P), 0 where a cache holds something, else FAR.
        lengths: (size,) positions held.
    """

    def __init__(self, shape: tuple[int, int, int], size: int, capacity: int) -> None:
        layers, heads, dim = shape
        self.keys: Array = np.zeros((layers, size, heads, capacity, dim), dtype=np.float32)
        self.values: Array = np.zeros_like(self.keys)
        self.mask: Array = np.full((size, capacity), FAR, dtype=np.float32)
        self.lengths: Array = np.zeros(size, dtype=np.int64)

    @property
    def capacity(self) -> int:
        count: int = self.mask.shape[1]
        return count

    def fill(self, rows: Array, keys: Array, values: Array) -> None:
        """Starts the caches in `rows` (B,), all different, anew with S positions: (L, B, H, S, D)."""
        count = keys.shape[3]
        self.keys[:, rows, :, :count] = keys
        self.values[:, rows, :, :count] = values
        self.mask[rows] = FAR
        self.mask[rows, :count] = 0.0
        self.lengths[rows] = count

    def append(self, rows: Array, keys: Array, values: Array) -> None:
        """Adds one position to each: (L, B, H, 1, D). A full cache takes no more: its window ends with this token."""
        fits = self.lengths[rows] < self.capacity
        rows, keys, values = rows[fits], keys[:, fits][:, :, :, 0], values[:, fits][:, :, :, 0]
        places = self.lengths[rows]
        self.keys[:, rows, :, places] = keys.swapaxes(0, 1)
        self.values[:, rows, :, places] = values.swapaxes(0, 1)
        self.mask[rows, places] = 0.0
        self.lengths[rows] += 1


def past_feeds(cohort: Cohort, count: int) -> dict[str, Any]:
    """The first `count` caches as inputs of the step: views, nothing is copied."""
    found: dict[str, Any] = {"past_mask": cohort.mask[:count]}
    for layer in range(len(cohort.keys)):
        found[f"past_key_{layer}"] = cohort.keys[layer, :count]
        found[f"past_value_{layer}"] = cohort.values[layer, :count]
    return found
