"""Whether an import made an old scenario worse: beyond noise and a small accepted drop, and again with other noise.

The null: the model performs these prompts as before, so that every pair of motions (same prompt, same noise seed,
before and after) could as well be swapped. Random swaps give the spread of each figure's gain under that null.

One import asks this of every scenario in five figures, so a single look at a small level would either miss what broke
or refuse something by chance in every tenth import. Hence two looks: a figure that falls out of its band at 2 % is a
suspicion; its scenario is performed again, with other noise, and only what falls out again counts, at a level that
leaves one import in a hundred to chance (Bonferroni over all figures of all scenarios).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from animoe.errors import ShapeError
from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array
from animoe_trainer.scores import HIGHER_IS_BETTER, SHARES, ScenarioScores, mixed

GUARDED = ("r1", "wf1", "fid", "foot_slide_mps", "jerk_mps3")
"""What must not get worse for an import to be published."""
SUSPICION = 0.02
ALARM = 0.01
"""How often an import may be refused although nothing changed."""
POINT, SHARE = 1.0, 0.1
"""Accepted drops, beside noise: percentage points of shares; of other figures a share of what they were. With enough
motions every hair's breadth stands out of the noise: that alone is no reason to refuse."""
_SWAPS, _SLOW_SWAPS = 2000, 100


@dataclass(frozen=True)
class Change:
    """What happened to one measure of one scenario; shares in percentage points.

    Attributes:
        gain: how much better it became (negative = worse, whichever way the measure points).
        low, high: band of gains that noise alone gives.
        worse: the gain lies below the band by more than the accepted drop.
    """

    measure: str
    before: float
    after: float
    gain: float
    low: float
    high: float
    worse: bool


@dataclass(frozen=True)
class Verdict:
    """Whether a scenario got worse, and in what; `again`: the second look at what was suspicious in the first."""

    scenario: str
    items: int
    changes: tuple[Change, ...]
    again: tuple[Change, ...] = ()

    @property
    def worse(self) -> bool:
        """True forbids publishing."""
        return any(change.worse for change in self.changes)


Pairs = Mapping[str, tuple[ScenarioScores, ScenarioScores]]


def judge_changes(first: Pairs, look_again: Callable[[Sequence[str]], Pairs]) -> list[Verdict]:
    """Verdicts on all old scenarios.

    Simulated with nine scenarios of 4 to 64 prompts (tests/trainer/test_verdicts.py): of 800 imports that changed
    nothing 5 were refused when no drop was accepted, fewer with it; of 300 in which a scenario of 4 to 10 prompts broke
    (R@1 or wF1 halved, slide or jerk doubled, motions all alike) 300 were refused, for that scenario alone.

    Args:
        first: scenario -> rows before and after (`repetitions.as_rows`).
        look_again: rows of some scenarios with other noise.
    """
    found = {name: compare(*pair, level=SUSPICION) for name, pair in first.items()}
    suspects = [name for name, verdict in found.items() if verdict.worse]
    second = look_again(suspects) if suspects else {}
    level = confirming_level(len(first))
    return [confirmed(verdict, second[name], level) if name in second else verdict for name, verdict in found.items()]


def confirming_level(scenarios: int) -> float:
    """Level of the second look: with the first, `ALARM` over all figures of all scenarios."""
    return min(SUSPICION, ALARM / (SUSPICION * max(1, scenarios) * len(GUARDED)))


def confirmed(verdict: Verdict, pair: tuple[ScenarioScores, ScenarioScores], level: float) -> Verdict:
    """What of a first look shows again."""
    suspicious = tuple(change.measure for change in verdict.changes if change.worse)
    again = compare(*pair, level=level, measures=suspicious).changes
    shown = {change.measure for change in again if change.worse}
    changes = tuple(replace(change, worse=change.measure in shown) for change in verdict.changes)
    return replace(verdict, changes=changes, again=again)


