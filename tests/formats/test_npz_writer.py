"""Writing NPZ: AMASS's arrays for SMPL's joints, plain arrays for any rig; both read back the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.errors import FileError, InvalidRequest
from animoe.formats import read_clips, write_clip, write_clips
from animoe.formats.npz_writer import to_axis_angle
from animoe.formats.smpl_joints import HAND_JOINTS
from animoe.motion.clip import Clip
from animoe.retarget.profiles import rig_profile
from animoe.rig import canonical_skeleton
from animoe.rig.rotations import IDENTITY, angle, from_axis_angle, inverse, multiply, normalize
from animoe.rig.skeleton import Skeleton

ATOL = 1e-5


@pytest.fixture(autouse=True)
def no_body_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANIMOE_SMPL_MODELS", raising=False)


def strolling(skeleton: Skeleton, frame_count: int = 30) -> Clip:
    """Upright on average; every joint turns, the root travels along +Z."""
    random = np.random.default_rng(6)
    time_s = np.arange(frame_count)[:, None] / 30
    swing = 0.5 * np.sin(3 * time_s + random.uniform(0, 6, skeleton.joint_count))
    rotations = from_axis_angle(random.normal(size=(skeleton.joint_count, 3)), swing)
    return Clip.from_root(skeleton, 30.0, rotations, [0.1, 0.95, 0.0] + time_s * [0, 0.01, 1.1], "stroll")


def assert_same(a: Clip, b: Clip) -> None:
    assert a.skeleton.joint_names == b.skeleton.joint_names
    assert a.skeleton.parents.tolist() == b.skeleton.parents.tolist()
    assert a.frame_rate_hz == b.frame_rate_hz
    np.testing.assert_allclose(a.local_translations, b.local_translations, atol=ATOL)
    np.testing.assert_allclose(angle(multiply(inverse(a.local_rotations), b.local_rotations)), 0, atol=ATOL)


@pytest.mark.parametrize("name", ["local_rotations", "local_translations"])
def test_nan_is_refused_and_leaves_no_file(tmp_path: Path, clip: Clip, name: str) -> None:
    array = getattr(clip, name).copy()
    array[2, 3, 1] = np.nan
    with pytest.raises(InvalidRequest, match="NaN or infinite"):
        write_clip(tmp_path / "a.npz", replace(clip, **{name: array}))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        write_clip(tmp_path / "gone" / "a.npz", clip)


def test_two_clips_do_not_fit_one_file(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(InvalidRequest, match=r"\.npz file holds one clip, got 2"):
        write_clips(tmp_path / "a.npz", [clip, clip])


def test_amass_arrays_stand_along_z(tmp_path: Path) -> None:
    """Hand value: someone who stands still faces -Y in AMASS, which turns the model a quarter about X."""
    still = Clip.from_root(canonical_skeleton(), 60.0, np.tile(IDENTITY, (2, 22, 1)), np.array([[1, 0.9, 2.0]] * 2))
    write_clip(tmp_path / "a.npz", still)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["poses"].shape == (2, 156) and arrays["betas"].shape == (16,)
        assert arrays["dmpls"].shape == (2, 8) and not arrays["betas"].any()
        assert (str(arrays["gender"]), float(arrays["mocap_framerate"])) == ("neutral", 60.0)
        np.testing.assert_allclose(arrays["poses"][0, :3], [np.pi / 2, 0, 0], atol=1e-6)
        assert not arrays["poses"][:, 3:].any()
        np.testing.assert_allclose(arrays["trans"], [[1, -2, 0.9]] * 2, atol=1e-6)


@pytest.mark.parametrize("skeleton", [canonical_skeleton(), rig_profile("smplx").skeleton], ids=["canonical", "smplx"])
def test_canonical_motion_comes_back_as_it_was(tmp_path: Path, skeleton: Skeleton) -> None:
    clip = strolling(skeleton)
    write_clip(tmp_path / "a.npz", clip)
    assert_same(read_clips(tmp_path / "a.npz")[0], replace(clip, skeleton=canonical_skeleton()))


def test_fingers_are_written(tmp_path: Path) -> None:
    body = canonical_skeleton()
    count = len(HAND_JOINTS)
    parents = [*body.parents, *[body.index["left_wrist"]] * count]
    offsets = np.concatenate([body.rest_translations, np.full((count, 3), 0.01)])
    clip = strolling(Skeleton.build([*body.joint_names, *HAND_JOINTS], parents, offsets))
    write_clip(tmp_path / "a.npz", clip)
    with np.load(tmp_path / "a.npz") as arrays:
        vectors = arrays["poses"].reshape(30, 52, 3)[:, 22:]
    turns = from_axis_angle(vectors, np.linalg.norm(vectors, axis=-1))
    np.testing.assert_allclose(angle(multiply(inverse(turns), clip.local_rotations[:, 22:])), 0, atol=ATOL)


def test_any_other_rig_comes_back_as_it_was(tmp_path: Path, clip: Clip) -> None:
    write_clip(tmp_path / "a.npz", replace(clip, frame_rate_hz=59.94))
    back = read_clips(tmp_path / "a.npz")[0]
    assert_same(back, replace(clip, frame_rate_hz=59.94))
    assert back.name == "swing"
    np.testing.assert_allclose(back.skeleton.rest_model[1], clip.skeleton.rest_model[1], atol=1e-12)
    np.testing.assert_allclose(back.world()[1], clip.world()[1], atol=ATOL)


@pytest.mark.parametrize("what", ["rest rotations", "a stretching bone", "another hierarchy"])
def test_what_amass_cannot_say_is_written_plainly(tmp_path: Path, what: str) -> None:
    body = canonical_skeleton()
    clip = strolling(body)
    if what == "rest rotations":
        turned = Skeleton.build(body.joint_names, body.parents, body.rest_translations, np.full((22, 4), 0.5))
        clip = strolling(turned)
    elif what == "a stretching bone":
        clip.local_translations[3, 5] *= 1.1
    else:
        clip = strolling(Skeleton.build(body.joint_names, np.arange(22) - 1, body.rest_translations))
    write_clip(tmp_path / "a.npz", clip)
    assert_same(read_clips(tmp_path / "a.npz")[0], clip)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path, clip: Clip) -> None:
    for name in "ab":
        write_clip(tmp_path / f"{name}.npz", clip)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_axis_angles_turn_at_most_half_round() -> None:
    q = normalize(np.random.default_rng(2).normal(size=(500, 4)))
    vectors = to_axis_angle(q)
    length = np.linalg.norm(vectors, axis=-1)
    assert length.max() <= np.pi + 1e-12
    np.testing.assert_allclose(angle(multiply(inverse(from_axis_angle(vectors, length)), q)), 0, atol=1e-12)
    assert not to_axis_angle(IDENTITY).any()


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.pop(name)


def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.update({name: value})


BREAKS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no rest": (drop("rest_rotations"), "lacks the array 'rest_rotations'"),
    "no rate": (drop("fps"), "lacks the array 'fps'"),
    "odd rate": (put("fps", np.array(0.0)), "frames per second"),
    "number names": (put("joint_names", np.arange(9)), "'joint_names'"),
    "no names": (put("joint_names", np.array([], dtype="U1")), "'joint_names'"),
    "same names": (put("joint_names", np.array(["a"] * 9)), "unique"),
    "a circle": (put("parents", np.array([-1, 2, 1, 0, 0, 0, 0, 0, 0])), "before their children"),
    "no index": (put("parents", np.full(9, 1e300)), "'parents'"),
    "halves": (put("parents", np.full(9, 0.5)), "'parents'"),
    "other frames": (put("local_translations", np.zeros((3, 9, 3))), "do not fit together"),
    "other joints": (put("local_rotations", np.ones((20, 4, 4))), "do not fit together"),
    "flat": (put("local_rotations", np.ones(80)), "'local_rotations'"),
    "no frames": (put("local_rotations", np.ones((0, 9, 4))), "0 frames"),
    "huge": (put("local_translations", np.full((20, 9, 3), 1e20)), "absurdly large"),
    "nan": (put("rest_translations", np.full((9, 3), np.nan)), "NaN"),
    "objects": (put("parents", np.array([None] * 9)), "Python objects"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_spoilt_plain_arrays_give_one_clear_error(tmp_path: Path, clip: Clip, name: str) -> None:
    write_clip(tmp_path / "a.npz", clip)
    with np.load(tmp_path / "a.npz") as loaded:
        arrays = dict(loaded)
    spoil, says = BREAKS[name]
    spoil(arrays)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileError, match=says):
        read_clips(tmp_path / "a.npz")
