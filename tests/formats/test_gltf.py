"""Reading glTF: hand-made files with known answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.formats.gltf import read_gltf
from animoe.formats.gltf_writer import write_glb
from animoe.motion.clip import Clip
from animoe.rig.rotations import angle, from_axis_angle, inverse, multiply, to_matrix

ATOL_M = 1e-6  # float32 in the file
ATOL_RAD = 1e-6
Z = np.array([0.0, 0.0, 1.0])


def quarter_turns(*quarters: float) -> np.ndarray:
    return np.stack([from_axis_angle(Z, q * np.pi / 2) for q in quarters])


def rotation_of(path: Path, joint: int = 0) -> np.ndarray:
    return read_gltf(path)[0].local_rotations[:, joint]


def test_rotations_between_keys_follow_the_arc(tmp_path: Path, build: Any) -> None:
    builder = build([{"name": "root"}])
    builder.track(0, "rotation", [0.0, 0.1], quarter_turns(0, 1))
    got = rotation_of(builder.save(tmp_path / "a.gltf"))
    assert got.shape == (4, 4)
    np.testing.assert_allclose(angle(got), np.radians([0, 30, 60, 90]), atol=ATOL_RAD)


def test_a_quaternion_of_opposite_sign_takes_the_short_way(tmp_path: Path, build: Any) -> None:
    builder = build([{"name": "root"}])
    builder.track(0, "rotation", [0.0, 2 / 30], quarter_turns(0, 1) * [[1], [-1]])
    assert angle(rotation_of(builder.save(tmp_path / "a.gltf")))[1] == pytest.approx(np.pi / 4, abs=ATOL_RAD)


def test_step_keys_hold_until_the_next(tmp_path: Path, build: Any) -> None:
    builder = build([{"name": "root"}])
    builder.track(0, "translation", [0.0, 0.1], [[0, 0, 0], [1, 0, 0]], "STEP")
    x = read_gltf(builder.save(tmp_path / "a.gltf"))[0].root_positions[:, 0]
    np.testing.assert_allclose(x, [0, 0, 0, 1], atol=ATOL_M)


def test_cubic_spline_reproduces_a_cubic(tmp_path: Path, build: Any) -> None:
    keys = np.array([0.0, 0.4, 1.0])
    slopes, values = 3 * keys**2, keys**3  # of x = t^3, which a Hermite spline with its tangents must hit
    rows = np.stack([slopes, values, slopes], axis=1).reshape(-1, 1) * [1.0, 0.0, 0.0]
    builder = build([{"name": "root"}])
    builder.track(0, "translation", keys, rows, "CUBICSPLINE")
    x = read_gltf(builder.save(tmp_path / "a.gltf"))[0].root_positions[:, 0]
    np.testing.assert_allclose(x, (np.arange(31) / 30) ** 3, atol=ATOL_M)


def test_cubic_spline_rotations_are_unit(tmp_path: Path, build: Any) -> None:
    rows = np.zeros((2, 3, 4))
    rows[:, 1] = quarter_turns(0, 1)
    builder = build([{"name": "root"}])
    builder.track(0, "rotation", [0.0, 0.2], rows.reshape(-1, 4), "CUBICSPLINE")
    got = rotation_of(builder.save(tmp_path / "a.gltf"))
    np.testing.assert_allclose(np.linalg.norm(got, axis=-1), 1, atol=1e-12)
    assert angle(got)[3] == pytest.approx(np.pi / 4, abs=ATOL_RAD)  # half time, by symmetry


def test_first_frame_is_the_first_key_wherever_it_is(tmp_path: Path, build: Any) -> None:
    builder = build([{"name": "root"}])
    builder.track(0, "translation", np.arange(1, 12) / 30, np.arange(1, 12)[:, None] * [1.0, 0, 0])
    x = read_gltf(builder.save(tmp_path / "a.gltf"))[0].root_positions[:, 0]
    np.testing.assert_allclose(x, np.arange(1, 12), atol=1e-4)


def test_tracks_of_different_length_hold_their_ends(tmp_path: Path, moved: Any) -> None:
    moved.track(0, "translation", [0.1, 0.2], [[0, 0, 2], [0, 0, 4]])
    clip = read_gltf(moved.save(tmp_path / "a.gltf"))[0]
    np.testing.assert_allclose(clip.local_translations[:, 1, 0], [0, 1 / 3, 2 / 3, 1, 1, 1, 1], atol=ATOL_M)
    np.testing.assert_allclose(clip.root_positions[:, 2], [2, 2, 2, 2, 8 / 3, 10 / 3, 4], atol=1e-5)


def test_integer_rotations_are_normalised(tmp_path: Path, build: Any) -> None:
    builder = build([{"name": "root"}])
    packed = np.round(quarter_turns(0, 1) * 32767)
    builder.track(0, "rotation", [0.0, 0.1], builder.accessor(packed, "<i2", normalized=True))
    assert angle(rotation_of(builder.save(tmp_path / "a.gltf")))[-1] == pytest.approx(np.pi / 2, abs=1e-4)


def test_interleaved_values_are_read(tmp_path: Path, moved: Any) -> None:
    rows = moved.accessor(np.arange(16).reshape(4, 4))  # each row: x y z and a number that is not ours
    moved.json["bufferViews"][-1]["byteStride"] = 16
    moved.json["accessors"][rows] |= {"type": "VEC3", "count": 4}
    moved.track(0, "translation", np.arange(4) / 30, rows)
    clip = read_gltf(moved.save(tmp_path / "a.gltf"))[0]
    np.testing.assert_allclose(clip.root_positions, np.arange(16).reshape(4, 4)[:, :3], atol=ATOL_M)


def at_view(builder: Any, accessor: int) -> int:
    return int(builder.json["accessors"][accessor]["bufferView"])


def test_sparse_values_replace_zeros(tmp_path: Path, build: Any) -> None:
    builder = build([{"name": "root"}])
    at, new = builder.accessor([1], "<u1"), builder.accessor([[5, 6, 7]])
    sparse = {
        "count": 1,
        "indices": {"bufferView": at_view(builder, at), "componentType": 5121},
        "values": {"bufferView": at_view(builder, new)},
    }
    builder.json["accessors"].append({"componentType": 5126, "count": 2, "type": "VEC3", "sparse": sparse})
    builder.track(0, "translation", [0, 1 / 30], 2)
    got = read_gltf(builder.save(tmp_path / "a.gltf"))[0].root_positions
    np.testing.assert_allclose(got, [[0, 0, 0], [5, 6, 7]], atol=ATOL_M)


def test_constant_scale_folds_into_what_is_below(tmp_path: Path, build: Any) -> None:
    nodes = [
        {"name": "armature", "scale": [0.01] * 3, "children": [1]},
        {"name": "hips", "translation": [0, 100, 0], "children": [2]},
        {"name": "head", "translation": [0, 60, 0]},
    ]
    builder = build(nodes)
    builder.track(2, "translation", [0.0, 0.1], [[0, 60, 0], [0, 80, 0]])
    builder.track(1, "scale", [0.0, 0.1], [[2, 2, 2], [2, 2, 2]])
    clip = read_gltf(builder.save(tmp_path / "a.gltf"))[0]
    np.testing.assert_allclose(clip.skeleton.rest_model[1][:, 1], [0, 1.0, 1.6], atol=ATOL_M)
    np.testing.assert_allclose(clip.world()[1][-1, :, 1], [0, 1.0, 1.0 + 2 * 0.8], atol=ATOL_M)


def test_animated_scale_is_left_out(tmp_path: Path, moved: Any) -> None:
    moved.track(0, "scale", [0.0, 0.1], [[1, 1, 1], [3, 3, 3]])
    clip = read_gltf(moved.save(tmp_path / "a.gltf"))[0]
    np.testing.assert_allclose(clip.world()[1][-1, 1], [1, 1, 0], atol=ATOL_M)


def test_matrices_become_translation_rotation_and_scale(tmp_path: Path, build: Any) -> None:
    turn = to_matrix(from_axis_angle(np.array([1.0, 2.0, 3.0]), 0.7))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn * 2.0, [1, 2, 3]
    child = {"name": "child", "translation": [0, 1, 0]}
    builder = build([{"name": "root", "matrix": matrix.T.ravel().tolist(), "children": [1]}, child])
    builder.track(1, "rotation", [0.0], quarter_turns(0))
    skeleton = read_gltf(builder.save(tmp_path / "a.gltf"))[0].skeleton
    rotations, positions = skeleton.rest_model
    np.testing.assert_allclose(to_matrix(rotations[0]), turn, atol=1e-9)
    np.testing.assert_allclose(positions[1], matrix[:3] @ [0, 1, 0, 1], atol=1e-9)


def test_children_listed_first_are_put_after_their_parents(tmp_path: Path, build: Any) -> None:
    nodes = [{"name": "hand"}, {"name": "arm", "children": [0]}, {"name": "root", "children": [1]}]
    builder = build(nodes)
    builder.track(0, "rotation", [0.0], quarter_turns(1))
    clip = read_gltf(builder.save(tmp_path / "a.gltf"))[0]
    assert clip.skeleton.joint_names == ("root", "arm", "hand")
    assert clip.skeleton.parents.tolist() == [-1, 0, 1]
    assert angle(clip.local_rotations[0]).tolist() == pytest.approx([0, 0, np.pi / 2])


def test_repeated_and_missing_names_become_unique(tmp_path: Path, build: Any) -> None:
    builder = build([{"name": "a", "children": [1, 2]}, {"name": "a"}, {"name": "\ud800"}, {"children": [0]}])
    for node in (1, 2):
        builder.track(node, "rotation", [0.0], quarter_turns(1))
    skeleton = read_gltf(builder.save(tmp_path / "a.gltf"))[0].skeleton
    assert skeleton.joint_names == ("node_3", "a", "a_2", "?")
    assert skeleton.digest  # the names can be encoded


def test_the_tree_with_most_animated_nodes_is_the_skeleton(tmp_path: Path, build: Any) -> None:
    nodes = [{"name": "lamp"}, {"name": "hips", "children": [2, 3]}, {"name": "leg"}, {"name": "unmoved"}]
    builder = build(nodes)
    for node in (0, 1, 2):
        builder.track(node, "rotation", [0.0], quarter_turns(1))
    assert read_gltf(builder.save(tmp_path / "a.gltf"))[0].skeleton.joint_names == ("hips", "leg")


def test_skin_joints_count_even_when_they_stand_still(tmp_path: Path, moved: Any) -> None:
    moved.json["nodes"][0]["children"] = [1, 2]
    moved.json["nodes"].append({"name": "still"})
    moved.json["skins"] = [{"joints": [2]}]
    assert read_gltf(moved.save(tmp_path / "a.gltf"))[0].skeleton.joint_names == ("root", "tip", "still")


def test_buffers_may_lie_beside_the_file(tmp_path: Path, moved: Any) -> None:
    (tmp_path / "two words.bin").write_bytes(bytes(moved.data))
    moved.json["buffers"][0]["uri"] = "two%20words.bin"
    clip = read_gltf(moved.save(tmp_path / "a.gltf"))[0]
    np.testing.assert_allclose(clip.local_translations[-1, 1], [1, 1, 0], atol=ATOL_M)


def test_neighbouring_frames_lie_on_one_half_sphere(tmp_path: Path, build: Any) -> None:
    builder = build([{"name": "root"}])
    builder.track(0, "rotation", np.arange(9) / 30, quarter_turns(*range(9)))
    got = rotation_of(builder.save(tmp_path / "a.gltf"))
    assert (np.sum(got[1:] * got[:-1], axis=-1) > 0).all()


def test_many_clips_are_read_quickly(tmp_path: Path, clip: Clip) -> None:
    write_glb(tmp_path / "many.glb", [clip] * 100)
    start = time.perf_counter()
    clips = read_gltf(tmp_path / "many.glb")
    seconds = time.perf_counter() - start
    assert len(clips) == 100 and clips[0].skeleton is clips[-1].skeleton
    assert seconds < 1.0  # 1,100 tracks take 25 ms when nothing else runs; per-key Python takes seconds


def test_rest_rotation_stays_where_no_track_replaces_it(tmp_path: Path, moved: Any) -> None:
    rest = from_axis_angle(Z, 0.3)
    moved.json["nodes"][1]["rotation"] = rest.tolist()
    got = rotation_of(moved.save(tmp_path / "a.gltf"), joint=1)
    assert angle(multiply(inverse(rest), got)).max() < ATOL_RAD
