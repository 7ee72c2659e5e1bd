"""Writing GLB: what comes out is valid, and means the same to our reader and to pygltflib."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest

from animoe.errors import FileError, InvalidRequest
from animoe.formats.gltf import read_gltf
from animoe.formats.gltf_writer import write_glb
from animoe.motion.clip import Clip
from animoe.rig import canonical_skeleton
from animoe.rig.rotations import to_matrix
from animoe.rig.skeleton import Skeleton

ATOL_M = 2e-6  # float32 rotations and translations down a chain of joints
_DTYPES = {5121: "<u1", 5123: "<u2", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@pytest.fixture
def loaded(tmp_path: Path, clip: Clip) -> pygltflib.GLTF2:
    write_glb(tmp_path / "a.glb", [clip, replace(clip, name="again").trimmed(0.0, 0.2)])
    return pygltflib.GLTF2().load(tmp_path / "a.glb")


def values(gltf: pygltflib.GLTF2, index: int) -> np.ndarray:
    accessor = gltf.accessors[index]
    view = gltf.bufferViews[accessor.bufferView]
    width = _WIDTHS[accessor.type]
    raw = np.frombuffer(gltf.binary_blob(), _DTYPES[accessor.componentType], accessor.count * width, view.byteOffset)
    return raw.reshape(accessor.count, width)


def test_no_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="at least one clip"):
        write_glb(tmp_path / "a.glb", [])


def test_clips_of_two_skeletons_are_refused(tmp_path: Path, clip: Clip) -> None:
    other = Clip.from_root(canonical_skeleton(), 30.0, np.tile([0, 0, 0, 1.0], (2, 22, 1)), np.zeros((2, 3)))
    with pytest.raises(InvalidRequest, match="another skeleton"):
        write_glb(tmp_path / "a.glb", [clip, other])


def test_nan_and_emptiness_are_refused_and_leave_no_file(tmp_path: Path, clip: Clip) -> None:
    rotations = clip.local_rotations.copy()
    rotations[3, 2, 1] = np.nan
    empty = replace(clip, local_rotations=rotations[:0], local_translations=clip.local_translations[:0])
    for bad, says in ((replace(clip, local_rotations=rotations), "NaN"), (empty, "no frames")):
        with pytest.raises(InvalidRequest, match=says):
            write_glb(tmp_path / "a.glb", [bad])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(FileError, match="cannot be written.*folder exists"):
        write_glb(tmp_path / "gone" / "a.glb", [clip])


def test_a_failed_write_keeps_the_old_file_and_no_scraps(tmp_path: Path, clip: Clip) -> None:
    (tmp_path / "a.glb").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(FileError):
        write_glb(tmp_path / "a.glb", [clip])
    assert [p.name for p in tmp_path.iterdir()] == ["a.glb"]


def test_a_clip_comes_back_as_it_was(tmp_path: Path, clip: Clip) -> None:
    write_glb(tmp_path / "a.glb", [clip, replace(clip, name="")])
    back, second = read_gltf(tmp_path / "a.glb")
    assert (back.name, second.name) == ("swing", "clip_1")
    assert back.skeleton.joint_names == clip.skeleton.joint_names
    assert back.skeleton.parents.tolist() == clip.skeleton.parents.tolist()
    np.testing.assert_allclose(back.skeleton.rest_model[1], clip.skeleton.rest_model[1], atol=ATOL_M)
    np.testing.assert_allclose(back.local_translations, clip.local_translations, atol=ATOL_M)
    np.testing.assert_allclose(back.world()[1], clip.world()[1], atol=ATOL_M)
    np.testing.assert_allclose(to_matrix(back.world()[0]), to_matrix(clip.world()[0]), atol=1e-5)


def test_sixty_hertz_comes_back_at_thirty(tmp_path: Path, clip: Clip) -> None:
    write_glb(tmp_path / "a.glb", [replace(clip, frame_rate_hz=60.0)])
    back = read_gltf(tmp_path / "a.glb")[0]
    assert back.frame_rate_hz == 30.0
    np.testing.assert_allclose(back.world()[1], clip.world()[1][::2], atol=ATOL_M)


def test_a_rate_that_is_not_quite_thirty_loses_no_frame(tmp_path: Path, clip: Clip) -> None:
    long = replace(
        clip,
        frame_rate_hz=1 / 0.033333,
        local_rotations=np.tile(clip.local_rotations, (40, 1, 1)),
        local_translations=np.tile(clip.local_translations, (40, 1, 1)),
    )
    write_glb(tmp_path / "a.glb", [long])
    assert read_gltf(tmp_path / "a.glb")[0].frame_count == long.frame_count


def test_pygltflib_finds_the_same_world_positions(loaded: pygltflib.GLTF2, clip: Clip) -> None:
    """Second route: 4x4 matrices from pygltflib's reading of the file, no code of ours."""
    frame = 7
    local = [node_matrix(n.translation, n.rotation) for n in loaded.nodes]
    animation = loaded.animations[0]
    for channel in animation.channels:
        row = values(loaded, animation.samplers[channel.sampler].output)[frame]
        node = channel.target.node
        if channel.target.path == "rotation":
            local[node][:3, :3] = to_matrix(row.astype(float))
        else:
            local[node][:3, 3] = row
    world = world_matrices(loaded, local)
    expected = clip.world()[1][frame]
    np.testing.assert_allclose([world[joint][:3, 3] for joint in range(9)], expected, atol=ATOL_M)


