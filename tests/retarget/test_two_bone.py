"""Two-bone inverse kinematics: reaches what can be reached, in the limb's own plane."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from animoe.retarget.two_bone import STRAIGHT, bend_to
from animoe.rig.rotations import IDENTITY, from_axis_angle, inverse, multiply, normalize, rotate

DOWN = np.array([0.0, -1.0, 0.0])
HINGE = np.array([1.0, 0.0, 0.0])
seeds = st.integers(0, 2**32 - 1)


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


class Limb:
    """Random limbs in random poses, bent by a random angle (or `bend`) about their hinges."""

    def __init__(self, seed: int, count: int = 8, bend: float | None = None) -> None:
        self.random = np.random.default_rng(seed)
        self.lengths = self.random.uniform(0.1, 2.0, (count, 2))
        self.upper = normalize(self.random.normal(size=(count, 4)))
        angle = self.random.uniform(0.1, 2.8, count) if bend is None else np.full(count, bend)
        self.lower = multiply(self.upper, from_axis_angle(HINGE, angle))
        rest = self.lengths[..., None] * DOWN
        self.bones = np.stack([rotate(self.upper, rest[:, 0]), rotate(self.lower, rest[:, 1])], axis=1)
        self.hinges = rotate(self.upper, np.broadcast_to(HINGE, (count, 3)))
        self.source = self.bones.sum(axis=1)

    def towards(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Turn of the upper bone, both bones afterwards (N, 2, 3), ends (N, 3) and what is missing (N,)."""
        upper, lower, missing = bend_to(self.upper, self.lower, self.bones, self.hinges, self.source, target)
        np.testing.assert_allclose(np.linalg.norm(np.stack([upper, lower]), axis=-1), 1.0, atol=1e-9)
        swing = multiply(upper, inverse(self.upper))
        second = rotate(multiply(lower, inverse(self.lower)), self.bones[:, 1])
        bones = np.stack([rotate(swing, self.bones[:, 0]), second], axis=1)
        return swing, bones, bones.sum(axis=1), missing

    def reachable(self, reach: float = STRAIGHT) -> np.ndarray:
        """Targets near the source's direction, neither too close nor too far."""
        a, b = self.lengths.T
        low, high = np.abs(a - b) + 0.02 * (a + b), reach * (a + b) * 0.999
        size = self.random.uniform(low, np.maximum(high, low))
        direction = unit(unit(self.source) + self.random.normal(size=self.source.shape) * 0.4)
        return direction * size[:, None]


@given(seeds)
def test_every_target_within_reach_is_met(seed: int) -> None:
    limb = Limb(seed)
    target = limb.reachable()
    _, _, ends, missing = limb.towards(target)
    np.testing.assert_allclose(ends, target, atol=1e-6)
    np.testing.assert_allclose(missing, 0.0, atol=1e-9)


@given(seeds)
def test_the_limb_bends_in_its_own_plane_to_its_own_side(seed: int) -> None:
    limb = Limb(seed)
    swing, bones, _, _ = limb.towards(limb.reachable())
    before = rotate(swing, unit(np.cross(limb.bones[:, 0], limb.bones[:, 1])))
    after = np.cross(bones[:, 0], bones[:, 1])
    bent = np.linalg.norm(after, axis=-1) > 1e-3 * limb.lengths.prod(axis=-1)
    assert (np.sum(before * after, axis=-1)[bent] > 0.999 * np.linalg.norm(after, axis=-1)[bent]).all()


@given(seeds)
def test_a_straight_limb_bends_about_its_hinge(seed: int) -> None:
    limb = Limb(seed, bend=0.0)
    a, b = limb.lengths.T
    target = limb.source * (0.5 + 0.5 * np.abs(a - b) / (a + b))[:, None]
    swing, bones, ends, _ = limb.towards(target)
    np.testing.assert_allclose(ends, target, atol=1e-6)
    normal = np.cross(bones[:, 0], bones[:, 1])
    along = np.sum(normal * rotate(swing, limb.hinges), axis=-1)
    assert (along > 0.999 * np.linalg.norm(normal, axis=-1)).all() and (along > 0).all()


@given(seeds, st.floats(1.01, 50.0))
def test_out_of_reach_the_limb_points_at_the_target(seed: int, factor: float) -> None:
    limb = Limb(seed)
    full = limb.lengths.sum(axis=-1)
    target = unit(limb.reachable()) * (full * factor)[:, None]
    _, _, ends, missing = limb.towards(target)
    length = np.linalg.norm(ends, axis=-1)
    np.testing.assert_allclose(unit(ends), unit(target), atol=1e-6)
    assert (length <= full * (1 + 1e-9)).all() and (length >= STRAIGHT * full * (1 - 1e-9)).all()
    np.testing.assert_allclose(missing, np.linalg.norm(target, axis=-1) - length, atol=1e-6)


@given(seeds)
def test_a_target_too_near_is_met_as_far_as_the_bones_allow(seed: int) -> None:
    limb = Limb(seed)
    a, b = limb.lengths.T
    _, _, ends, missing = limb.towards(limb.source * 1e-9)
    assert np.isfinite(ends).all()
    np.testing.assert_allclose(np.linalg.norm(ends, axis=-1), np.abs(a - b), atol=1e-3 * (a + b).max())
    np.testing.assert_allclose(missing, np.abs(a - b), atol=1e-5)


@given(seeds)
def test_a_target_right_behind_still_gives_rotations(seed: int) -> None:
    limb = Limb(seed)
    ends = limb.towards(limb.source * -0.9)[2]
    assert np.isfinite(ends).all()


def test_a_target_where_the_end_is_changes_nothing() -> None:
    limb = Limb(3)
    upper, lower, missing = bend_to(limb.upper, limb.lower, limb.bones, limb.hinges, limb.source, limb.source)
    np.testing.assert_allclose(np.abs(np.sum(upper * limb.upper, axis=-1)), 1.0, atol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(lower * limb.lower, axis=-1)), 1.0, atol=1e-9)
    np.testing.assert_allclose(missing, 0.0, atol=1e-9)


def test_any_number_of_axes_goes() -> None:
    bones = np.broadcast_to([[0.0, -0.4, 0.0], [0.0, -0.4, 0.0]], (3, 2, 2, 3))
    still = np.broadcast_to(IDENTITY, (3, 2, 4))
    source = bones.sum(axis=-2)
    upper, lower, missing = bend_to(still, still, bones, np.broadcast_to(HINGE, (3, 2, 3)), source, source * 0.8)
    assert upper.shape == lower.shape == (3, 2, 4) and missing.shape == (3, 2)
