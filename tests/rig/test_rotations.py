"""Rotations: known values by hand, round trips, and quaternions against matrices as the second route."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from animoe.rig import rotations as r

ATOL = 1e-12  # float64 arithmetic on unit quaternions
X, Y, Z = np.eye(3)
QUARTER = np.pi / 2
ORDERS = ["".join(p) for p in itertools.permutations("XYZ")]


@pytest.fixture(scope="module")
def random_quaternions() -> np.ndarray:
    return r.normalize(np.random.default_rng(0).normal(size=(200, 4)))


def axis_matrix(axis: str, angle: float) -> np.ndarray:
    """Textbook rotation about one axis, written out on purpose without quaternions."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(
        {
            "X": [[1, 0, 0], [0, c, -s], [0, s, c]],
            "Y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            "Z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        }[axis]
    )


def assert_same_rotation(a: np.ndarray, b: np.ndarray, atol: float = 1e-7) -> None:
    np.testing.assert_allclose(r.angle(r.multiply(r.inverse(a), b)), 0, atol=atol)


def test_zero_quaternion_becomes_identity() -> None:
    np.testing.assert_array_equal(r.normalize(np.zeros(4)), r.IDENTITY)


def test_normalize_scales_to_unit_length_and_keeps_float32() -> None:
    q = r.normalize(np.array([[0, 3, 0, 4]], dtype=np.float32))
    assert q.dtype == np.float32
    np.testing.assert_allclose(q, [[0, 0.6, 0, 0.8]], atol=1e-7)


def test_identity_rotates_nothing() -> None:
    np.testing.assert_array_equal(r.rotate(r.IDENTITY, np.array([1.0, 2, 3])), [1, 2, 3])


