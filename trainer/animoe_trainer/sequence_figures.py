"""Figures of judged sequences with bootstrap intervals: per scenario, over the sequence, and between methods (C6).

Items are drawn by recording, and with the same draws in every run, so that differences between runs are paired.
Shares are percentage points. A Fréchet distance grows when items are drawn with repeats; its intervals are therefore
moved so that their middle draw is the figure itself.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array
from animoe_trainer.evaluation_set import EvaluationSet
from animoe_trainer.forgetting import SLOW, summarise
from animoe_trainer.metrics import cluster_draws, confusion, fid_floor, majority_floor
from animoe_trainer.scores import HIGHER_IS_BETTER, SHARES, ScenarioScores
from animoe_trainer.sequence_judging import Judged, Row

TABLED = ("r1", "wf1", "referee_wf1", "fid")
SUMMARISED = ("r1", "wf1", "fid")
AVERAGED = ("diversity", "multimodality")
SLOW_DRAWS = 60
FIVE = ("tired", "excited", "sad", "angry", "happy")
_SUMMARY_VERSION = 1


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; None where it cannot be had."""

    value: float | None
    low: float | None
    high: float | None

    def plain(self) -> dict[str, float | None]:
        """For JSON."""
        return {name: None if v is None else round(v, 4) for name, v in asdict(self).items()}


def estimate(values: Array, *, slow: bool = False) -> Estimate:
    """Of (1 + draws,): the figure itself first, then its bootstrap draws."""
    if not np.isfinite(values[0]):
        return Estimate(None, None, None)
    low, middle, high = np.nanquantile(values[1:], [0.025, 0.5, 0.975])
    shift = float(values[0] - middle) if slow else 0.0
    return Estimate(float(values[0]), float(low) + shift, float(high) + shift)


def cell_draws(cells: Row, measure: str, draws: int) -> Array:
    """(1 + draws, S) figures of scenarios in the order of their names; row 0 on all items."""
    scale = 100.0 if measure in SHARES else 1.0
    count = min(draws, SLOW_DRAWS) if measure in SLOW else draws
    columns = []
    for name in sorted(cells):
        cell = cells[name]
        picks = cluster_draws(cell.clusters, count, zlib.crc32(name.encode()))
        columns.append([cell.measure(measure), *(cell.take(rows).measure(measure) for rows in picks)])
    return scale * np.array(columns).T


@dataclass(frozen=True, eq=False)
class Drawn:
    """One measure of one run: (1 + draws, S) after the last step, and right after each scenario was learnt.

    right_after: None where the steps between were not performed. old: columns of scenarios that could be forgotten.
    """

    measure: str
    last: Array
    right_after: Array | None
    old: tuple[int, ...] = ()

    @property
    def average(self) -> Array:
        found: Array = self.last.mean(axis=1)
        return found

    @property
    def backward(self) -> Array | None:
        """BWT: positive = better than right after learning, whichever way the measure points."""
        if self.right_after is None or not self.old:
            return None
        sign = 1.0 if HIGHER_IS_BETTER[self.measure] else -1.0
        found: Array = sign * (self.last - self.right_after)[:, list(self.old)].mean(axis=1)
        return found


def draw_run(judged: Judged, measure: str, draws: int) -> Drawn:
    """The last row and the diagonal of a run."""
    last, order = cell_draws(judged.last, measure, draws), judged.run.order
    if judged.matrix is None:
        return Drawn(measure, last, None)
    diagonal = {name: judged.rows[step][name] for step, name in enumerate(order, start=1)}
    names = sorted(order)
    old = tuple(names.index(name) for name in order[:-1])
    return Drawn(measure, last, cell_draws(diagonal, measure, draws), old)


def draw_base(judged: Judged, measure: str, draws: int) -> Drawn:
    """The base alone."""
    return Drawn(measure, cell_draws(judged.rows[0], measure, draws), None)


