"""Writing BVH: identity rest rotations, the same world positions, readable by us and by bvhio."""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from animoe.errors import FileError, InvalidRequest
from animoe.formats.bvh import read_bvh
from animoe.formats.bvh_writer import model_aligned, write_bvh
from animoe.motion.clip import Clip
from animoe.rig.rotations import inverse, multiply, to_matrix
from animoe.rig.skeleton import Skeleton

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # bvhio imports glm under its old name
    import bvhio

ATOL_M = 2e-7  # six decimals of a degree and of a centimetre, down a chain of joints
ORDERS = ["".join(p) for p in itertools.permutations("XYZ")]


def positions_by_name(clip: Clip, metres: float) -> dict[str, np.ndarray]:
    positions = clip.world()[1] * metres
    return {name: positions[:, joint] for joint, name in enumerate(clip.skeleton.joint_names)}


@pytest.mark.parametrize("order", ["XYX", "xyz", "", "ZX"])
def test_an_unknown_rotation_order_is_refused(tmp_path: Path, clip: Clip, order: str) -> None:
    with pytest.raises(InvalidRequest, match="rotation order.*ZXY"):
        write_bvh(tmp_path / "a.bvh", clip, rotation_order=order)


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_unit_is_refused(tmp_path: Path, clip: Clip, unit: float) -> None:
    with pytest.raises(InvalidRequest, match="units per metre"):
        write_bvh(tmp_path / "a.bvh", clip, unit_per_metre=unit)


def test_nan_is_refused_and_leaves_no_file(tmp_path: Path, clip: Clip) -> None:
    translations = clip.local_translations.copy()
    translations[0, 0, 0] = np.inf
    with pytest.raises(InvalidRequest, match="NaN or infinite"):
        write_bvh(tmp_path / "a.bvh", replace(clip, local_translations=translations))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        write_bvh(tmp_path / "gone" / "a.bvh", clip)


def test_aligning_keeps_rest_and_world_positions_and_removes_rest_rotations(clip: Clip) -> None:
    aligned = model_aligned(clip)
    assert (aligned.skeleton.rest_rotations == [0, 0, 0, 1]).all()
    np.testing.assert_allclose(aligned.skeleton.rest_model[1], clip.skeleton.rest_model[1], atol=1e-12)
    np.testing.assert_allclose(aligned.world()[1], clip.world()[1], atol=1e-12)
    # Orientations: what each joint has turned since the rest pose is the same.
    turned = multiply(clip.world()[0], inverse(clip.skeleton.rest_model[0]))
    np.testing.assert_allclose(to_matrix(aligned.world()[0]), to_matrix(turned), atol=1e-12)


def test_the_rest_pose_in_channels_is_all_zero(tmp_path: Path, clip: Clip) -> None:
    skeleton = clip.skeleton
    still = replace(
        clip,
        local_rotations=skeleton.rest_rotations[None],
        local_translations=skeleton.rest_translations[None],
    )
    write_bvh(tmp_path / "a.bvh", still)
    last = (tmp_path / "a.bvh").read_text().splitlines()[-1].split()
    assert len(last) == 3 + 3 * 9
    assert set(last[3:]) == {"0.000000"}


@pytest.mark.parametrize("order", ORDERS)
def test_our_reader_finds_the_same_world_positions(tmp_path: Path, clip: Clip, order: str) -> None:
    write_bvh(tmp_path / "a.bvh", clip, rotation_order=order)
    back = read_bvh(tmp_path / "a.bvh")
    assert back.frame_rate_hz == pytest.approx(30.0, abs=1e-6)
    got = positions_by_name(back, 0.01)
    for name, expected in positions_by_name(clip, 1.0).items():
        np.testing.assert_allclose(got[name], expected, atol=ATOL_M, err_msg=name)


def test_metres_can_be_written(tmp_path: Path, clip: Clip) -> None:
    write_bvh(tmp_path / "a.bvh", clip, unit_per_metre=1.0)
    got = positions_by_name(read_bvh(tmp_path / "a.bvh"), 1.0)
    for name, expected in positions_by_name(clip, 1.0).items():
        np.testing.assert_allclose(got[name], expected, atol=1e-5)  # six decimals of a metre


def test_bvhio_finds_the_same_world_positions(tmp_path: Path, clip: Clip) -> None:
    """Second route: another library parses the file and computes the positions, on exact keys."""
    write_bvh(tmp_path / "a.bvh", clip)
    root = bvhio.readAsHierarchy(str(tmp_path / "a.bvh"))
    expected = positions_by_name(clip, 100.0)
    for frame in (0, 7, 19):
        root.loadPose(frame)
        joints = {joint.Name: joint for joint, _, _ in root.layout()}
        for name, positions in expected.items():
            got = np.array(joints[name].PositionWorld)
            np.testing.assert_allclose(got, positions[frame], atol=1e-3, err_msg=name)  # glm's float32, cm


def test_only_moving_joints_have_position_channels(tmp_path: Path, clip: Clip) -> None:
    write_bvh(tmp_path / "a.bvh", clip)
    text = (tmp_path / "a.bvh").read_text()
    channels = dict(re.findall(r"(?:ROOT|JOINT) (\w+)\s+\{\s+OFFSET [^\n]+\s+CHANNELS (\d)", text))
    assert {name for name, count in channels.items() if count == "6"} == {"root", "left_arm"}
    assert len(channels) == 9


