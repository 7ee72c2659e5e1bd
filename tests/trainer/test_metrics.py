"""Metrics against values by hand and against a second route."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from animoe.errors import InvalidRequest, ShapeError
from animoe_trainer import metrics
from animoe_trainer.pools import Pools, caption_matches, fixed_pools


def gaussian(count: int, wide: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.arange(1, wide + 1) ** -0.75
    return rng.normal(size=(count, wide)) * scale @ np.linalg.qr(rng.normal(size=(wide, wide)))[0] + shift


def textbook_fid(real: np.ndarray, generated: np.ndarray) -> float:
    a, b = np.cov(real.T), np.cov(generated.T)
    root = sqrtm(a @ b)
    shift = real.mean(0) - generated.mean(0)
    return float(shift @ shift + np.trace(a + b - 2 * root.real))


class TestFid:
    @pytest.mark.parametrize(("n", "m", "wide"), [(700, 600, 24), (513, 900, 64), (40, 30, 12)])
    def test_the_thin_form_equals_the_textbook(self, n: int, m: int, wide: int) -> None:
        real, generated = gaussian(n, wide, 0), gaussian(m, wide, 1, 0.1)
        assert metrics.fid(real, generated) == pytest.approx(textbook_fid(real, generated), abs=1e-8)

    def test_fewer_motions_than_dimensions(self) -> None:
        real, generated = gaussian(20, 64, 0), gaussian(25, 64, 1)
        wide = np.linalg.qr(np.random.default_rng(5).normal(size=(64, 64)))[0]
        found = metrics.fid(real, generated)
        assert found > 0
        assert metrics.fid(real @ wide, generated @ wide) == pytest.approx(found, abs=1e-9)  # turning the space is free
        covariances = np.cov(real.T) @ np.cov(generated.T)
        root = np.sqrt(np.maximum(np.linalg.eigvals(covariances).real, 0)).sum()  # a singular product has no sqrtm
        shift = real.mean(0) - generated.mean(0)
        trace = np.trace(np.cov(real.T)) + np.trace(np.cov(generated.T))
        assert found == pytest.approx(shift @ shift + trace - 2 * root, abs=1e-6)

    def test_a_shift_adds_its_square(self) -> None:
        real = gaussian(100, 8, 0)
        assert metrics.fid(real, real) == pytest.approx(0, abs=1e-9)
        assert metrics.fid(real, real + 0.5) == pytest.approx(8 * 0.25)

    def test_the_floor_falls_with_the_number_of_motions(self) -> None:
        real = gaussian(800, 32, 0)
        assert metrics.fid_floor(real, 20) > 2 * metrics.fid_floor(real, 400) > 0

    @pytest.mark.parametrize("bad", [np.zeros((1, 4)), np.zeros((5, 3)), np.zeros(4)])
    def test_sets_that_cannot_be_compared(self, bad: np.ndarray) -> None:
        with pytest.raises(ShapeError):
            metrics.fid(np.zeros((5, 4)), bad)

    def test_principal_components_keep_the_large_directions(self) -> None:
        data = np.random.default_rng(0).normal(size=(200, 3)) * [0.1, 5.0, 1.0]
        found = metrics.principal_components(data, 2)
        assert np.abs(found[:, 0]).argmax() == 1 and np.abs(found[:, 1]).argmax() == 2
        np.testing.assert_allclose(found.T @ found, np.eye(2), atol=1e-9)


def test_kid_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    same = [metrics.kid(rng.normal(size=(40, 8)), rng.normal(size=(40, 8))) for _ in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)
    assert min(same) < 0
    assert metrics.kid(rng.normal(size=(40, 8)), rng.normal(size=(40, 8)) + 1) > 3 * max(same)


class TestPools:
    def test_every_item_is_a_query_once_in_every_partition(self) -> None:
        pools = fixed_pools(70, size=32, partitions=3)
        assert pools.members.shape == (3, 70, 32) and pools.size == 32
        for partition in pools.members:
            assert (partition[:, 0] == np.arange(70)).all()
            assert all(len(set(row)) == 32 for row in partition.tolist())

    def test_a_small_set_is_one_pool(self) -> None:
        assert fixed_pools(5).size == 5
        assert set(fixed_pools(5).members[0, 3].tolist()) == set(range(5))

    def test_pools_are_fixed(self) -> None:
        assert (fixed_pools(50).members == fixed_pools(50).members).all()
        assert (fixed_pools(50).members != fixed_pools(50, seed=1).members).any()

    def test_no_items(self) -> None:
        with pytest.raises(InvalidRequest):
            fixed_pools(0)

    def test_shared_captions_and_groups_match(self) -> None:
        texts = [("walk", "go"), ("run",), ("go",), ("jump",)]
        found = caption_matches(["walk", "run", "go", "jump"], texts, ["a", "b", "c", "b"])
        expected = np.eye(4, dtype=bool)
        expected[2, 0] = True  # "go" describes motion 0 as well; "walk" does not describe motion 2
        expected[1, 3] = expected[3, 1] = True
        assert (found == expected).all()


class TestRetrieval:
    ONE = Pools(np.array([[[0, 1, 2], [1, 2, 0], [2, 0, 1]]]))

    def test_ranks_by_hand(self) -> None:
        texts, motions = np.array([[0.0], [1.0], [2.0]]), np.array([[0.1], [2.1], [1.4]])
        hits = metrics.retrieval_hits(texts, motions, np.eye(3, dtype=bool), self.ONE)
        assert hits.tolist() == [[1, 1, 1], [0, 0, 1], [0, 1, 1]]

    def test_another_motion_with_the_same_caption_is_a_hit(self) -> None:
        texts, motions = np.array([[0.0], [1.0], [2.0]]), np.array([[0.1], [2.1], [1.4]])
        matches = np.eye(3, dtype=bool)
        matches[1, 2] = True
        assert metrics.retrieval_hits(texts, motions, matches, self.ONE)[1].tolist() == [1, 1, 1]

    def test_a_collapsed_model_hits_nothing(self) -> None:
        found = metrics.retrieval_hits(np.zeros((40, 3)), np.ones((40, 3)), np.eye(40, dtype=bool), fixed_pools(40))
        assert found.sum() == 0

    def test_chance_equals_random_embeddings(self) -> None:
        rng, pools = np.random.default_rng(0), fixed_pools(60)
        matches = np.eye(60, dtype=bool)
        matches[:30, :30] = True
        hits = [metrics.retrieval_hits(*rng.normal(size=(2, 60, 8)), matches, pools)[:, 0].mean() for _ in range(30)]
        assert np.mean(hits) == pytest.approx(metrics.chance_hits(matches, pools), abs=0.04)

    def test_sizes_must_fit(self) -> None:
        with pytest.raises(ShapeError, match="do not fit"):
            metrics.retrieval_hits(np.zeros((3, 2)), np.zeros((3, 2)), np.eye(3, dtype=bool), fixed_pools(4))


class TestSpread:
    def test_diversity_of_two_points(self) -> None:
        assert metrics.diversity(np.array([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(5)

    def test_multimodality_pairs_are_disjoint(self) -> None:
        samples = np.zeros((1, 4, 1))
        samples[0, :, 0] = [0, 1, 2, 4]
        # Disjoint pairs of four points: 01|24, 02|14, 04|12: means 1.5, 2.5, 2.5. A point is never paired with itself.
        assert {metrics.multimodality(samples, seed=s) for s in range(20)} == {1.5, 2.5}

    def test_one_sample_has_no_multimodality(self) -> None:
        with pytest.raises(ShapeError):
            metrics.multimodality(np.zeros((3, 1, 2)))


class TestEmotion:
    LABELS, SAID = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])

    def test_f1_by_hand(self) -> None:
        # class 0: 2 right of 3, said 2 -> 4/5; class 1: 1 right of 2, said 2 -> 1/2; class 2: 1 of 1, said 2 -> 2/3
        found = metrics.emotion_scores(self.LABELS, self.SAID, 4)
        assert found["wf1"] == pytest.approx((3 * 0.8 + 2 * 0.5 + 2 / 3) / 6)
        assert found["macro_f1"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
        assert found["accuracy"] == pytest.approx(4 / 6)

    def test_floor_and_control(self) -> None:
        assert metrics.majority_floor(self.LABELS, 4) == pytest.approx(0.5 * 2 / 3)
        control = metrics.shuffled_control(self.LABELS, self.SAID, 4)
        assert control < metrics.emotion_scores(self.LABELS, self.SAID, 4)["wf1"]

    def test_labels_are_needed(self) -> None:
        with pytest.raises(ShapeError):
            metrics.emotion_scores(np.zeros(0, dtype=int), np.zeros(0, dtype=int), 4)

    def test_confusion_has_the_truth_by_row(self) -> None:
        assert metrics.confusion(self.LABELS, self.SAID, 3).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


class TestIntervals:
    def test_clusters_are_drawn_whole(self) -> None:
        clusters = np.array([5, 5, 5, 9, 9])
        for rows in metrics.cluster_draws(clusters, 20):
            assert np.isin((rows == 0).sum(), [0, 1, 2]) and (rows == 0).sum() == (rows == 2).sum()

    def test_it_covers_the_truth_as_often_as_it_says(self) -> None:
        rng = np.random.default_rng(0)
        inside = 0
        for trial in range(200):
            values = rng.normal(size=60)
            low, high = metrics.interval(lambda rows, v=values: v[rows].mean(), np.arange(60), draws=200, seed=trial)
            inside += low <= 0 <= high
        assert 0.88 <= inside / 200 <= 0.99

    def test_takes_of_one_recording_widen_it(self) -> None:
        values = np.repeat(np.random.default_rng(0).normal(size=10), 6)
        alone, together = (
            np.ptp(metrics.interval(lambda rows: values[rows].mean(), clusters))
            for clusters in (np.arange(60), np.arange(60) // 6)
        )
        assert together > 1.8 * alone

    def test_an_impossible_confidence(self) -> None:
        with pytest.raises(InvalidRequest, match="confidence"):
            metrics.interval(lambda rows: 0.0, np.arange(3), confidence=1.0)
