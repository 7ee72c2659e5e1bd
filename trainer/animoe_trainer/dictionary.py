"""Rows of CGED's dictionary: K-means centroids of prompt vectors, emotion by emotion (A7-6 of our notes).

Only the scenario at hand is looked at: a dictionary of all scenarios would leak the future, and one that is clustered
again would rewrite the past. Old rows stay; each scenario appends its own.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array
from animoe_trainer.sequences import TokenCorpus

RESTARTS, ROUNDS = 10, 30


def emotion_rows(tokens: TokenCorpus, per_emotion: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows (K, D) of mean word vectors and their emotions (K,), at most `per_emotion` for each emotion that occurs."""
    table = tokens.prompts
    rng = np.random.default_rng(seed)
    rows: list[Array] = []
    classes: list[int] = []
    for index, emotion in enumerate(EMOTIONS):
        texts = sorted({text for item in tokens.items if item.emotion == emotion for text in item.texts})
        if texts and per_emotion:
            _, words, mask = table.vectors(torch.tensor([table.ids[text] for text in texts]))
            means = ((words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).cpu().numpy()
            centres = k_means(means, per_emotion, rng)
            rows.append(centres)
            classes += [index] * len(centres)
    joined = np.concatenate([*rows, np.zeros((0, table.words.shape[-1]))]).astype(np.float32)
    return torch.from_numpy(joined), torch.tensor(classes, dtype=torch.long)


def k_means(points: Array, count: int, rng: np.random.Generator) -> Array:
    """(K, D) centres of points (N, D): Lloyd's rounds from k-means++ seeds (Arthur, Vassilvitskii 2007), best of 10."""
    points = np.unique(points, axis=0)
    if len(points) <= count:
        return points
    best, lowest = points[:count], np.inf
    for _ in range(RESTARTS):
        centres, cost = _one_run(points, count, rng)
        if cost < lowest:
            best, lowest = centres, cost
    return best


def _one_run(points: Array, count: int, rng: np.random.Generator) -> tuple[Array, float]:
    centres = points[rng.integers(len(points))][None]
    while len(centres) < count:
        nearest = _distances(points, centres).min(axis=1)
        total = nearest.sum()
        pick = rng.choice(len(points), p=nearest / total) if total > 0 else rng.integers(len(points))
        centres = np.concatenate([centres, points[pick][None]])
    for _ in range(ROUNDS):
        owner = _distances(points, centres).argmin(axis=1)
        moved = np.stack([points[owner == k].mean(axis=0) if (owner == k).any() else centres[k] for k in range(count)])
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres, float(_distances(points, centres).min(axis=1).sum())


def _distances(points: Array, centres: Array) -> Array:
    """(N, K) squared distances."""
    square: Array = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
    return np.maximum(square, 0.0)
