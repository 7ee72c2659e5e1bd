"""What was forgotten over a sequence of scenarios (spec A5, C6); `verdicts` judges a single import.

Row i of a matrix holds every scenario's figure after step i. FR takes a maximum over noisy figures and is biased
upward by it, so BWT and the band that FR reaches with no change at all stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from animoe.errors import ShapeError
from animoe.rig.rotations import Array
from animoe_trainer.metrics import cluster_draws
from animoe_trainer.scores import HIGHER_IS_BETTER, SHARES, ScenarioScores, mixed

AVERAGES = {"fid": "AF", "r1": "AR", "diversity": "AD", "multimodality": "AMM", "wf1": "AWF"}
SLOW = ("fid", "fid32", "kid")
_SLOW_DRAWS = 200


@dataclass(frozen=True)
class Transfer:
    """Forgetting and transfer of one figure; positive FR is worse, positive BWT and FWT are better.

    All None with a single scenario; FWT also without the figures of the base.
    """

    fr: float | None
    bwt: float | None
    fwt: float | None


def transfer(matrix: Array, base: Array | None = None, *, higher_is_better: bool = True) -> Transfer:
    """FR, BWT and FWT of a matrix (N, N), in its own unit; NaN above the diagonal is allowed (FWT is then None).

    FR = mean over j < N of max_{k = j..N-1} m[k, j] - m[N, j]; BWT = mean of m[N, j] - m[j, j];
    FWT = mean over j >= 2 of m[j-1, j] - base[j].

    Raises:
        ShapeError: not square, or a base of another length.
    """
    count = len(matrix)
    if matrix.shape != (count, count) or (base is not None and base.shape != (count,)):
        raise ShapeError(f"a square matrix and a base row as wide are needed, got {matrix.shape}")
    if count < 2:
        return Transfer(None, None, None)
    signed = matrix if higher_is_better else -matrix
    old = range(count - 1)
    fr = float(np.mean([signed[j : count - 1, j].max() - signed[-1, j] for j in old]))
    bwt = float(np.mean([signed[-1, j] - signed[j, j] for j in old]))
    fwt = None
    if base is not None:
        start = base if higher_is_better else -base
        fwt = float(np.mean([signed[j - 1, j] - start[j] for j in range(1, count)]))
    return Transfer(fr, bwt, fwt if fwt is not None and np.isfinite(fwt) else None)


def average(matrix: Array) -> float:
    """Mean of the last row: AF, AR, AD, AMM or AWF, whatever the matrix holds."""
    return float(np.mean(matrix[-1]))


@dataclass(frozen=True)
class Summary:
    """One measure over a sequence of scenarios; shares in percentage points, all else in its own unit.

    Attributes:
        matrix: [i][j] figure of scenario j after step i.
        average: of the last row (`AVERAGES` has the paper's name). intervals: name -> 95 % bootstrap interval.
        fr_null: 95 % band of FR when the steps do not differ at all.
    """

    measure: str
    matrix: list[list[float]]
    average: float
    transfer: Transfer
    intervals: dict[str, tuple[float, float]]
    fr_null: tuple[float, float] | None


def summarise(
    steps: Sequence[Sequence[ScenarioScores]],
    measure: str,
    base: Sequence[ScenarioScores] | None = None,
    *,
    draws: int = 500,
    seed: int = 0,
) -> Summary:
    """Figures of a sequence, with intervals over items.

    Args:
        steps: [i][j] scores of scenario j after training step i, N x N, the same items in every row.
        base: scores of every scenario before the first step.

    Raises:
        ShapeError: not N x N, or the rows of a column were not scored on the same items.
    """
    _check_table(steps, base)
    if measure in SLOW:
        draws = min(draws, _SLOW_DRAWS)
    better = HIGHER_IS_BETTER[measure]
    rng = np.random.default_rng(seed)

    def figures(table: Sequence[Sequence[ScenarioScores]]) -> tuple[Array, float, Transfer]:
        scale = 100.0 if measure in SHARES else 1.0
        values = scale * np.array([[cell.measure(measure) for cell in row] for row in table])
        matrix, first = (values[1:], values[0]) if base is not None else (values, None)
        return matrix, average(matrix), transfer(matrix, first, higher_is_better=better)

    rows = [list(base), *map(list, steps)] if base is not None else [list(row) for row in steps]
    matrix, mean, moved = figures(rows)
    picks = [cluster_draws(cell.clusters, draws, seed + j) for j, cell in enumerate(rows[0])]
    found = []
    for draw in range(draws):
        # The same items in every row: differences between steps are paired.
        _, one_mean, one = figures([[cell.take(picks[j][draw]) for j, cell in enumerate(row)] for row in rows])
        found.append({"average": one_mean, "fr": one.fr, "bwt": one.bwt, "fwt": one.fwt})
    intervals = {}
    for name in found[0]:
        values = [value for draw in found if (value := draw[name]) is not None]
        if values:
            intervals[name] = _band(values)
    null = None
    if len(steps) > 1:
        lead = rows[: len(rows) - len(steps)]
        null = _band([f for _ in range(draws) if (f := figures([*lead, *_dealt_anew(steps, rng)])[2].fr) is not None])
    return Summary(measure, matrix.tolist(), mean, moved, intervals, null)


def _check_table(steps: Sequence[Sequence[ScenarioScores]], base: Sequence[ScenarioScores] | None) -> None:
    rows = [*steps, *([base] if base is not None else [])]
    if not steps or any(len(row) != len(steps) for row in rows):
        raise ShapeError(f"{len(steps)} steps need {len(steps)} scenarios each, got {[len(row) for row in rows]}")
    for column in zip(*rows, strict=True):
        for cell in column[1:]:
            _check_pairs(column[0], cell)


def _check_pairs(a: ScenarioScores, b: ScenarioScores) -> None:
    if a.items != b.items or a.embeddings.shape != b.embeddings.shape:
        raise ShapeError(
            f"scenario {a.scenario!r} was not scored on the same items and repetitions "
            f"({len(a.items)} and {len(b.items)} items); score both with one evaluation set"
        )


def _dealt_anew(steps: Sequence[Sequence[ScenarioScores]], rng: np.random.Generator) -> list[list[ScenarioScores]]:
    """The steps after shuffling each item's scores among those since its scenario was learnt: only chance differs."""
    columns = []
    for j, column in enumerate(zip(*steps, strict=True)):
        since = column[j:]
        orders = np.stack([rng.permutation(len(since)) for _ in column[0].items], axis=1)
        columns.append([*column[:j], *(mixed(since, order) for order in orders)])
    return [list(row) for row in zip(*columns, strict=True)]


def _band(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.nanquantile(np.array(values), [0.025, 0.975])
    return float(low), float(high)
