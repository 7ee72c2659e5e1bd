"""Repetitions of an evaluation set: the same prompts with other noise, as rows that stand for themselves.

A few held-out clips say little when each is performed twice. Small sets are performed more often, so that every set is
judged on about as many motions: whether a model got worse *on these prompts* is then a question of noise alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from animoe.rig.rotations import Array
from animoe_trainer.scores import PER_ITEM, ScenarioScores

ROWS = 128
"""Motions that a set is judged on, about; at least 2 repetitions, and at least 1 when there are many sets."""
_FULL = 12
"""So many sets are judged on ROWS motions each; of more, each gets fewer."""
_MOST = 32


def repetitions(prompts: int, sets: int) -> int:
    """How often to perform a set of so many prompts when there are so many sets in all: every set, never none.

    Steps, not a slope: one more scenario seldom changes it, so that judgements can be kept.
    """
    halvings = max(0, int(np.ceil(np.log2(max(sets, 1) / _FULL))))
    return int(np.clip(round((ROWS >> halvings) / prompts), 1 if halvings else 2, _MOST))


def as_rows(once: Sequence[ScenarioScores]) -> ScenarioScores:
    """Scores of each repetition by itself -> one row per motion, the first repetition's rows first."""
    joined: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in once]) for name in PER_ITEM}
    return replace(once[0], items=sum((one.items for one in once), ()), **joined)


def as_items(rows: ScenarioScores, count: int) -> ScenarioScores:
    """What `as_rows` joined, with `count` repetitions of each item averaged as figures want them."""
    items = len(rows.items) // count
    every: dict[str, Any] = {name: _split(getattr(rows, name), count) for name in PER_ITEM}
    merged = {name: every[name][0] for name in ("clusters", "labels")}
    merged |= {name: every[name].mean(axis=0) for name in ("hits", "distances", "jerk")}
    merged |= {name: np.moveaxis(every[name][:, :, 0], 0, 1) for name in ("predictions", "referee", "embeddings")}
    merged["foot_slide"] = _known_mean(every["foot_slide"])
    return replace(rows, items=rows.items[:items], **merged)


def first_rows(rows: ScenarioScores, count: int, wanted: int) -> ScenarioScores:
    """The first `wanted` of `count` repetitions."""
    return rows.take(np.arange(len(rows.items) // count * wanted))


def _split(array: Array, count: int) -> Array:
    """(R n, ...) -> (R, n, ...)."""
    return array.reshape(count, len(array) // count, *array.shape[1:])


def _known_mean(values: Array) -> Array:
    """(R, n) -> (n,) mean of the finite values, NaN where there is none."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)
