"""Euler curves: the same rotations, no jumps, also through and at the pole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from animoe.formats.euler_curves import continuous_euler
from animoe.rig.rotations import angle, from_euler, inverse, multiply, normalize

ORDERS = ["".join(p) for p in itertools.permutations("XYZ")]
ATOL_RAD = 1e-9


@pytest.mark.parametrize("order", ORDERS)
def test_angles_give_the_rotations_back(order: str) -> None:
    q = normalize(np.random.default_rng(1).normal(size=(300, 12, 4)))
    back = from_euler(continuous_euler(q, order), order)
    np.testing.assert_allclose(angle(multiply(inverse(back), q)), 0, atol=ATOL_RAD)


@pytest.mark.parametrize("order", ORDERS)
def test_smooth_angles_through_the_pole_come_back_as_they_were(order: str) -> None:
    """Three turns with the middle angle passing 90 degrees both ways: differences must match, not only rotations."""
    t = np.linspace(0, 1, 300)[:, None]
    angles = np.stack([0.3 + t * [1.0, 9.0], 1.0 + t * [4.0, -20.0], 0.2 + t * [-3.0, 1.0]], axis=-1)
    curves = continuous_euler(from_euler(angles, order), order)
    np.testing.assert_allclose(np.diff(curves, axis=0), np.diff(angles, axis=0), atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("pole", [np.pi / 2, -np.pi / 2])
def test_at_the_pole_nothing_jumps(order: str, pole: float) -> None:
    t = np.linspace(0, 7, 200)
    q = from_euler(np.stack([t, np.full(200, pole), 0.4 + 0 * t], axis=-1)[:, None], order)
    curves = continuous_euler(q, order)
    assert np.abs(np.diff(curves, axis=0)).max() < 0.04
    np.testing.assert_allclose(angle(multiply(inverse(from_euler(curves, order)), q)), 0, atol=1e-7)


def test_a_single_frame_and_float32_do_well() -> None:
    q = normalize(np.random.default_rng(1).normal(size=(1, 4, 4)).astype(np.float32))
    back = from_euler(continuous_euler(q, "ZXY"), "ZXY")
    np.testing.assert_allclose(angle(multiply(inverse(back), q.astype(np.float64))), 0, atol=1e-6)