@dataclass(frozen=True)
class Line:
    """A row of the table of methods: one run, or the mean of runs of one label.

    group: their label. average, bwt: per measure. gain, bwt_gain: how much better than the reference method, paired.
    """

    label: str
    group: str
    runs: tuple[str, ...]
    average: dict[str, Estimate]
    bwt: dict[str, Estimate]
    gain: dict[str, Estimate]
    bwt_gain: dict[str, Estimate]


def method_line(
    label: str,
    group: str,
    runs: Sequence[str],
    drawn: Sequence[Mapping[str, Drawn]],
    reference: Sequence[Mapping[str, Drawn]] | None,
) -> Line:
    """The mean of runs against the mean of the reference runs (None: they are the reference)."""
    line = Line(label, group, tuple(runs), {}, {}, {}, {})
    for measure in TABLED:
        slow = measure in SLOW
        sign = 1.0 if HIGHER_IS_BETTER[measure] else -1.0
        sides = (drawn, reference or ())
        mine, theirs = (_mean([one[measure].average for one in side]) for side in sides)
        back, their_back = (_mean([one[measure].backward for one in side]) for side in sides)
        if mine is not None:
            line.average[measure] = estimate(mine, slow=slow)
        if mine is not None and theirs is not None:
            line.gain[measure] = estimate(sign * (mine - theirs), slow=slow)
        if back is not None:
            line.bwt[measure] = estimate(back, slow=slow)
        if back is not None and their_back is not None:
            line.bwt_gain[measure] = estimate(back - their_back, slow=slow)
    return line


def _mean(values: Sequence[Array | None]) -> Array | None:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    found: Array = np.mean(known, axis=0)
    return found


def scenario_estimates(drawn: Mapping[str, Drawn], names: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """measure -> scenario -> estimate, after the last step; `names` sorted."""
    return {
        measure: {name: estimate(one.last[:, i], slow=measure in SLOW).plain() for i, name in enumerate(names)}
        for measure, one in drawn.items()
    }


def yardsticks(kept: EvaluationSet) -> dict[str, Any]:
    """Size of an evaluation set, what its real motions reach and what answering blindly reaches."""
    ceiling = kept.ceiling
    counts = {EMOTIONS[k]: int(n) for k, n in enumerate(np.bincount(ceiling.labels, minlength=len(EMOTIONS))) if n}
    majority = 100.0 * majority_floor(ceiling.labels, len(EMOTIONS))
    scale = {m: 100.0 if m in SHARES else 1.0 for m in (*TABLED, *AVERAGED)}
    real = {m: _known(scale[m] * ceiling.measure(m)) for m in (*TABLED, "diversity")}
    floor = {"r1": 100.0 * ceiling.chance, "wf1": majority, "referee_wf1": majority}
    halves = fid_floor(kept.real, len(ceiling.items)) if len(kept.real) >= 4 else None
    return {
        "items": len(ceiling.items),
        "recordings": len(np.unique(ceiling.clusters)),
        "reference_motions": len(kept.real),
        "pool": ceiling.pool_size,
        "emotions": counts,
        "real": real,
        "floor": {name: round(value, 4) for name, value in floor.items()},
        "fid_of_real_halves": _known(halves),
    }


def _known(value: float | None) -> float | None:
    return round(float(value), 4) if value is not None and np.isfinite(value) else None


def summaries(judged: Judged, draws: int) -> dict[str, Any] | None:
    """Matrix, average, FR, BWT and FWT of a run per measure; kept beside its scores. None when steps are missing."""
    matrix = judged.matrix
    if matrix is None:
        return None
    base = [judged.rows[0][name] for name in judged.run.order] if 0 in judged.rows else None
    found: dict[str, Any] = {}
    for measure in (*SUMMARISED, *AVERAGED):
        count = min(draws, SLOW_DRAWS) if measure in SLOW else draws
        count = min(count, 20) if measure in AVERAGED else count
        path = _kept_summary(judged, measure, count)
        if not path.is_file():
            made = summarise(matrix, measure, base, draws=count)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(_plain(asdict(made))) + "\n", encoding="utf-8")
        found[measure] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _kept_summary(judged: Judged, measure: str, draws: int) -> Path:
    parts = [f"{_SUMMARY_VERSION} {measure} {draws}"]
    for step, row in sorted(judged.rows.items()):
        for name, cell in sorted(row.items()):
            state = (cell.hits, cell.predictions, cell.embeddings, cell.real)
            parts.append(f"{step} {name} {[zlib.crc32(np.ascontiguousarray(a).tobytes()) for a in state]}")
    return judged.run.folder / "scores" / f"summary-{measure}-{zlib.crc32(''.join(parts).encode()):08x}.json"