def test_every_leaf_has_an_end_site_of_sensible_length(tmp_path: Path, clip: Clip) -> None:
    write_bvh(tmp_path / "a.bvh", clip)
    tips = re.findall(r"End Site\s+\{\s+OFFSET (\S+) (\S+) (\S+)", (tmp_path / "a.bvh").read_text())
    lengths = np.linalg.norm(np.array(tips, dtype=float), axis=-1)
    assert len(tips) == 4 and (lengths >= 2).all() and (lengths < 12.001).all()


def test_angles_do_not_jump_by_a_full_turn(tmp_path: Path) -> None:
    skeleton = Skeleton.build(["root"], [-1], [[0, 0, 0]])
    half = np.radians(np.arange(0, 400, 10)) / 2
    spin = np.stack([0 * half, 0 * half, np.sin(half), np.cos(half)], axis=-1)[:, None]
    write_bvh(tmp_path / "a.bvh", Clip.from_root(skeleton, 30.0, spin, np.zeros((len(half), 3))))
    rows = (tmp_path / "a.bvh").read_text().split("Frame Time")[1].splitlines()[1:]
    z = np.array([float(row.split()[3]) for row in rows])
    np.testing.assert_allclose(np.diff(z), 10, atol=1e-4)


def test_names_that_would_break_the_file_are_replaced(tmp_path: Path) -> None:
    names = ["my root", "my_root", "a{b}", ""]
    skeleton = Skeleton.build(names, [-1, 0, 1, 1], np.full((4, 3), 0.1))
    still = Clip.from_root(skeleton, 30.0, np.tile([0, 0, 0, 1.0], (2, 4, 1)), np.zeros((2, 3)))
    write_bvh(tmp_path / "a.bvh", still)
    assert read_bvh(tmp_path / "a.bvh").skeleton.joint_names == ("my_root", "my_root_2", "a(b)", "joint_3")


def test_a_chain_of_thousands_is_no_recursion(tmp_path: Path) -> None:
    count = 3000
    skeleton = Skeleton.build([f"j{i}" for i in range(count)], np.arange(count) - 1, np.full((count, 3), 0.001))
    still = Clip.from_root(skeleton, 30.0, np.tile([0, 0, 0, 1.0], (1, count, 1)), np.zeros((1, 3)))
    write_bvh(tmp_path / "a.bvh", still)
    assert read_bvh(tmp_path / "a.bvh").skeleton.joint_count == count


def test_another_rest_pose_can_be_chosen(tmp_path: Path, clip: Clip) -> None:
    """The pose becomes the OFFSETs; world positions stay what they are."""
    pose = clip.local_rotations[5]
    posed = replace(clip, local_rotations=pose[None], local_translations=clip.skeleton.rest_translations[None])
    write_bvh(tmp_path / "a.bvh", clip, rest_rotations=pose)
    back = read_bvh(tmp_path / "a.bvh")
    assert (back.skeleton.rest_rotations == [0, 0, 0, 1]).all()
    rest = dict(zip(back.skeleton.joint_names, back.skeleton.rest_model[1] * 0.01, strict=True))
    expected = posed.world()[1][0] - clip.skeleton.rest_translations[0]  # the root's OFFSET is zero
    for joint, name in enumerate(clip.skeleton.joint_names):
        np.testing.assert_allclose(rest[name], expected[joint], atol=1e-6, err_msg=name)
    got = positions_by_name(back, 0.01)
    for name, positions in positions_by_name(clip, 1.0).items():
        np.testing.assert_allclose(got[name], positions, atol=ATOL_M, err_msg=name)


@pytest.mark.parametrize("pose", [np.ones((8, 4)), np.ones((9, 3)), np.full((9, 4), np.nan)])
def test_a_rest_pose_that_does_not_fit_is_refused(tmp_path: Path, clip: Clip, pose: np.ndarray) -> None:
    with pytest.raises(InvalidRequest, match="rest pose needs 9 finite quaternions"):
        write_bvh(tmp_path / "a.bvh", clip, rest_rotations=pose)


@pytest.mark.parametrize(("positions", "count"), [("moving", 2), ("root", 1), ("all", 9)])
def test_position_channels_can_be_chosen(tmp_path: Path, clip: Clip, positions: str, count: int) -> None:
    write_bvh(tmp_path / "a.bvh", clip, positions=positions)  # type: ignore[arg-type]
    assert (tmp_path / "a.bvh").read_text().count("CHANNELS 6") == count
    got = positions_by_name(read_bvh(tmp_path / "a.bvh"), 0.01)
    still = [name for name in got if name != "left_arm"]  # only that one stretches
    for name, expected in positions_by_name(clip, 1.0).items():
        if positions != "root" or name in still:
            np.testing.assert_allclose(got[name], expected, atol=ATOL_M, err_msg=name)


def test_unknown_position_channels_are_refused(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(InvalidRequest, match="positions 'some'.*moving, root, all"):
        write_bvh(tmp_path / "a.bvh", clip, positions="some")  # type: ignore[arg-type]
