"""Forgetting figures against matrices by hand, and verdicts on scores whose change is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from animoe.errors import BundleError, InvalidRequest, ShapeError
from animoe_trainer.forgetting import average, summarise, transfer
from animoe_trainer.scores import MEASURES, ScenarioScores, mixed

NAN = float("nan")
HAND = np.array([[60.0, 10.0, 20.0], [50.0, 70.0, 15.0], [55.0, 40.0, 80.0]])


def scores(
    hit: float = 0.5, count: int = 80, seed: int = 0, *, shift: float = 0.0, name: str = "walk"
) -> ScenarioScores:
    """Scores of items that are hit with a given probability, emotions right as often."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    right = rng.random((count, 2)) < hit
    said = np.where(right, labels[:, None], (labels[:, None] + 1) % 3)
    return ScenarioScores(
        scenario=name,
        items=tuple(f"clip:{i}" for i in range(count)),
        clusters=np.arange(count),
        labels=labels,
        hits=np.repeat((rng.random(count) < hit)[:, None], 3, axis=1).astype(float),
        distances=rng.random(count),
        predictions=said,
        referee=said[:, ::-1],
        foot_slide=np.where(np.arange(count) == 0, NAN, 0.1),
        jerk=np.full(count, 40.0),
        embeddings=rng.normal(size=(count, 2, 6)) + shift,
        real=np.random.default_rng(99).normal(size=(120, 6)),
        components=np.eye(6)[:, :2],
        pool_size=32,
        chance=0.04,
    )


class TestTransfer:
    def test_by_hand(self) -> None:
        found = transfer(HAND, np.array([5.0, 8.0, 12.0]))
        # FR: (max(60, 50) - 55 + max(70) - 40) / 2; BWT: (55 - 60 + 40 - 70) / 2; FWT: (10 - 8 + 15 - 12) / 2
        assert (found.fr, found.bwt, found.fwt) == (17.5, -17.5, 2.5)
        assert average(HAND) == pytest.approx(175 / 3)

    def test_learning_on_gives_a_negative_rate(self) -> None:
        better = np.array([[50.0, 0.0], [60.0, 70.0]])
        assert (transfer(better).fr, transfer(better).bwt) == (-10.0, 10.0)

    def test_a_distance_points_the_other_way(self) -> None:
        found = transfer(HAND, higher_is_better=False)
        assert (found.fr, found.bwt) == ((-50 + 55 - 70 + 40) / 2, (60 - 55 + 70 - 40) / 2)

    def test_scenarios_not_yet_learnt_may_be_missing(self) -> None:
        known = np.where(np.tri(3) > 0, HAND, NAN)
        assert transfer(known, np.zeros(3)) == replace(transfer(HAND), fwt=None)

    def test_a_single_scenario_forgets_nothing(self) -> None:
        assert transfer(np.ones((1, 1))).fr is None

    @pytest.mark.parametrize(("matrix", "base"), [(np.ones((2, 3)), None), (np.ones((2, 2)), np.ones(3))])
    def test_sizes_that_do_not_fit(self, matrix: np.ndarray, base: np.ndarray | None) -> None:
        with pytest.raises(ShapeError):
            transfer(matrix, base)


class TestSummary:
    def test_it_is_in_percentage_points_and_inside_its_interval(self) -> None:
        steps = [[scores(0.8, seed=1), scores(0.2, seed=2)], [scores(0.3, seed=3), scores(0.9, seed=4)]]
        found = summarise(steps, "r1", [scores(0.1, seed=5), scores(0.1, seed=6)], draws=60)
        assert found.matrix[0][0] == pytest.approx(100 * steps[0][0].measure("r1"))
        assert found.transfer.fr == pytest.approx(found.matrix[0][0] - found.matrix[1][0])
        for name, value in (("fr", found.transfer.fr), ("bwt", found.transfer.bwt), ("average", found.average)):
            low, high = found.intervals[name]
            assert value is not None and low < value < high
        assert found.fr_null is not None and found.fr_null[1] < (found.transfer.fr or 0)

    def test_no_change_lies_in_its_null_band_which_is_biased_upward(self) -> None:
        steps = [[scores(0.4, seed=10 * i + j) for j in range(4)] for i in range(4)]
        found = summarise(steps, "r1", draws=60)
        assert found.fr_null is not None and found.transfer.fr is not None
        assert found.fr_null[0] <= found.transfer.fr <= found.fr_null[1]
        assert sum(found.fr_null) > 0

    def test_other_items_cannot_be_compared(self) -> None:
        steps = [[scores(), scores()], [scores(), scores(count=79)]]
        with pytest.raises(ShapeError, match="same items"):
            summarise(steps, "r1", draws=2)
        with pytest.raises(ShapeError, match="2 steps need 2"):
            summarise([[scores()], [scores()]], "r1", draws=2)


class TestScores:
    def test_all_figures_are_numbers(self) -> None:
        figures = scores().figures()
        assert set(figures) == set(MEASURES) and np.isfinite(list(figures.values())).all()
        assert figures["foot_slide_mps"] == pytest.approx(0.1)  # the item whose feet never stand is left out

    def test_an_unknown_measure(self) -> None:
        with pytest.raises(InvalidRequest, match="choose from"):
            scores().measure("beauty")

    def test_one_item_has_no_distribution(self) -> None:
        one = scores(count=1)
        assert np.isnan(one.measure("fid")) and np.isfinite(one.measure("r1"))

    def test_mixing_takes_each_row_from_its_step(self) -> None:
        a, b = scores(0.0), scores(1.0)
        choice = np.arange(80) % 2
        assert mixed([a, b], choice).hits[:, 0].tolist() == choice.tolist()

    def test_intervals_hold_the_figure(self) -> None:
        low, high = scores().with_intervals(("r1",), draws=100)["r1"]
        assert low < scores().measure("r1") < high

    def test_round_trip(self, tmp_path: Path) -> None:
        scores().save(tmp_path / "s.npz")
        assert ScenarioScores.load(tmp_path / "s.npz").figures() == scores().figures()

    def test_damaged_file(self, tmp_path: Path) -> None:
        (tmp_path / "s.npz").write_bytes(b"PK\3\4 no zip")
        with pytest.raises(BundleError, match="no usable scores"):
            ScenarioScores.load(tmp_path / "s.npz")
