"""Fixed retrieval pools: the same items compete with the same others, whatever model is judged.

Pools drawn inside one scenario hold harder negatives than mixed ones, and many clips share a caption; so figures are
comparable only on the same pools, beside real motion on the same pools and beside chance (method: spec C4, C6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from animoe.errors import InvalidRequest
from animoe.rig.rotations import Array

POOL_SIZE = 32
PARTITIONS = 20


@dataclass(frozen=True, eq=False)
class Pools:
    """Who competes with whom.

    Attributes:
        members: (P, n, S) item indices; row [p, i] is the pool of item i in partition p, item i itself first.
    """

    members: Array

    @property
    def size(self) -> int:
        """S: motions in a pool; state it beside every R-Precision."""
        return int(self.members.shape[2])


def fixed_pools(count: int, *, size: int = POOL_SIZE, partitions: int = PARTITIONS, seed: int = 0) -> Pools:
    """Random partitions of `count` items into pools of `size`, or of `count` when there are fewer.

    The last pool of a partition is filled up with items of the others, so that every item is a query in every
    partition (the official code drops the rest).

    Raises:
        InvalidRequest: no items, or a pool of less than one.
    """
    if count < 1 or size < 1 or partitions < 1:
        raise InvalidRequest(f"pools need items, a size and partitions of 1 or more, got {count}, {size}, {partitions}")
    size = min(size, count)
    rng = np.random.default_rng((seed, count, size))
    return Pools(np.stack([_partition(count, size, rng) for _ in range(partitions)]))


def _partition(count: int, size: int, rng: np.random.Generator) -> Array:
    """(count, size) pool of every item, itself first."""
    order = rng.permutation(count)
    members = np.empty((count, size), dtype=np.int64)
    for first in range(0, count, size):
        queries = order[first : first + size]
        others = rng.permutation(np.setdiff1d(order, queries))[: size - len(queries)]
        pool = np.concatenate([queries, others])
        for place, item in enumerate(queries):
            members[item] = np.roll(pool, -place)
    return members


def caption_matches(queries: Sequence[str], texts: Sequence[Sequence[str]], groups: Sequence[object]) -> Array:
    """(n, n) bool: whether motion j is a right answer to the caption asked for motion i.

    Args:
        queries: the caption used for each item.
        texts: all captions of each item's motion.
        groups: what the captions were written from (content, style, emotion, side); equal groups match.

    Raises:
        InvalidRequest: the lists differ in length.
    """
    if not len(queries) == len(texts) == len(groups):
        raise InvalidRequest(
            f"{len(queries)} captions, {len(texts)} text lists and {len(groups)} groups do not pair up"
        )
    number: dict[object, int] = {}
    ids = np.array([number.setdefault(group, len(number)) for group in groups])
    said: dict[str, list[int]] = {}
    for item, captions in enumerate(texts):
        for caption in captions:
            said.setdefault(caption, []).append(item)
    matches: Array = ids[:, None] == ids[None]
    for item, query in enumerate(queries):
        matches[item, said.get(query, [])] = True
    np.fill_diagonal(matches, True)
    return matches
