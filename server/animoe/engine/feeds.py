"""Inputs of the exported decode step for a batch of characters, and where its new keys and values go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animoe.engine.batch import Row, given_inputs
from animoe.engine.cache import Cohort, past_feeds
from animoe.engine.conditions import Conditions
from animoe.engine.experts import ExpertPool
from animoe.rig.rotations import Array

_FEWEST_ROWS = 2
"""Matrix products with one row take another kernel, which rounds differently: a lone row gets company."""


class FeedBuilder:
    """Makes the inputs of steps, in buffers that it makes once.

    Args:
        conditions: of the generator. cache: (layers, heads, head_dim).
    """

    def __init__(self, conditions: Conditions, cache: tuple[int, int, int]) -> None:
        self._conditions = conditions
        self._width = conditions.inferred.shape[0]
        empty = Cohort(cache, 1, 1)
        self._no_past = past_feeds(empty, 1) | {"active": np.zeros(1, dtype=np.int64)}
        self._buffers: dict[str, Array] = {}

    def build(self, batch: Sequence[Row], experts: ExpertPool, places: int) -> dict[str, Array]:
        """Inputs for rows with equally many new positions: all of them fresh windows, or all of one cohort.

        Args:
            places: how many of the cohort's places are in use.
        """
        rows = [*batch, *[batch[0]] * (_FEWEST_ROWS - len(batch))]
        count, new = len(rows), len(batch[0].inputs.slots)
        inputs = [row.inputs for row in rows]
        candidates = [len(row.inputs.uniforms) for row in batch]
        candidates += [1] * (count - len(batch))  # of company: drawn, and dropped
        owners = np.repeat(np.arange(count), candidates)
        feeds = {
            "given": self._given(rows, count, new),
            "slots": np.stack([i.slots for i in inputs]),
            "codes": np.stack([i.codes for i in inputs]),
            "left": np.stack([i.left for i in inputs]),
            "positions": np.stack([i.positions for i in inputs]),
            "draws": owners,
            "uniform": np.concatenate([i.uniforms[:n] for i, n in zip(inputs, candidates, strict=True)]),
            "temperature": np.array([rows[i].sampling.temperature for i in owners], dtype=np.float32),
            "top_p": np.array([rows[i].sampling.top_p for i in owners], dtype=np.float32),
            "shares": np.stack([experts.shares(row.prompt.weights) for row in rows]),
        }
        if inputs[0].positions[0] == 0:
            return feeds | self._no_past | {"rows": np.zeros(count, dtype=np.int64)}
        cohort = batch[0].place.cohort
        own = np.array([row.place.row for row in rows])
        active = np.zeros(places, dtype=np.int64)
        active[own[: len(batch)]] = np.arange(len(batch))
        return feeds | past_feeds(cohort, places) | {"rows": own, "active": active}

    def _given(self, rows: Sequence[Row], count: int, new: int) -> Array:
        found = self._buffer("given", (count, new, self._width))
        for index, row in enumerate(rows):
            found[index] = given_inputs(row, self._conditions)
        return found

    def _buffer(self, name: str, shape: tuple[int, ...]) -> Array:
        size = int(np.prod(shape))
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = np.empty(size, dtype=np.float32)
        found: Array = buffer[:size].reshape(shape)
        return found


def store(batch: Sequence[Row], keys: Array, values: Array) -> None:
    """Puts fresh keys and values (L, B', H, S, D) into the caches of the batch."""
    cohorts: dict[Cohort, list[int]] = {}
    for index, row in enumerate(batch):
        cohorts.setdefault(row.place.cohort, []).append(index)
    for cohort, members in cohorts.items():
        put = cohort.fill if batch[0].inputs.positions[0] == 0 else cohort.append
        put(np.array([batch[index].place.row for index in members]), keys[:, members], values[:, members])