def _plain(value: Any) -> Any:
    """For JSON: no NaN, no tuples."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value


def emotion_share_of_real(scores: ScenarioScores, ceiling: ScenarioScores, draws: int) -> dict[str, Any] | None:
    """Weighted F1 over tired, excited, sad, angry, happy as a share of what real motion reaches, by both judges.

    None when the rows show fewer than two of them. Items are drawn in pairs with their real clip.
    """
    wanted = [EMOTIONS.index(name) for name in FIVE]
    counts = {EMOTIONS[k]: int((scores.labels == k).sum()) for k in wanted if (scores.labels == k).any()}
    if len(counts) < 2:
        return None
    picks = [np.arange(len(scores.items)), *cluster_draws(scores.clusters, draws, 0)]
    found: dict[str, Any] = {"items": counts}
    for judge, source in (("classifier", "predictions"), ("referee", "referee")):
        mine = np.array([_acted_f1(scores.take(rows), source, wanted) for rows in picks])
        real = np.array([_acted_f1(ceiling.take(rows), source, wanted) for rows in picks])
        share = np.where(real > 0, 100 * mine / np.maximum(real, 1e-9), np.nan)
        found[judge] = {
            "generated": estimate(100 * mine).plain(),
            "real": estimate(100 * real).plain(),
            "share": estimate(share).plain(),
            "per_emotion": _recalls(scores, ceiling, source, wanted),
        }
    return found


def _acted_f1(scores: ScenarioScores, source: str, wanted: Sequence[int]) -> float:
    said = getattr(scores, source)
    labels = np.broadcast_to(scores.labels[:, None], said.shape)
    table = confusion(labels, said, len(EMOTIONS)).astype(np.float64)
    true = table.sum(axis=1)
    f1 = 2 * np.diag(table) / np.maximum(true + table.sum(axis=0), 1)
    weight = true[list(wanted)]
    return float(weight @ f1[list(wanted)] / weight.sum()) if weight.sum() else float("nan")


def _recalls(scores: ScenarioScores, ceiling: ScenarioScores, source: str, wanted: Sequence[int]) -> dict[str, Any]:
    """emotion -> share of clips seen as what was asked, generated and real."""
    found = {}
    for k in wanted:
        rows = scores.labels == k
        if rows.any():
            pair = [100 * float((getattr(one, source)[rows] == k).mean()) for one in (scores, ceiling)]
            found[EMOTIONS[k]] = {
                "items": int(rows.sum()),
                "generated": round(pair[0], 2),
                "real": round(pair[1], 2),
            }
    return found


def routing(judged: Judged) -> dict[str, Any] | None:
    """Mean weights per scenario, and how often the largest weight is the scenario's own expert."""
    if judged.weights is None:
        return None
    columns = ["base", *judged.run.order]
    found: dict[str, Any] = {"columns": columns, "scenarios": {}}
    every = []
    for name in judged.run.order:
        used = judged.weights[judged.run.row_places[name]]
        right = used.argmax(axis=1) == columns.index(name)
        every.append(right)
        clusters = judged.last[name].clusters
        draws = [right.mean(), *(right[rows].mean() for rows in cluster_draws(clusters, 300))]
        found["scenarios"][name] = {
            "prompts": len(right),
            "accuracy": estimate(100 * np.array(draws)).plain(),
            "weights": [round(float(w), 4) for w in used.mean(axis=0)],
        }
    found["accuracy"] = round(100 * float(np.concatenate(every).mean()), 2)
    found["chance"] = round(100 / len(columns), 2)
    return found
