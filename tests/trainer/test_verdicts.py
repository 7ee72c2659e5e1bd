"""Verdicts on simulated imports: what breaks is refused, noise is not, however small the sets are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from animoe.errors import ShapeError
from animoe_trainer.metrics import retrieval_hits
from animoe_trainer.pools import fixed_pools
from animoe_trainer.repetitions import as_items, as_rows, first_rows, repetitions
from animoe_trainer.scores import ScenarioScores
from animoe_trainer.verdicts import GUARDED, SUSPICION, Pairs, compare, confirming_level, judge_changes

ALARM = 0.01
SIZES = (4, 5, 6, 8, 10, 16, 20, 32, 64)
"""Prompts of nine scenarios, as packs of 10 to 500 clips hold them out."""
WIDTH, REAL, EMOTION_COUNT = 12, 60, 5
HALVED = {"r1": "wanders", "wf1": "numb", "foot_slide_mps": "slides", "jerk_mps3": "shakes", "fid": "drifts"}
"""Figure -> what breaks: every second motion shows another action or emotion; slide and jerk double; all look alike."""


class Simulated:
    """A scenario whose prompts differ in how well they are performed; one repetition is performed by `perform`."""

    def __init__(self, prompts: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.count, self.seed = prompts, seed
        self.texts = rng.normal(size=(prompts, WIDTH))
        self.offsets = 0.5 * rng.normal(size=(prompts, WIDTH))
        self.labels = rng.integers(EMOTION_COUNT, size=prompts)
        self.ease = rng.beta(4, 1.5, size=prompts)
        self.slide, self.jerk = (np.exp(spread * rng.normal(size=prompts)) for spread in (0.5, 0.3))
        self.real = rng.normal(size=(REAL, WIDTH)) * 1.3
        self.pools = fixed_pools(prompts)

    def perform(self, rng: np.random.Generator, broken: str = "") -> ScenarioScores:
        n = self.count
        asked = (
            np.where(rng.random(n) < 0.5, rng.integers(n, size=n), np.arange(n))
            if broken == "wanders"
            else np.arange(n)
        )
        motions = self.texts[asked] + self.offsets + 1.1 * rng.normal(size=(n, WIDTH))
        if broken == "drifts":
            motions = 0.3 * motions + 1.0
        right = (rng.random(n) < self.ease) & ((rng.random(n) < 0.5) | (broken != "numb"))
        said = np.where(right, self.labels, (self.labels + rng.integers(1, EMOTION_COUNT, size=n)) % EMOTION_COUNT)
        slide = 0.05 * self.slide * np.exp(0.6 * rng.normal(size=n)) * (2 if broken == "slides" else 1)
        jerk = 40.0 * self.jerk * np.exp(0.3 * rng.normal(size=n)) * (2 if broken == "shakes" else 1)
        return ScenarioScores(
            scenario=f"simulated {self.seed}",
            items=tuple(f"clip:{i}" for i in range(n)),
            clusters=np.arange(n),
            labels=self.labels,
            hits=retrieval_hits(self.texts, motions, np.eye(n, dtype=bool), self.pools),
            distances=np.linalg.norm(self.texts - motions, axis=1),
            predictions=said[:, None],
            referee=said[:, None],
            foot_slide=np.where(rng.random(n) < 0.15, np.nan, slide),
            jerk=jerk,
            embeddings=motions[:, None].astype(np.float32),
            real=self.real,
            components=np.eye(WIDTH)[:, :3],
            pool_size=self.pools.size,
            chance=1 / n,
        )

    def pair(self, look: int, broken: str, sets: int, more: int = 1) -> tuple[ScenarioScores, ScenarioScores]:
        """Rows before and after; they share nothing but the prompts: two models that differ by a hair do not either."""
        rng = np.random.default_rng((self.seed, look))
        times = more * repetitions(self.count, sets)
        before, after = (as_rows([self.perform(rng, how) for _ in range(times)]) for how in ("", broken))
        return before, after


def simulate_import(seed: int, sizes: Sequence[int] = SIZES, broken: str = "", where: int = 0) -> list[bool]:
    """Whether each scenario is found worse, when one of them broke."""
    scenarios = {f"{i}": Simulated(size, 100 * seed + i) for i, size in enumerate(sizes)}

    def look(names: Sequence[str], number: int) -> Pairs:
        how = {name: broken if name == str(where) else "" for name in names}
        return {name: scenarios[name].pair(number, how[name], len(sizes), number) for name in names}

    return [v.worse for v in judge_changes(look(list(scenarios), 1), lambda names: look(names, 2))]


@pytest.fixture(autouse=True)
def as_many_motions_as_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("animoe_trainer.repetitions.ROWS", 128)
    monkeypatch.setattr("animoe_trainer.verdicts.ALARM", ALARM)


class TestSimulation:
    def test_noise_alone_raises_a_suspicion_as_rarely_as_it_should(self) -> None:
        pairs = [Simulated(size, 1000 + s).pair(1, "", len(SIZES)) for s, size in enumerate(SIZES * 5)]
        flags = [change.worse for pair in pairs for change in compare(*pair, level=SUSPICION).changes]
        assert len(flags) == 225 and sum(flags) <= 12  # 4.5 expected; more than 12 by chance once in 1,000 runs

    def test_imports_that_change_nothing_are_published(self) -> None:
        assert not any(worse for seed in range(3) for worse in simulate_import(seed))

    @pytest.mark.parametrize("measure", GUARDED)
    def test_a_scenario_that_broke_is_found_and_no_other(self, measure: str) -> None:
        for where in (0, 4):  # 4 and 10 prompts
            found = simulate_import(50 + where, broken=HALVED[measure], where=where)
            assert found == [i == where for i in range(len(SIZES))], where


class TestLooks:
    def test_levels_leave_one_import_in_a_hundred_to_chance(self) -> None:
        for scenarios in (1, 9, 40):
            figures = scenarios * len(GUARDED)
            assert figures * SUSPICION * confirming_level(scenarios) <= ALARM + 1e-12
        assert confirming_level(1) == SUSPICION

    def test_what_does_not_show_again_is_published_and_told(self) -> None:
        broken = Simulated(10, 1).pair(1, "numb", 9)
        [verdict] = judge_changes({"a": broken}, lambda names: {"a": Simulated(10, 1).pair(2, "", 9)})
        assert not verdict.worse
        assert "wf1" in [c.measure for c in verdict.again] and not any(c.worse for c in verdict.again)
        first = next(c for c in verdict.changes if c.measure == "wf1")
        assert first.gain < first.low < 0 < first.high

    def test_nothing_is_looked_at_twice_without_a_reason(self) -> None:
        def never(names: Sequence[str]) -> Pairs:
            raise AssertionError(names)

        rows = Simulated(10, 1).pair(1, "", 9)[0]
        [verdict] = judge_changes({"a": (rows, rows)}, never)
        assert not verdict.worse and all(c.gain == 0 and c.low == 0 for c in verdict.changes)

    def test_small_real_losses_are_accepted(self) -> None:
        rows = Simulated(64, 1).pair(1, "", 9)[0]
        later = replace(rows, jerk=rows.jerk * 1.09, foot_slide=rows.foot_slide * 1.2)
        found = {c.measure: c for c in compare(rows, later, level=SUSPICION).changes}
        assert found["jerk_mps3"].gain < found["jerk_mps3"].low and not found["jerk_mps3"].worse
        assert found["foot_slide_mps"].worse

    def test_motions_that_are_not_finite_are_worse(self) -> None:
        rows = Simulated(8, 1).pair(1, "", 9)[0]
        later = replace(rows, embeddings=np.full_like(rows.embeddings, np.nan), jerk=np.full_like(rows.jerk, np.nan))
        found = {c.measure: c.worse for c in compare(rows, later, level=SUSPICION).changes}
        assert found == {"r1": False, "wf1": False, "fid": True, "foot_slide_mps": False, "jerk_mps3": True}

    def test_gains_of_swaps_are_those_of_the_figures_themselves(self) -> None:
        from animoe_trainer.scores import mixed
        from animoe_trainer.verdicts import _gains

        pair = Simulated(6, 3).pair(1, "numb", 9)
        swaps = np.random.default_rng(0).random((7, len(pair[0].items))) < 0.5
        for measure in GUARDED:
            expected = [
                mixed(pair, s.astype(int)).measure(measure) - mixed(pair, (~s).astype(int)).measure(measure)
                for s in swaps
            ]
            np.testing.assert_allclose(np.abs(_gains(*pair, measure, swaps)), np.abs(expected), atol=1e-9)

    def test_other_items_cannot_be_compared(self) -> None:
        with pytest.raises(ShapeError, match="not scored on the same items"):
            compare(Simulated(4, 1).pair(1, "", 9)[0], Simulated(5, 1).pair(1, "", 9)[0], level=SUSPICION)


class TestRepetitions:
    def test_small_sets_are_performed_more_often_and_none_is_skipped(self) -> None:
        assert [repetitions(n, 9) for n in (1, 4, 10, 20, 64)] == [32, 32, 13, 6, 2]
        assert [repetitions(n, 40) for n in (1, 4, 10, 20, 64)] == [32, 8, 3, 2, 1]
        assert all(repetitions(n, s) >= 1 for n in (1, 64) for s in (1, 127))
        assert all(repetitions(n, s) == repetitions(n, 9) for n in (4, 20, 64) for s in range(1, 13))

    def test_rows_and_items_are_two_views_of_the_same_scores(self) -> None:
        rng = np.random.default_rng(0)
        once = [Simulated(8, 2).perform(rng) for _ in range(3)]
        rows = as_rows(once)
        items = as_items(rows, 3)
        assert len(rows.items) == 24 and items.items == once[0].items and items.predictions.shape == (8, 3)
        for name in ("r1", "r3", "wf1", "macro_f1", "referee_wf1", "jerk_mps3", "mm_dist"):
            assert items.measure(name) == pytest.approx(rows.measure(name)), name
        assert items.measure("fid") == pytest.approx(np.mean([one.measure("fid") for one in once]))
        two = as_items(first_rows(rows, 3, 2), 2)
        np.testing.assert_array_equal(two.predictions, items.predictions[:, :2])
        one_slide = np.nanmean(np.stack([one.foot_slide for one in once]), axis=0)
        np.testing.assert_allclose(items.foot_slide, one_slide)
