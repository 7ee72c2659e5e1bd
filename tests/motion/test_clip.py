"""Clips: refusals, then timing, trimming and resampling."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.errors import ShapeError
from animoe.motion.clip import Clip
from animoe.rig import canonical_skeleton
from animoe.rig.rotations import IDENTITY, from_yaw


def turning(frames: int = 31, rate: float = 30.0) -> Clip:
    """Turns one radian per second while it moves one metre per second along +X, at constant height."""
    t = np.arange(frames) / rate
    rotations = np.tile(IDENTITY, (frames, 22, 1))
    rotations[:, 0] = from_yaw(t)
    root = np.stack([t, np.full(frames, 0.97), np.zeros(frames)], axis=-1)
    return Clip.from_root(canonical_skeleton(), rate, rotations, root, "turning")


@pytest.mark.parametrize("shape", [(4, 21, 4), (4, 22, 3), (4, 4)])
def test_arrays_that_disagree_with_the_skeleton_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="4 frames and 22 joints"):
        Clip(canonical_skeleton(), 30.0, np.zeros(shape), np.zeros((4, 22, 3)))


def test_arrays_that_disagree_with_each_other_are_refused() -> None:
    with pytest.raises(ShapeError, match="needs arrays"):
        Clip(canonical_skeleton(), 30.0, np.zeros((4, 22, 4)), np.zeros((5, 22, 3)))


@pytest.mark.parametrize("rate", [0.0, -30.0, float("nan")])
def test_impossible_frame_rates_are_refused(rate: float) -> None:
    with pytest.raises(ShapeError, match="frame rate must be positive"):
        Clip(canonical_skeleton(), rate, np.zeros((1, 22, 4)), np.zeros((1, 22, 3)))


def test_counts_and_duration() -> None:
    clip = turning(45, 30.0)
    assert (clip.frame_count, clip.duration_s) == (45, 1.5)


def test_from_root_keeps_rest_translations_below_the_root() -> None:
    clip = turning(3)
    np.testing.assert_array_equal(clip.local_translations[2, 1:], canonical_skeleton().rest_translations[1:])
    np.testing.assert_array_equal(clip.root_positions, clip.local_translations[:, 0])


def test_world_carries_the_whole_body_with_the_root() -> None:
    clip = turning(31)
    head = canonical_skeleton().index["head"]
    start, end = clip.world()[1][[0, 30], head]
    rest = canonical_skeleton().rest_model[1][head]
    np.testing.assert_allclose(start, rest, atol=1e-12)
    np.testing.assert_allclose(end, [1 + rest[2] * np.sin(1), rest[1], rest[2] * np.cos(1)], atol=1e-12)


@pytest.mark.parametrize(
    ("start", "end", "first", "count"),
    [
        (None, None, 0, 31),
        (0.5, None, 15, 16),
        (None, 0.5, 0, 15),
        (0.2, 0.4, 6, 6),
        (None, 99.0, 0, 31),
        (0.5, 0.5, 15, 1),
        (-1.0, 0.1, 0, 3),
    ],
)
def test_trimmed_keeps_the_frames_in_the_interval(start, end, first, count) -> None:
    part = turning().trimmed(start, end)
    assert part.frame_count == count
    np.testing.assert_array_equal(part.root_positions, turning().root_positions[first : first + count])


@pytest.mark.parametrize("rate", [15.0, 24.0, 60.0, 120.0])
def test_resampled_motion_is_the_same_motion(rate: float) -> None:
    """The clip moves linearly, so interpolation must be exact at any rate."""
    clip = turning().resampled(rate)
    expected = turning(clip.frame_count, rate)
    assert clip.frame_rate_hz == rate
    assert clip.frame_count == int(30 / 30 * rate + 1e-6) + 1
    np.testing.assert_allclose(clip.local_rotations, expected.local_rotations, atol=1e-12)
    np.testing.assert_allclose(clip.local_translations, expected.local_translations, atol=1e-12)


def test_resampling_to_the_same_rate_changes_no_frame() -> None:
    clip = turning()
    np.testing.assert_array_equal(clip.resampled(30.0).local_rotations, clip.local_rotations)


def test_a_single_frame_can_be_resampled() -> None:
    assert turning(1).resampled(60.0).frame_count == 1


def test_resampling_up_and_down_returns_the_original() -> None:
    clip = turning()
    back = clip.resampled(90.0).resampled(30.0)
    np.testing.assert_allclose(back.local_rotations, clip.local_rotations, atol=1e-12)
