"""Emotion curves: refusals, then normalisation and interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.errors import InvalidRequest, NotFound
from animoe.motion.emotion import EMOTIONS, EmotionCurve, EmotionKey

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("time", [-0.1, NAN, INF])
def test_impossible_times_are_refused(time: float) -> None:
    with pytest.raises(InvalidRequest, match="0 seconds or later"):
        EmotionKey(time, {"sad": 1.0})


@pytest.mark.parametrize("intensity", [-0.1, 2.1, NAN, INF])
def test_intensities_out_of_range_are_refused(intensity: float) -> None:
    with pytest.raises(InvalidRequest, match="between 0 and 2"):
        EmotionKey(0.0, {"sad": 1.0}, intensity)


@pytest.mark.parametrize("weight", [-1.0, NAN, INF])
def test_impossible_weights_are_refused(weight: float) -> None:
    with pytest.raises(InvalidRequest, match="'sad' must be 0 or more"):
        EmotionKey(0.0, {"sad": weight})


def test_unknown_emotions_are_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="unknown emotion 'melancholy'; choose from neutral, happy"):
        EmotionCurve.constant("melancholy")


def test_a_curve_without_keys_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at least one key"):
        EmotionCurve(())


def test_unsorted_keys_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="sorted by time"):
        EmotionCurve((EmotionKey(1.0, {"sad": 1.0}), EmotionKey(0.5, {"sad": 1.0})))


def test_weights_are_normalised_then_scaled_by_intensity() -> None:
    vector = EmotionKey(0.0, {"sad": 3.0, "angry": 1.0}, 2.0).vector
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector[[EMOTIONS.index("sad"), EMOTIONS.index("angry")]], [1.5, 0.5])
    np.testing.assert_allclose(vector.sum(), 2.0)


@pytest.mark.parametrize("weights", [{}, {"sad": 0.0}])
def test_no_weight_means_neutral_without_intensity(weights: dict[str, float]) -> None:
    np.testing.assert_array_equal(EmotionKey(0.0, weights).vector, np.zeros(len(EMOTIONS)))


def test_constant_curve_is_the_same_at_any_time() -> None:
    rows = EmotionCurve.constant("happy", 0.5).sample([0.0, 3.0, 1e6])
    expected = np.zeros(len(EMOTIONS))
    expected[EMOTIONS.index("happy")] = 0.5
    np.testing.assert_allclose(rows, [expected] * 3)


def test_curve_is_linear_between_keys_and_held_outside() -> None:
    curve = EmotionCurve((EmotionKey(1.0, {"sad": 1.0}, 1.0), EmotionKey(3.0, {"happy": 1.0}, 2.0)))
    rows = curve.sample([0.0, 1.0, 1.5, 3.0, 9.0])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows[:, EMOTIONS.index("sad")], [1, 1, 0.75, 0, 0])
    np.testing.assert_allclose(rows[:, EMOTIONS.index("happy")], [0, 0, 0.5, 2, 2])


def test_two_keys_at_one_time_are_a_jump() -> None:
    curve = EmotionCurve((EmotionKey(1.0, {"sad": 1.0}), EmotionKey(1.0, {"happy": 1.0})))
    before, after = curve.sample([0.999, 1.001])
    assert before[EMOTIONS.index("sad")] == 1 and after[EMOTIONS.index("happy")] == 1