@pytest.mark.parametrize(
    ("axis", "vector", "expected"),
    [(X, Y, Z), (Y, Z, X), (Z, X, Y), (Y, X, -Z)],
    ids=["x turns y to z", "y turns z to x", "z turns x to y", "y turns x to -z"],
)
def test_quarter_turns_are_right_handed(axis: np.ndarray, vector: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(r.rotate(r.from_axis_angle(axis, QUARTER), vector), expected, atol=ATOL)


def test_positive_yaw_turns_forward_to_the_left() -> None:
    np.testing.assert_allclose(r.rotate(r.from_yaw(QUARTER), Z), X, atol=ATOL)


def test_axis_length_does_not_matter() -> None:
    np.testing.assert_allclose(r.from_axis_angle([0, 5, 0], 0.3), r.from_yaw(0.3), atol=ATOL)


def test_product_applies_the_right_factor_first() -> None:
    both = r.multiply(r.from_axis_angle(Y, QUARTER), r.from_axis_angle(X, QUARTER))
    np.testing.assert_allclose(r.rotate(both, Y), X, atol=ATOL)  # x: y -> z, then y: z -> x


def test_inverse_undoes(random_quaternions: np.ndarray) -> None:
    undone = r.multiply(random_quaternions, r.inverse(random_quaternions))
    np.testing.assert_allclose(undone, np.tile(r.IDENTITY, (200, 1)), atol=ATOL)


def test_products_and_rotated_vectors_agree_with_matrices(random_quaternions: np.ndarray) -> None:
    a, b = random_quaternions[:100], random_quaternions[100:]
    v = np.random.default_rng(1).normal(size=(100, 3))
    np.testing.assert_allclose(r.to_matrix(r.multiply(a, b)), r.to_matrix(a) @ r.to_matrix(b), atol=ATOL)
    np.testing.assert_allclose(r.rotate(a, v), np.einsum("nij,nj->ni", r.to_matrix(a), v), atol=ATOL)


def test_matrices_are_rotations(random_quaternions: np.ndarray) -> None:
    m = r.to_matrix(random_quaternions)
    np.testing.assert_allclose(m @ np.swapaxes(m, -1, -2), np.tile(np.eye(3), (200, 1, 1)), atol=ATOL)
    np.testing.assert_allclose(np.linalg.det(m), 1, atol=ATOL)


def test_matrix_round_trip(random_quaternions: np.ndarray) -> None:
    back = r.from_matrix(r.to_matrix(random_quaternions))
    assert_same_rotation(back, random_quaternions)
    assert (back[:, 3] >= 0).all()


@pytest.mark.parametrize("axis", [X, Y, Z, np.ones(3), np.array([1.0, -2, 3])])
def test_matrix_round_trip_at_half_a_turn(axis: np.ndarray) -> None:
    q = r.from_axis_angle(axis, np.pi)
    assert_same_rotation(r.from_matrix(r.to_matrix(q)), q)


def test_6d_round_trip(random_quaternions: np.ndarray) -> None:
    assert_same_rotation(r.from_6d(r.to_6d(random_quaternions)), random_quaternions)


def test_6d_is_first_two_matrix_columns() -> None:
    np.testing.assert_allclose(r.to_6d(r.from_axis_angle(Z, QUARTER)), [0, 1, 0, -1, 0, 0], atol=ATOL)


def test_6d_that_is_not_orthonormal_keeps_the_first_direction() -> None:
    q = r.from_6d(np.array([0.0, 3, 0, -2, 1, 0]))
    np.testing.assert_allclose(r.rotate(q, X), Y, atol=ATOL)
    np.testing.assert_allclose(r.rotate(q, Y), -X, atol=ATOL)


@pytest.mark.parametrize("order", ORDERS)
def test_euler_angles_agree_with_matrix_products_left_to_right(order: str) -> None:
    angles = np.array([0.4, -0.7, 1.1])
    expected = np.linalg.multi_dot([axis_matrix(a, t) for a, t in zip(order, angles, strict=True)])
    np.testing.assert_allclose(r.to_matrix(r.from_euler(angles, order)), expected, atol=ATOL)


@pytest.mark.parametrize("order", ORDERS)
def test_euler_round_trip(order: str, random_quaternions: np.ndarray) -> None:
    angles = r.to_euler(random_quaternions, order)
    assert (np.abs(angles[:, 1]) <= QUARTER).all()
    assert_same_rotation(r.from_euler(angles, order), random_quaternions)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("middle", [QUARTER, -QUARTER])
def test_euler_at_the_pole_keeps_the_rotation(order: str, middle: float) -> None:
    q = r.from_euler(np.array([0.5, middle, -0.3]), order)
    angles = r.to_euler(q, order)
    assert angles[2] == 0
    assert_same_rotation(r.from_euler(angles, order), q, atol=1e-6)  # arcsin loses half the digits there


def test_fewer_than_three_euler_channels() -> None:
    np.testing.assert_allclose(r.from_euler(np.array([[0.3]]), "Y"), [r.from_yaw(0.3)], atol=ATOL)


def test_between_takes_one_direction_to_the_other() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    turned = r.rotate(r.between(a, b), a)
    cosine = np.sum(turned * b, -1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    np.testing.assert_allclose(cosine, 1, atol=ATOL)


@pytest.mark.parametrize("a", [X, Y, Z, np.array([1.0, 1, 1])])
def test_between_opposite_directions_is_half_a_turn(a: np.ndarray) -> None:
    q = r.between(a, -a)
    np.testing.assert_allclose(r.angle(q), np.pi)
    np.testing.assert_allclose(r.rotate(q, a), -a, atol=1e-9)


def test_slerp_ends_and_middle() -> None:
    a, b = r.from_yaw(0.2), r.from_yaw(1.0)
    np.testing.assert_allclose(r.slerp(a, b, 0.0), a, atol=ATOL)
    np.testing.assert_allclose(r.slerp(a, b, 1.0), b, atol=ATOL)
    np.testing.assert_allclose(r.slerp(a, b, 0.25), r.from_yaw(0.4), atol=ATOL)


def test_slerp_takes_the_shorter_arc() -> None:
    np.testing.assert_allclose(r.slerp(r.from_yaw(0.2), -r.from_yaw(1.0), 0.5), r.from_yaw(0.6), atol=ATOL)


def test_slerp_of_equal_rotations_is_that_rotation() -> None:
    q = r.from_yaw(0.7)
    np.testing.assert_allclose(r.slerp(q, q, 0.3), q, atol=ATOL)


def test_angle_ignores_the_sign_of_the_quaternion() -> None:
    q = r.from_axis_angle([1, 1, 0], 2.5)
    np.testing.assert_allclose([r.angle(q), r.angle(-q)], [2.5, 2.5], atol=ATOL)


def test_unroll_keeps_rotations_and_removes_flips() -> None:
    smooth = r.from_yaw(np.linspace(0, 6, 40))[:, None]
    flipped = smooth * np.random.default_rng(3).choice([-1.0, 1.0], size=(40, 1, 1))
    unrolled = r.unroll(flipped)
    assert (np.sum(unrolled[1:] * unrolled[:-1], -1) > 0).all()
    assert_same_rotation(unrolled, smooth)
