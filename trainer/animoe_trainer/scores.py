"""Per-item scores of one scenario's evaluation set, and the figures that are made from them.

Everything is kept per item, so that every figure can be bootstrapped over items and compared in pairs. With several
repetitions (other noise seeds) an item's scores are averaged before items are drawn (spec C6).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from animoe.errors import BundleError, InvalidRequest
from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array
from animoe_trainer import metrics

PER_ITEM = ("clusters", "labels", "hits", "distances", "predictions", "referee", "foot_slide", "jerk", "embeddings")


@dataclass(frozen=True, eq=False)
class ScenarioScores:
    """n items, R repetitions of each.

    Attributes:
        items: name of every row; equal names = the same prompt and noise seeds, so rows can be paired.
        clusters: (n,) recording of every row: drawn together.
        labels: (n,) requested emotion, index into EMOTIONS.
        hits: (n, 3) share of fixed pools (and repetitions) hit at 1, 2, 3.
        distances: (n,) to the caption.
        predictions, referee: (n, R) emotion seen by the classifier and by the referee.
        foot_slide: (n,) m/s, NaN where no foot ever stands. jerk: (n,) m/s^3.
        embeddings: (n, R, D) of the generated motions. real: (m, D) of real ones of this scenario.
        components: (D, C) principal directions of real training motions.
        pool_size, chance: of the pools behind `hits`.
    """

    scenario: str
    items: tuple[str, ...]
    clusters: Array
    labels: Array
    hits: Array
    distances: Array
    predictions: Array
    referee: Array
    foot_slide: Array
    jerk: Array
    embeddings: Array
    real: Array
    components: Array
    pool_size: int
    chance: float

    def take(self, rows: Array) -> ScenarioScores:
        """The same scores of some rows, in that order (rows may repeat)."""
        return replace(
            self, items=tuple(self.items[i] for i in rows), **{name: getattr(self, name)[rows] for name in PER_ITEM}
        )

    def measure(self, name: str) -> float:
        """One figure of `MEASURES`; NaN when these rows do not allow it (FID of one motion)."""
        if name not in MEASURES:
            raise InvalidRequest(f"no measure {name!r}; choose from {', '.join(MEASURES)}")
        return MEASURES[name](self)

    def figures(self) -> dict[str, float]:
        """All figures."""
        return {name: self.measure(name) for name in MEASURES}

    def with_intervals(
        self, names: Sequence[str] = ("r1", "wf1", "fid"), *, draws: int = 300, confidence: float = 0.95
    ) -> dict[str, tuple[float, float]]:
        """Bootstrap interval of each named figure over items, drawn by recording."""
        return {
            name: metrics.interval(
                lambda rows, name=name: self.take(rows).measure(name),  # type: ignore[misc]
                self.clusters,
                draws=draws,
                confidence=confidence,
            )
            for name in names
        }

    def save(self, path: Path, *, without: Collection[str] = ()) -> None:
        """Writes one .npz without pickled objects.

        Args:
            without: arrays to leave out; `load` must be given them.
        """
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)}
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in arrays}
        arrays = {name: array for name, array in arrays.items() if name not in without}
        np.savez_compressed(path, meta=np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path, **known: Array) -> ScenarioScores:
        """Reads what `save` wrote; `known` are the arrays that it left out.

        Raises:
            BundleError: missing or damaged.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                plain = json.loads(stored["meta"].tobytes())
                arrays = known | {name: stored[name] for name in stored.files if name != "meta"}
            return cls(**{**plain, "items": tuple(plain["items"])}, **arrays)
        except Exception as error:  # a damaged zip raises whatever its damage leads to
            raise BundleError(f"no usable scores in {path}: {error}; evaluate the scenario again") from error


def mixed(steps: Sequence[ScenarioScores], choice: Array) -> ScenarioScores:
    """Row r of step choice[r]: what chance would deal if the steps did not differ."""
    parts: dict[str, Any] = {
        name: np.stack([getattr(s, name) for s in steps])[choice, np.arange(len(choice))] for name in PER_ITEM
    }
    return replace(steps[0], **parts)


def _emotion(name: str, source: str = "predictions") -> Callable[[ScenarioScores], float]:
    def figure(scores: ScenarioScores) -> float:
        said = getattr(scores, source)
        labels = np.broadcast_to(scores.labels[:, None], said.shape)
        return metrics.emotion_scores(labels, said, len(EMOTIONS))[name]

    return figure


def _fid(scores: ScenarioScores, components: Array | None = None) -> float:
    """Mean over the repetitions, so that the number of motions is the number of items."""
    if len(scores.items) < 2 or len(scores.real) < 2 or not np.isfinite(scores.embeddings).all():
        return float("nan")
    project = np.eye(scores.real.shape[1]) if components is None else components
    generated = np.moveaxis(scores.embeddings, 1, 0)
    return float(np.mean([metrics.fid(scores.real @ project, one @ project) for one in generated]))


def _kid(scores: ScenarioScores) -> float:
    if len(scores.items) < 2 or len(scores.real) < 2:
        return float("nan")
    return float(np.mean([metrics.kid(scores.real, one) for one in np.moveaxis(scores.embeddings, 1, 0)]))


def _diversity(scores: ScenarioScores) -> float:
    if len(scores.items) < 2:
        return float("nan")
    return float(np.mean([metrics.diversity(one) for one in np.moveaxis(scores.embeddings, 1, 0)]))


def _multimodality(scores: ScenarioScores) -> float:
    return metrics.multimodality(scores.embeddings) if scores.embeddings.shape[1] > 1 else float("nan")


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


MEASURES: dict[str, Callable[[ScenarioScores], float]] = {
    "fid": _fid,
    "fid32": lambda s: _fid(s, s.components),
    "kid": _kid,
    "r1": lambda s: float(s.hits[:, 0].mean()),
    "r2": lambda s: float(s.hits[:, 1].mean()),
    "r3": lambda s: float(s.hits[:, 2].mean()),
    "mm_dist": lambda s: float(s.distances.mean()),
    "diversity": _diversity,
    "multimodality": _multimodality,
    "wf1": _emotion("wf1"),
    "macro_f1": _emotion("macro_f1"),
    "accuracy": _emotion("accuracy"),
    "referee_wf1": _emotion("wf1", "referee"),
    "agreement": lambda s: float((s.predictions == s.referee).mean()),
    "foot_slide_mps": lambda s: _mean(s.foot_slide),
    "jerk_mps3": lambda s: _mean(s.jerk),
}
HIGHER_IS_BETTER = {
    name: name not in ("fid", "fid32", "kid", "mm_dist", "foot_slide_mps", "jerk_mps3") for name in MEASURES
}
SHARES = ("r1", "r2", "r3", "wf1", "macro_f1", "accuracy", "referee_wf1", "agreement")
"""Figures between 0 and 1, which tables give in percentage points."""