def compare(
    before: ScenarioScores,
    after: ScenarioScores,
    *,
    level: float,
    measures: Sequence[str] = GUARDED,
    seed: int = 0,
) -> Verdict:
    """One look at a scenario before and after an import, on the same prompts, pools and noise.

    Args:
        before, after: one row per motion.
        level: how often each figure alone may fall out of its band by chance.

    Raises:
        ShapeError: the two were not scored on the same motions.
    """
    if before.items != after.items or before.embeddings.shape != after.embeddings.shape:
        raise ShapeError(
            f"scenario {before.scenario!r} was not scored on the same items and repetitions "
            f"({len(before.items)} and {len(after.items)} rows); score both with one evaluation set"
        )
    swaps = np.random.default_rng(seed).random((_SWAPS, len(before.items))) < 0.5
    changes = tuple(_change(before, after, measure, level, swaps) for measure in measures)
    return Verdict(before.scenario, len(set(before.items)), changes)


def _change(before: ScenarioScores, after: ScenarioScores, measure: str, level: float, swaps: Array) -> Change:
    scale = 100.0 if measure in SHARES else 1.0
    sign = scale if HIGHER_IS_BETTER[measure] else -scale
    old, new = before.measure(measure), after.measure(measure)
    if not (np.isfinite(old) and np.isfinite(new)):
        broken = bool(np.isfinite(old) and not np.isfinite(new))
        return Change(measure, scale * old, scale * new, 0.0, -np.inf, np.inf, broken)
    gain = sign * (new - old)
    # The band is normal: sums of random signs have tails that are no heavier, and 2,000 swaps cannot count to 1e-4.
    half = NormalDist().inv_cdf(1 - level) * scale * float(np.std(_gains(before, after, measure, swaps)))
    accepted = POINT if measure in SHARES else SHARE * abs(old)
    return Change(measure, scale * old, scale * new, gain, -half, half, bool(gain < -half - accepted))


def _gains(before: ScenarioScores, after: ScenarioScores, measure: str, swaps: Array) -> Array:
    """(draws,) differences of a figure after random swaps (draws, rows), the sign of the figure itself."""
    if measure == "wf1":
        return _f1(before, after, swaps) - _f1(before, after, ~swaps)
    if measure in _VALUES:
        old, new = (_VALUES[measure](scores) for scores in (before, after))
        return _means(old, new, swaps) - _means(old, new, ~swaps)
    found = np.empty(min(len(swaps), _SLOW_SWAPS))
    for draw, kept in enumerate(swaps[:_SLOW_SWAPS]):
        one, other = (mixed((before, after), side.astype(int)).measure(measure) for side in (kept, ~kept))
        found[draw] = one - other
    return found


_VALUES: dict[str, Callable[[ScenarioScores], Array]] = {
    "r1": lambda scores: scores.hits[:, 0],
    "foot_slide_mps": lambda scores: scores.foot_slide,
    "jerk_mps3": lambda scores: scores.jerk,
}


def _means(first: Array, second: Array, swaps: Array) -> Array:
    """(draws,) mean of the finite values of `second`, of `first` where swapped."""
    (known, sums), (other_known, other_sums) = (
        (np.isfinite(values), np.where(np.isfinite(values), values, 0.0)) for values in (first, second)
    )
    found: Array = _chosen(sums, other_sums, swaps) / np.maximum(_chosen(known, other_known, swaps), 1.0)
    return found


def _f1(first: ScenarioScores, second: ScenarioScores, swaps: Array) -> Array:
    """(draws,) weighted F1 of the emotions seen in `second`, in `first` where swapped (`metrics.emotion_scores`)."""
    classes = np.arange(len(EMOTIONS))
    true = first.labels[:, None] == classes  # (rows, E)
    said, other = (scores.predictions[:, :1] == classes for scores in (first, second))
    right = _chosen(said & true, other & true, swaps)
    counts = true.sum(axis=0) + _chosen(said, other, swaps)
    found: Array = (2 * right / np.maximum(counts, 1)) @ (true.sum(axis=0) / len(true))
    return found


def _chosen(first: Array, second: Array, swaps: Array) -> Array:
    """(draws, ...) sums over rows of `second`, of `first` where swapped."""
    change = first.astype(float) - second.astype(float)
    found: Array = second.astype(float).sum(axis=0) + swaps.astype(float) @ change
    return found
