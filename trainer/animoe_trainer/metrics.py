"""Figures of generated motion from embeddings and class probabilities (spec C2, C3, C6). numpy only; no item is drawn.

Distances are Euclidean in the evaluator's space. A Fréchet distance depends on the number of motions: compare equal
numbers only, beside `fid_floor`, the distance between two halves of the real motions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from animoe.errors import InvalidRequest, ShapeError
from animoe.rig.rotations import Array
from animoe_trainer.pools import Pools

COMPONENTS = 32
TOP_K = (1, 2, 3)


def fid(real: Array, generated: Array) -> float:
    """Fréchet distance of two sets of embeddings (n, D), (m, D), in the exact thin form.

    ||mu_x - mu_y||^2 + ||X||_F^2 + ||Y||_F^2 - 2 ||X Y^T||_*, X and Y centred and divided by sqrt(n - 1): equal to the
    usual trace of a matrix root, without the root of a singular D x D product.

    Raises:
        ShapeError: fewer than two motions in a set, or another number of dimensions.
    """
    _check_sets(real, generated)
    shift = real.mean(axis=0, dtype=np.float64) - generated.mean(axis=0, dtype=np.float64)
    x, y = _thin(real), _thin(generated)
    # Through the smaller side: n x m when there are few motions, D x D when there are many.
    small = x @ y.T
    if len(x) * len(y) > x.shape[1] ** 2:
        small = _triangle(x) @ _triangle(y).T
    nuclear = np.linalg.svd(small, compute_uv=False).sum()
    return float(max(0.0, shift @ shift + (x**2).sum() + (y**2).sum() - 2 * nuclear))


def _triangle(x: Array) -> Array:
    """R of x = Q R: the same singular values against anything, in at most D rows."""
    found: Array = np.asarray(np.linalg.qr(x, mode="r"))
    return found


def _thin(embeddings: Array) -> Array:
    wide = embeddings.astype(np.float64)
    centred: Array = (wide - wide.mean(axis=0)) / np.sqrt(len(wide) - 1)
    return centred


def _check_sets(real: Array, generated: Array) -> None:
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ShapeError(f"two sets of embeddings (n, D) are needed, got {real.shape} and {generated.shape}")
    if min(len(real), len(generated)) < 2:
        raise ShapeError(f"a Fréchet distance needs 2 motions per side, got {len(real)} and {len(generated)}")


def fid_floor(real: Array, count: int, *, draws: int = 20, seed: int = 0) -> float:
    """Mean Fréchet distance between two disjoint parts of the real motions of `count` each, or of half of them."""
    count = min(count, len(real) // 2)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(real)) for _ in range(draws)]
    return float(np.mean([fid(real[o[:count]], real[o[count : 2 * count]]) for o in orders]))


def principal_components(reference: Array, count: int = COMPONENTS) -> Array:
    """(D, C) orthonormal directions of largest variance of real training embeddings; `x @ found` projects."""
    _, _, rows = np.linalg.svd(_thin(reference), full_matrices=False)
    found: Array = rows[:count].T
    return found


def kid(real: Array, generated: Array) -> float:
    """Unbiased squared maximum mean discrepancy, kernel (x y / D + 1)^3 on embeddings scaled to unit mean square."""
    _check_sets(real, generated)
    scale = np.sqrt((real.astype(np.float64) ** 2).mean())
    x, y = real / scale, generated / scale

    def kernel(a: Array, b: Array) -> Array:
        cube: Array = (a @ b.T / a.shape[1] + 1) ** 3
        return cube

    def off_diagonal(k: Array) -> float:
        return float((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)))

    return off_diagonal(kernel(x, x)) + off_diagonal(kernel(y, y)) - 2 * float(kernel(x, y).mean())


def retrieval_hits(texts: Array, motions: Array, matches: Array, pools: Pools) -> Array:
    """(n, 3) share of the fixed pools in which a right motion is among the nearest 1, 2, 3 to the item's caption.

    Args:
        texts, motions: (n, D) embeddings, paired.
        matches: (n, n) bool of `pools.caption_matches`; the item's own motion always counts.

    Raises:
        ShapeError: the sizes do not fit together.
    """
    count = len(texts)
    if motions.shape != texts.shape or matches.shape != (count, count) or pools.members.shape[1] != count:
        raise ShapeError(
            f"texts {texts.shape}, motions {motions.shape}, matches {matches.shape} and pools of "
            f"{pools.members.shape[1]} items do not fit together"
        )
    rows = np.arange(count)[None, :, None]
    distances = _distances(texts, motions)[rows, pools.members]
    right = matches[rows, pools.members].copy()
    right[..., 0] = True
    best = np.where(right, distances, np.inf).min(axis=-1, keepdims=True)
    # A wrong motion at the same distance comes first: a model that collapses to one point hits nothing.
    ahead = ((distances <= best) & ~right).sum(axis=-1)
    return np.stack([(ahead < k).mean(axis=0) for k in TOP_K], axis=-1)


def chance_hits(matches: Array, pools: Pools) -> float:
    """R-Precision@1 of a ranking by chance on the same pools: the share of right motions in them."""
    rows = np.arange(matches.shape[0])[None, :, None]
    right = matches[rows, pools.members].copy()
    right[..., 0] = True
    return float(right.mean())


def _distances(a: Array, b: Array) -> Array:
    a, b = a.astype(np.float64), b.astype(np.float64)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    found: Array = np.sqrt(np.maximum(squared, 0.0))
    return found


def multimodal_distances(texts: Array, motions: Array) -> Array:
    """(n,) distance of each motion to its caption; the mean is MM-Dist."""
    found: Array = np.linalg.norm(texts.astype(np.float64) - motions, axis=-1)
    return found


def diversity(embeddings: Array, *, pairs: int = 300, seed: int = 0) -> float:
    """Mean distance of `pairs` disjoint random pairs, or of fewer when motions are few; compare with real motion's."""
    if len(embeddings) < 2:
        raise ShapeError("diversity needs 2 motions or more")
    order = np.random.default_rng(seed).permutation(len(embeddings))
    half = min(pairs, len(order) // 2)
    a, b = embeddings[order[:half]], embeddings[order[half : 2 * half]]
    return float(np.linalg.norm(a.astype(np.float64) - b, axis=-1).mean())


def multimodality(samples: Array, *, pairs: int = 10, seed: int = 0) -> float:
    """Mean distance of disjoint pairs of samples (texts, samples, D) of the same text, averaged over texts.

    Raises:
        ShapeError: fewer than two samples of each text.
    """
    if samples.ndim != 3 or samples.shape[1] < 2:
        raise ShapeError(f"embeddings (texts, 2 or more samples, D) are needed, got {samples.shape}")
    rng = np.random.default_rng(seed)
    half = min(pairs, samples.shape[1] // 2)
    orders = np.stack([rng.permutation(samples.shape[1]) for _ in samples])
    rows = np.arange(len(samples))[:, None]
    a, b = samples[rows, orders[:, :half]], samples[rows, orders[:, half : 2 * half]]
    return float(np.linalg.norm(a.astype(np.float64) - b, axis=-1).mean())


def confusion(labels: Array, predictions: Array, classes: int) -> Array:
    """(classes, classes) counts, true class by row."""
    counts: Array = np.bincount(labels.ravel() * classes + predictions.ravel(), minlength=classes**2)
    return counts.reshape(classes, classes)


def emotion_scores(labels: Array, predictions: Array, classes: int) -> dict[str, float]:
    """Weighted F1, F1 averaged over the classes that occur among the labels, and accuracy.

    Raises:
        ShapeError: no labels, or not one prediction per label.
    """
    if labels.shape != predictions.shape or labels.size == 0:
        raise ShapeError(f"one prediction per label is needed, got {predictions.shape} for {labels.shape}")
    table = confusion(labels, predictions, classes).astype(np.float64)
    right, true, said = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    f1 = 2 * right / np.maximum(true + said, 1)
    return {
        "wf1": float((true / true.sum()) @ f1),
        "macro_f1": float(f1[true > 0].mean()),
        "accuracy": float(right.sum() / table.sum()),
    }


def majority_floor(labels: Array, classes: int) -> float:
    """Weighted F1 of always answering the most frequent label."""
    most = np.bincount(labels.ravel(), minlength=classes).argmax()
    return emotion_scores(labels, np.full_like(labels, most), classes)["wf1"]


def shuffled_control(labels: Array, predictions: Array, classes: int, *, draws: int = 200, seed: int = 0) -> float:
    """Mean weighted F1 when the labels are dealt out anew: what the predictions reach without listening to them."""
    rng = np.random.default_rng(seed)
    flat, said = labels.ravel(), predictions.ravel()
    return float(np.mean([emotion_scores(rng.permutation(flat), said, classes)["wf1"] for _ in range(draws)]))


def cluster_draws(clusters: Array, draws: int, seed: int = 0) -> list[Array]:
    """Bootstrap samples of row indices; rows of one cluster (takes of one recording) are drawn together."""
    _, ids = np.unique(clusters, return_inverse=True)
    rows = [np.flatnonzero(ids == k) for k in range(ids.max() + 1)]
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(rows), size=(draws, len(rows)))
    return [np.concatenate([rows[k] for k in row]) for row in picks]


def interval(
    statistic: Callable[[Array], float],
    clusters: Array,
    *,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of row indices.

    For the interval of a difference on the same items let `statistic` subtract: both sides then see the same rows.

    Raises:
        InvalidRequest: no rows, or a confidence outside (0, 1).
    """
    if len(clusters) == 0 or not 0 < confidence < 1:
        raise InvalidRequest(f"an interval needs rows and a confidence in (0, 1), got {len(clusters)} and {confidence}")
    values = np.array([statistic(rows) for rows in cluster_draws(clusters, draws, seed)])
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
