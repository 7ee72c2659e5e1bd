"""Root motion as codes: the path comes back, however long, and nothing jumps."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.motion.features import RootState, features_to_pose
from animoe.motion.root_codes import FRAMES_PER_TOKEN, ROOT_GROUPS, ROOT_LEVELS, encode_root, root_table

FRAMES = 900  # half a minute


def path_features(rates: np.ndarray) -> np.ndarray:
    """Features of a stiff character that moves with (T, 3) yaw rate, left and forward velocity."""
    features = np.zeros((len(rates), 140), dtype=np.float32)
    features[:, :3] = rates
    features[:, 3] = 1.0
    features[:, 4:136] = np.tile([1, 0, 0, 0, 1, 0], 22)
    return features


def strolling(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(FRAMES) / 30
    turn = 0.8 * np.sin(time * rng.uniform(0.3, 1.0)) + rng.normal(0, 0.05, FRAMES)
    forward = 1.2 + 0.3 * np.sin(time * 12) + rng.normal(0, 0.03, FRAMES)
    return np.stack([turn, 0.2 * np.sin(time * 3), forward], axis=-1)


def decoded_rates(codes: np.ndarray) -> np.ndarray:
    """The decoder's rule by hand: velocities run linearly to the coded value at the end of each token."""
    ends = np.stack([root_table()[g][codes[:, g]] for g in range(ROOT_GROUPS)], axis=-1)
    starts = np.concatenate([ends[:1], ends[:-1]])
    share = (np.arange(FRAMES_PER_TOKEN) + 1) / FRAMES_PER_TOKEN
    return (starts[:, None] + (ends - starts)[:, None] * share[:, None]).reshape(-1, 3)


def positions(rates: np.ndarray) -> np.ndarray:
    return features_to_pose(path_features(rates), RootState())[1][:, [0, 2]]


def test_the_scale_rises_holds_zero_and_is_finest_there() -> None:
    for row in root_table():
        steps = np.diff(row)
        assert (steps > 0).all() and row[128] == 0
        assert steps.argmin() in (127, 128)
    assert root_table().shape == (ROOT_GROUPS, ROOT_LEVELS)


@pytest.mark.parametrize("seed", range(5))
def test_the_decoded_path_stays_on_the_true_one(seed: int) -> None:
    rates = strolling(seed)
    true, decoded = positions(rates), positions(decoded_rates(encode_root(path_features(rates))))
    length = np.linalg.norm(np.diff(true, axis=0), axis=-1).sum()
    assert length > 20
    assert np.linalg.norm(true - decoded, axis=-1).max() < 0.06
    assert np.linalg.norm(true[-1] - decoded[-1]) < 0.002 * length


def test_standing_still_is_exactly_still() -> None:
    codes = encode_root(path_features(np.zeros((40, 3))))
    assert (codes == 128).all()


def test_velocity_never_jumps_within_a_stream() -> None:
    rates = decoded_rates(encode_root(path_features(strolling(1))))
    assert np.abs(np.diff(rates, axis=0)).max() < 0.4


def test_codes_are_causal_up_to_one_frame() -> None:
    rates = strolling(2)
    changed = rates.copy()
    changed[402:] += 1.0
    a, b = (encode_root(path_features(r)) for r in (rates, changed))
    np.testing.assert_array_equal(a[:100], b[:100])
    assert (a[100:] != b[100:]).any()
