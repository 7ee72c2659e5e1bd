"""Features and the way back."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.errors import ShapeError
from animoe.motion import features as layout
from animoe.motion.clip import Clip
from animoe.motion.contacts import foot_contacts
from animoe.motion.features import (
    FEATURE_COUNT,
    RootState,
    clip_to_features,
    features_to_clip,
    features_to_pose,
    heading,
    heading_positions,
    mirrored,
)
from animoe.rig import CANONICAL_JOINTS, Skeleton, canonical_skeleton
from animoe.rig.rotations import IDENTITY, angle, from_axis_angle, from_yaw, inverse, multiply, normalize, rotate

ATOL_M = 1e-4  # features are float32, a path of 3 m is integrated from them
ATOL_RAD = 1e-3


def wandering(frames: int = 90, seed: int = 0) -> Clip:
    """A character that turns, leans and moves every joint, smoothly."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / 30
    waves = sum(
        np.sin(time * rng.uniform(1, 6, 66) + rng.uniform(0, 6, 66)) * rng.uniform(0, 0.2, 66) for _ in range(3)
    )
    axes = np.asarray(waves).reshape(frames, 22, 3)
    rotations = from_axis_angle(axes + 1e-9, np.linalg.norm(axes, axis=-1))
    rotations[:, 0] = multiply(from_yaw(0.5 + 1.2 * time[:, 0]), rotations[:, 0])
    root = np.concatenate([np.sin(time), 0.95 + 0.05 * np.sin(5 * time), time], axis=-1) + [3.0, 0.0, -2.0]
    return Clip.from_root(canonical_skeleton(), 30.0, rotations, root)


def test_other_skeletons_and_rates_are_refused() -> None:
    other = Skeleton.build(["a", "b"], [-1, 0], np.zeros((2, 3)))
    clip = Clip.from_root(other, 30.0, np.tile(IDENTITY, (3, 2, 1)), np.zeros((3, 3)))
    with pytest.raises(ShapeError, match="canonicalise"):
        clip_to_features(clip)
    with pytest.raises(ShapeError, match="30 fps"):
        clip_to_features(wandering().resampled(60.0))


def test_round_trip_keeps_every_joint_in_the_world() -> None:
    clip = wandering()
    features, before = clip_to_features(clip)
    assert features.shape == (90, FEATURE_COUNT)
    back = features_to_clip(features, before)
    np.testing.assert_allclose(back.world()[1], clip.world()[1], atol=ATOL_M)
    assert angle(multiply(inverse(back.local_rotations), clip.local_rotations)).max() < ATOL_RAD


def test_features_do_not_depend_on_where_the_character_stands_and_faces() -> None:
    clip = wandering()
    turn = from_yaw(2.0)
    rotations = clip.local_rotations.copy()
    rotations[:, 0] = multiply(turn, rotations[:, 0])
    moved = Clip.from_root(clip.skeleton, 30.0, rotations, rotate(turn, clip.root_positions) + [5.0, 0.0, 1.0])
    np.testing.assert_allclose(clip_to_features(moved)[0], clip_to_features(clip)[0], atol=1e-4)


def test_root_integrates_chunk_by_chunk_as_at_once() -> None:
    features, _ = clip_to_features(wandering())
    whole = features_to_pose(features, RootState())
    state, parts = RootState(), []
    for chunk in np.split(features, [1, 4, 5, 40]):
        parts.append(features_to_pose(chunk, state))
    for k in range(3):
        np.testing.assert_allclose(np.concatenate([p[k] for p in parts]), whole[k], atol=1e-9)


def test_walking_straight_ahead_is_forward_velocity_only() -> None:
    frames = 30
    root = np.stack([np.zeros(frames), np.full(frames, 0.97), np.arange(frames) * 1.2 / 30], axis=-1)
    features, _ = clip_to_features(Clip.from_root(canonical_skeleton(), 30.0, np.tile(IDENTITY, (frames, 22, 1)), root))
    np.testing.assert_allclose(features[:, layout.PLANAR_VELOCITY], np.tile([0.0, 1.2], (frames, 1)), atol=1e-5)
    np.testing.assert_allclose(features[:, layout.YAW_RATE], 0.0, atol=1e-6)


def test_a_somersault_does_not_spin_the_heading() -> None:
    flip = from_axis_angle([1.0, 0.0, 0.0], np.linspace(0, 2 * np.pi, 30))
    assert np.abs(np.diff(heading(flip))).max() < 0.05


def test_heading_follows_a_turn() -> None:
    turn = from_yaw(np.linspace(0, 4 * np.pi, 200))
    middle = heading(turn)[20:-20]
    np.testing.assert_allclose(np.diff(middle), 4 * np.pi / 199, atol=1e-3)


def test_heading_positions_are_the_pose_without_its_place() -> None:
    clip = wandering()
    features, _ = clip_to_features(clip)
    features[:, :3] = 0.0
    still = features_to_clip(features)
    np.testing.assert_allclose(heading_positions(features), still.world()[1][:, 1:].reshape(90, -1), atol=1e-5)


def test_mirroring_twice_is_the_identity_and_once_changes_sides() -> None:
    clip = wandering()
    twice = mirrored(mirrored(clip))
    np.testing.assert_allclose(twice.world()[1], clip.world()[1], atol=1e-9)
    left, right = (CANONICAL_JOINTS.index(f"{side}_wrist") for side in ("left", "right"))
    flipped = mirrored(clip).world()[1][:, left]
    np.testing.assert_allclose(flipped, clip.world()[1][:, right] * [-1.0, 1.0, 1.0], atol=1e-9)


def test_a_standing_foot_is_in_contact_and_a_lifted_or_sliding_one_is_not() -> None:
    skeleton = canonical_skeleton()
    standing = Clip.from_root(
        skeleton, 30.0, np.tile(IDENTITY, (10, 22, 1)), np.tile(skeleton.rest_translations[0], (10, 1))
    )
    positions = standing.world()[1]
    assert foot_contacts(positions, 30.0).all()
    assert not foot_contacts(positions + [0.0, 0.2, 0.0], 30.0).any()
    sliding = positions + np.arange(10)[:, None, None] * np.array([0.05, 0.0, 0.0])
    assert not foot_contacts(sliding, 30.0).any()


def test_decoded_rotations_need_not_be_orthonormal() -> None:
    features, _ = clip_to_features(wandering())
    noisy = features + np.random.default_rng(1).normal(0, 0.05, features.shape).astype(np.float32)
    rotations, _, contacts = features_to_pose(noisy, RootState())
    np.testing.assert_allclose(normalize(rotations), rotations, atol=1e-9)
    assert contacts.min() >= 0 and contacts.max() <= 1