def test_inverse_bind_matrices_undo_the_rest_pose(loaded: pygltflib.GLTF2) -> None:
    world = world_matrices(loaded, [node_matrix(n.translation, n.rotation) for n in loaded.nodes])
    skin = loaded.skins[0]
    for joint, flat in zip(skin.joints, values(loaded, skin.inverseBindMatrices), strict=True):
        np.testing.assert_allclose(world[joint] @ flat.reshape(4, 4).T, np.eye(4), atol=1e-6)


def test_accessors_state_their_true_bounds_and_are_aligned(loaded: pygltflib.GLTF2) -> None:
    bounded = 0
    for index, accessor in enumerate(loaded.accessors):
        view = loaded.bufferViews[accessor.bufferView]
        assert view.byteOffset % 4 == 0
        assert view.byteOffset + view.byteLength <= len(loaded.binary_blob())
        if accessor.min:
            bounded += 1
            assert accessor.min == values(loaded, index).min(axis=0).tolist()
            assert accessor.max == values(loaded, index).max(axis=0).tolist()
    assert bounded == 3  # mesh positions and the times of two clips
    for animation in loaded.animations:
        assert all(loaded.accessors[sampler.input].min for sampler in animation.samplers)


def test_only_moving_joints_have_translation_tracks(loaded: pygltflib.GLTF2, clip: Clip) -> None:
    paths = [(c.target.node, c.target.path) for c in loaded.animations[0].channels]
    arm = clip.skeleton.index["left_arm"]
    assert {node for node, path in paths if path == "translation"} == {0, arm}
    assert sorted(node for node, path in paths if path == "rotation") == list(range(9))


def test_a_joint_that_moves_in_one_clip_is_held_in_the_others(tmp_path: Path, clip: Clip) -> None:
    """Else a player that goes from one to the other leaves it where it was."""
    still = np.tile(clip.skeleton.rest_translations, (clip.frame_count, 1, 1))
    write_glb(tmp_path / "a.glb", [clip, replace(clip, name="still", local_translations=still)])
    gltf = pygltflib.GLTF2().load(tmp_path / "a.glb")
    arm = clip.skeleton.index["left_arm"]
    held = [c for c in gltf.animations[1].channels if (c.target.node, c.target.path) == (arm, "translation")]
    track = values(gltf, gltf.animations[1].samplers[held[0].sampler].output)
    np.testing.assert_allclose(track, still[:, arm], atol=ATOL_M)


def test_every_bone_has_a_closed_outward_octahedron_bound_to_its_joint(loaded: pygltflib.GLTF2) -> None:
    attributes = loaded.meshes[0].primitives[0].attributes
    positions, normals = values(loaded, attributes.POSITION), values(loaded, attributes.NORMAL)
    joints, weights = values(loaded, attributes.JOINTS_0), values(loaded, attributes.WEIGHTS_0)
    assert len(positions) == 24 * (8 + 4)  # eight bones, four tips
    assert set(joints[:, 0].tolist()) == set(range(9)) and not joints[:, 1:].any()
    assert (weights == [1, 0, 0, 0]).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-6)
    bones = positions.reshape(-1, 8, 3, 3)
    middles = bones.mean(axis=(1, 2))[:, None]
    outward = np.sum((bones.mean(axis=2) - middles) * normals.reshape(-1, 8, 3, 3)[:, :, 0], axis=-1)
    assert (outward > 0).all()
    thick_end = bones[:, 1, 2]  # the bottom corner of the first lower face
    world = world_matrices(loaded, [node_matrix(n.translation, n.rotation) for n in loaded.nodes])
    at_joint = [world[j][:3, 3] for j in joints[::24, 0]]
    np.testing.assert_allclose(thick_end, at_joint, atol=1e-6)


def test_a_rig_of_one_joint_and_one_of_three_hundred_are_written(tmp_path: Path) -> None:
    for count in (1, 300):
        offsets = np.full((count, 3), 0.01)
        skeleton = Skeleton.build([f"j{i}" for i in range(count)], np.arange(count) - 1, offsets)
        still = Clip.from_root(skeleton, 30.0, np.tile([0, 0, 0, 1.0], (1, count, 1)), np.zeros((1, 3)))
        write_glb(tmp_path / "a.glb", [still])
        gltf = pygltflib.GLTF2().load(tmp_path / "a.glb")
        joints = values(gltf, gltf.meshes[0].primitives[0].attributes.JOINTS_0)
        assert joints.max() == count - 1
        assert read_gltf(tmp_path / "a.glb")[0].frame_count == 1


def test_the_header_states_the_length_of_the_file(tmp_path: Path, clip: Clip) -> None:
    write_glb(tmp_path / "a.glb", [clip])
    data = (tmp_path / "a.glb").read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length, len(data) % 4) == (b"glTF", 2, len(data), 0)


def node_matrix(translation: list[float] | None, rotation: list[float] | None) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = to_matrix(np.array(rotation or [0, 0, 0, 1.0]))
    matrix[:3, 3] = translation or [0, 0, 0]
    return matrix


def world_matrices(gltf: pygltflib.GLTF2, local: list[np.ndarray]) -> dict[int, np.ndarray]:
    world: dict[int, np.ndarray] = {}
    waiting = [(root, np.eye(4)) for root in gltf.scenes[0].nodes]
    while waiting:
        node, above = waiting.pop()
        world[node] = above @ local[node]
        waiting += [(child, world[node]) for child in gltf.nodes[node].children or []]
    return world
