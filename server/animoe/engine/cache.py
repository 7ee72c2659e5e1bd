"""Keys and values of many live characters, in places made once.

A `Cohort` is one block of memory with room for a fixed number of characters; the decode step reads it where it lies. A
character holds one place for as long as it lives. Cohorts are made as characters come; the memory of a place is touched
when its first character writes to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
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
        lengths: (size,) positions held. members: characters that have a place here.
    """

    def __init__(self, shape: tuple[int, int, int], size: int, capacity: int) -> None:
        layers, heads, dim = shape
        self.keys: Array = np.zeros((layers, size, heads, capacity, dim), dtype=np.float32)
        self.values: Array = np.zeros_like(self.keys)
        self.mask: Array = np.full((size, capacity), FAR, dtype=np.float32)
        self.lengths: Array = np.zeros(size, dtype=np.int64)
        self.members = 0

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


@dataclass(frozen=True, eq=False)
class Place:
    """One character's place."""

    cohort: Cohort
    row: int


class Places:
    """Hands out places; safe to use from several threads.

    Args:
        shape, size, capacity: of each cohort.
    """

    def __init__(self, shape: tuple[int, int, int], size: int, capacity: int) -> None:
        self._make: Callable[[], Cohort] = lambda: Cohort(shape, size, capacity)
        self._size = size
        self._lock = threading.Lock()
        self._free: dict[Cohort, set[int]] = {}

    def take(self) -> Place:
        """The lowest free place of the oldest cohort that has one: what is in use stays together."""
        with self._lock:
            cohort = next((cohort for cohort, free in self._free.items() if free), None)
            if cohort is None:
                cohort = self._make()
                self._free[cohort] = set(range(self._size))
            row = min(self._free[cohort])
            self._free[cohort].remove(row)
            cohort.members += 1
        return Place(cohort, row)

    def give_back(self, place: Place) -> None:
        with self._lock:
            self._free[place.cohort].add(place.row)
            place.cohort.members -= 1

    def used(self, cohort: Cohort) -> int:
        """Places of a cohort up to the last one in use, at least 1."""
        with self._lock:
            free = self._free[cohort]
            return max((row for row in range(self._size) if row not in free), default=0) + 1

    def taken(self) -> int:
        """Places in use."""
        with self._lock:
            return sum(self._size - len(free) for free in self._free.values())


def past_feeds(cohort: Cohort, count: int) -> dict[str, Any]:
    """The first `count` caches as inputs of the step: views, nothing is copied."""
    found: dict[str, Any] = {"past_mask": cohort.mask[:count]}
    for layer in range(len(cohort.keys)):
        found[f"past_key_{layer}"] = cohort.keys[layer, :count]
        found[f"past_value_{layer}"] = cohort.values[layer, :count]
    return found
