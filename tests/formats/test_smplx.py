"""Reading AMASS, SMPL-X and SMPL npz: hostile files, axes, rates, spellings, and agreement with matrices.

No licensed body model is used: where one is needed, a made-up one of twelve vertices goes through the smplx package.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.errors import AniMoEError, FileError, Unavailable
from animoe.formats import npz_archive, read_clips
from animoe.formats.smpl_joints import HAND_JOINTS, JOINTS_OF_MODEL
from animoe.motion.clip import Clip
from animoe.retarget.canonicalise import canonicalise
from animoe.rig import CANONICAL_JOINTS, canonical_skeleton
from animoe.rig.rotations import Array, angle, inverse, multiply, to_matrix

FRAMES = 40
ATOL_M = 1e-6
Z_TO_Y = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


@pytest.fixture(autouse=True)
def no_body_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANIMOE_SMPL_MODELS", raising=False)


def walking(frames: int = FRAMES, joints: int = 52) -> dict[str, Any]:
    """AMASS arrays of an upright body (Z up) whose joints all turn and which moves along -Y."""
    random = np.random.default_rng(5)
    time = np.arange(frames)[:, None, None] / 30
    poses = 0.4 * np.sin(3 * time + random.uniform(0, 6, (joints, 3)))
    poses[:, 0] = [np.pi / 2, 0, 0] + 0.1 * poses[:, 0]
    trans = np.array([0.2, 0.0, 0.9]) + np.arange(frames)[:, None] * [0.0, -0.03, 0.001]
    return {
        "poses": poses.reshape(frames, -1),
        "trans": trans,
        "betas": np.zeros(16),
        "gender": np.array("neutral"),
        "mocap_framerate": np.array(30.0),
    }


def save(path: Path, arrays: dict[str, Any]) -> Path:
    with np.errstate(all="ignore"):
        np.savez(path, **arrays)
    return path


def read(tmp_path: Path, arrays: dict[str, Any], **options: Any) -> Clip:
    return read_clips(save(tmp_path / "take.npz", arrays), **options)[0]


def rodrigues(vectors: Array) -> Array:
    """(..., 3) axis-angle -> (..., 3, 3), by the textbook formula: the second route."""
    angles = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors / np.maximum(angles[..., 0], 1e-12), -1, 0)
    zero = 0 * x
    cross = np.stack([np.stack(r, -1) for r in ([zero, -z, y], [z, zero, -x], [-y, x, zero])], -2)
    return np.eye(3) + np.sin(angles) * cross + (1 - np.cos(angles)) * cross @ cross


def world_by_matrices(vectors: Array, root: Array, offsets: Array, parents: Array) -> Array:
    """(T, J, 3) joint positions in the file's axes of (T, J, 3) axis-angles."""
    local = rodrigues(vectors)
    turns, places = np.empty_like(local), np.empty_like(vectors)
    for joint, parent in enumerate(parents):
        above = turns[:, parent] if parent >= 0 else np.broadcast_to(np.eye(3), turns[:, 0].shape)
        turns[:, joint] = above @ local[:, joint]
        places[:, joint] = root if parent < 0 else places[:, parent] + above @ offsets[joint]
    return places


def bad_shape(arrays: dict[str, Any]) -> None:
    arrays["poses"] = arrays["poses"][:, :100]


def four_numbers(arrays: dict[str, Any]) -> None:
    arrays["poses"] = np.zeros((FRAMES, 52, 4))


def short_trans(arrays: dict[str, Any]) -> None:
    arrays["trans"] = arrays["trans"][:-1]


def nan(arrays: dict[str, Any]) -> None:
    arrays["poses"][7, 3] = np.nan


def infinite(arrays: dict[str, Any]) -> None:
    arrays["trans"][3, 1] = -np.inf


def objects(arrays: dict[str, Any]) -> None:
    arrays["poses"] = np.array([{"secret": 1}, None], dtype=object)


def words(arrays: dict[str, Any]) -> None:
    arrays["trans"] = np.array([["a", "b", "c"]] * FRAMES)


def no_frames(arrays: dict[str, Any]) -> None:
    arrays["poses"] = np.zeros((0, 156))


def no_poses(arrays: dict[str, Any]) -> None:
    del arrays["poses"]


def a_number(arrays: dict[str, Any]) -> None:
    arrays["poses"] = np.array(3.0)


def light_years(arrays: dict[str, Any]) -> None:
    arrays["trans"] = arrays["trans"] * 1e15


def ten_million_frames(arrays: dict[str, Any]) -> None:
    arrays["root_orient"] = np.zeros((10_000_000, 3), dtype=np.int8)
    arrays["pose_body"] = arrays.pop("poses")[:, :63]


BREAKS: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (bad_shape, r"'poses': its shape is \(40, 100\), expected .*156"),
    (four_numbers, r"shape is \(40, 52, 4\)"),
    (short_trans, "39 frames, the others have 40"),
    (nan, "'poses', row 7: NaN"),
    (infinite, "'trans', row 3: NaN or infinite"),
    (objects, "Python objects, which are never loaded"),
    (words, "not real numbers"),
    (no_frames, "no frames"),
    (no_poses, "no motion of a body model.*trans, betas"),
    (a_number, r"shape is \(\)"),
    (light_years, "positions beyond.*metres"),
    (ten_million_frames, "10000000 frames, at most"),
]


@pytest.mark.parametrize(("spoil", "says"), BREAKS, ids=[spoil.__name__ for spoil, _ in BREAKS])
def test_a_broken_recording_gives_one_clear_error(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], says: str
) -> None:
    arrays = walking()
    spoil(arrays)
    with pytest.raises(FileError, match=says):
        read(tmp_path, arrays)


@pytest.mark.parametrize("rate", [0.0, -30.0, np.inf, np.nan, 1e9, 1e-9, [30.0, 60.0], "fast"])
def test_an_absurd_frame_rate_is_refused(tmp_path: Path, rate: Any) -> None:
    with pytest.raises(FileError, match="mocap_framerate"):
        read(tmp_path, walking() | {"mocap_framerate": np.array(rate)})


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all" * 99, b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "take.npz").write_bytes(content)
    with pytest.raises(FileError):
        read_clips(tmp_path / "take.npz")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    whole = save(tmp_path / "take.npz", walking()).read_bytes()
    (tmp_path / "take.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"not an \.npz"):
        read_clips(tmp_path / "take.npz")


def test_a_zip_bomb_is_refused_by_its_declared_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz_archive, "MAX_BYTES", 2**20)
    np.savez_compressed(tmp_path / "take.npz", poses=np.zeros((5000, 156)))
    assert (tmp_path / "take.npz").stat().st_size < 20_000
    with pytest.raises(FileError, match="unpacks to 5 MiB.*Split"):
        read_clips(tmp_path / "take.npz")


@pytest.mark.parametrize("shape", ["(10000000, 165)", "(-4, 156)", "(2, 156)", "'x'", "(1, " * 500, "2.5"])
def test_an_array_header_that_lies_is_refused(tmp_path: Path, shape: str) -> None:
    """The memory that a header asks for is only given when the bytes are there."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(1248)
    with zipfile.ZipFile(tmp_path / "take.npz", "w") as archive:
        archive.writestr("poses.npy", body)
    with pytest.raises(FileError, match="does not fit|header is broken"):
        read_clips(tmp_path / "take.npz")


def test_damaged_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    stream = io.BytesIO()
    np.savez_compressed(stream, **walking(4, 22))
    whole = bytearray(stream.getvalue())
    for _ in range(150):
        spoilt = whole.copy()
        for _ in range(random.integers(1, 6)):
            spoilt[random.integers(len(spoilt))] = random.integers(256)
        (tmp_path / "take.npz").write_bytes(spoilt)
        try:
            read_clips(tmp_path / "take.npz")
        except AniMoEError:
            pass


def test_amass_agrees_with_matrices(tmp_path: Path) -> None:
    arrays = walking()
    clip = read(tmp_path, arrays)
    skeleton = canonical_skeleton()
    assert clip.skeleton is skeleton and clip.name == "take" and clip.frame_rate_hz == 30
    vectors = arrays["poses"].reshape(FRAMES, 52, 3)[:, :22]
    expected = world_by_matrices(vectors, arrays["trans"], skeleton.rest_translations, skeleton.parents)
    np.testing.assert_allclose(clip.world()[1], expected @ Z_TO_Y.T, atol=ATOL_M)


def test_a_standing_body_faces_forward_in_our_axes(tmp_path: Path) -> None:
    """Hand value: AMASS turns the model a quarter about X to stand along Z; here that is the identity."""
    arrays = walking()
    arrays["poses"] = np.zeros((FRAMES, 156))
    arrays["poses"][:, 0] = np.pi / 2
    arrays["trans"] = np.tile([1.0, 2.0, 0.9], (FRAMES, 1))
    clip = read(tmp_path, arrays)
    np.testing.assert_allclose(np.abs(clip.local_rotations), np.tile([0, 0, 0, 1.0], (FRAMES, 22, 1)), atol=1e-12)
    np.testing.assert_allclose(clip.root_positions, np.tile([1.0, 0.9, -2.0], (FRAMES, 1)), atol=1e-12)


def turned(arrays: dict[str, Any], turn: Array) -> dict[str, Any]:
    """The recording in a world turned by the matrix; said by libraries that are not AMASS."""
    from scipy.spatial.transform import Rotation

    poses = arrays["poses"].copy()
    poses[:, :3] = (Rotation.from_matrix(turn) * Rotation.from_rotvec(poses[:, :3])).as_rotvec()
    return {"poses": poses, "trans": arrays["trans"] @ turn.T, "fps": np.array(30)}


@pytest.mark.parametrize(
    "turn",
    [np.eye(3), Z_TO_Y, np.diag([1.0, -1, -1]) @ Z_TO_Y, np.diag([1.0, -1, -1])],
    ids=["z up", "y up", "y down (camera)", "z down"],
)
def test_the_body_shows_which_axis_is_up(tmp_path: Path, turn: Array) -> None:
    arrays = walking()
    expected = read(tmp_path, arrays)
    clip = read(tmp_path, turned(arrays, turn))
    np.testing.assert_allclose(clip.world()[1], expected.world()[1], atol=ATOL_M)


def test_a_body_lying_in_amass_stays_lying(tmp_path: Path) -> None:
    arrays = walking()
    arrays["poses"][:, :3] = [0.0, 0.0, 0.3]  # its own up axis along Y, on a floor at z = 0
    arrays["trans"][:, 2] = 0.1
    heights = read(tmp_path, arrays).world()[1][..., 1]
    assert np.ptp(heights) < 1.0 < 1.4 < np.ptp(canonical_skeleton().rest_model[1][:, 1])


def test_amass_made_upright_by_another_tool_is_not_turned_again(tmp_path: Path) -> None:
    arrays = walking()
    expected = read(tmp_path, arrays)
    y_up = turned(arrays, Z_TO_Y) | {"mocap_framerate": np.array(30.0)}
    np.testing.assert_allclose(read(tmp_path, y_up).world()[1], expected.world()[1], atol=ATOL_M)


def spellings() -> dict[str, dict[str, Any]]:
    arrays = walking()
    poses = arrays["poses"].reshape(FRAMES, 52, 3)
    flat = poses.reshape(FRAMES, -1)
    place = {"trans": arrays["trans"], "mocap_frame_rate": np.array(30)}
    face = np.zeros((FRAMES, 3, 3))
    return {
        "smpl": place | {"poses": np.concatenate([flat[:, :66], np.zeros((FRAMES, 6))], axis=1)},
        "smplx": place | {"poses": np.concatenate([poses[:, :22], face, poses[:, 22:]], axis=1).reshape(FRAMES, 165)},
        "body only": place | {"poses": flat[:, :66]},
        "joints apart": place | {"poses": poses},
        "fullpose": {"fullpose": flat, "transl": arrays["trans"], "fps": np.array(30)},
        "parts": place
        | {"root_orient": flat[:, :3], "pose_body": flat[:, 3:66], "pose_hand": flat[:, 66:], "pose_jaw": face[:, 0]}
        | {"surface_model_type": np.array("smplx_locked_head")},
        "library parts": {
            "global_orient": flat[:, None, :3],
            "body_pose": np.concatenate([poses[:, 1:22], np.zeros((FRAMES, 2, 3))], axis=1),
            "transl": arrays["trans"].astype(np.float32),
        },
    }


@pytest.mark.parametrize("spelling", spellings())
def test_every_spelling_gives_the_same_clip(tmp_path: Path, spelling: str) -> None:
    expected = read(tmp_path, walking())
    clip = read(tmp_path, spellings()[spelling])
    assert clip.skeleton.joint_names == CANONICAL_JOINTS
    np.testing.assert_allclose(clip.world()[1], expected.world()[1], atol=ATOL_M)


def test_unneeded_objects_are_not_touched(tmp_path: Path) -> None:
    """AMASS's SMPL-X files carry pickled labels; they must neither be loaded nor get in the way."""
    clip = read(tmp_path, walking() | {"labels": np.array([{"a": 1}], dtype=object)})
    assert clip.frame_count == FRAMES


@pytest.mark.parametrize(("rate", "count"), [(120.0, 31), (100.0, 37), (60.0, 61), (24.0, 151), (15.0, 241)])
def test_any_rate_becomes_thirty_frames_per_second(tmp_path: Path, rate: float, count: int) -> None:
    """A spine turning at a constant rate is at rate x time in every frame."""
    frames = 121
    poses = np.zeros((frames, 156))
    poses[:, 0] = np.pi / 2
    poses[:, 3 * 3 + 1] = np.arange(frames) / rate / 4  # spine1, a quarter rad/s about Y
    trans = np.arange(frames)[:, None] / rate * [1.0, 0, 0] + [0, 0, 0.9]
    clip = read(tmp_path, {"poses": poses, "trans": trans, "mocap_framerate": np.array(rate)})
    times = np.arange(count) / 30
    assert (clip.frame_rate_hz, clip.frame_count) == (30.0, count)
    np.testing.assert_allclose(angle(clip.local_rotations[:, 3]), times / 4, atol=1e-7)
    np.testing.assert_allclose(clip.root_positions[:, 0], times, atol=1e-9)


def test_quaternions_do_not_jump_where_the_axis_angle_does(tmp_path: Path) -> None:
    poses = np.zeros((60, 156))
    poses[:, 0] = np.pi / 2
    spin = np.arange(60) * 0.2
    poses[:, 5] = np.where(spin % (2 * np.pi) > np.pi, spin % (2 * np.pi) - 2 * np.pi, spin % (2 * np.pi))
    clip = read(tmp_path, {"poses": poses, "trans": np.zeros((60, 3)), "mocap_framerate": np.array(30.0)})
    steps = np.sum(clip.local_rotations[1:] * clip.local_rotations[:-1], axis=-1)
    assert steps.min() > 0.99


def test_canonicalising_keeps_every_angle(tmp_path: Path) -> None:
    clip = read(tmp_path, walking())
    canonical = canonicalise(clip)
    np.testing.assert_allclose(angle(multiply(inverse(canonical.local_rotations), clip.local_rotations)), 0, atol=1e-6)


def body_model(path: Path, model: str) -> dict[str, Array]:
    """A made-up body of twelve vertices; the first coefficient makes it taller by a tenth."""
    random = np.random.default_rng(8)
    names = JOINTS_OF_MODEL[model]
    parents = [-1 if joint == 0 else int(random.integers(max(joint - 3, 0), joint)) for joint in range(len(names))]
    vertices = random.uniform(-0.5, 0.5, (12, 3))
    regressor = random.dirichlet(np.ones(12), len(names))
    shapes = np.zeros((12, 3, 400))
    shapes[:, :, 0] = 0.1 * vertices
    arrays = {
        "f": np.array([[0, 1, 2]]),
        "v_template": vertices,
        "shapedirs": shapes,
        "posedirs": np.zeros((12, 3, 9)),
        "J_regressor": regressor,
        "kintree_table": np.stack([np.maximum(parents, 0), np.arange(len(names))]),
        "weights": np.full((12, len(names)), 1 / len(names)),
        "lmk_faces_idx": np.zeros(1, dtype=np.int64),
        "lmk_bary_coords": np.full((1, 3), 1 / 3),
        **{f"hands_{what}{side}": np.zeros(45) for what in ("mean",) for side in "lr"},
        **{f"hands_components{side}": np.eye(45) for side in "lr"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return {"joints": regressor @ vertices, "parents": np.array(parents)}


@pytest.mark.parametrize("model", ["smplx", "smplh"])
def test_a_body_model_gives_bones_fingers_and_the_pelvis(tmp_path: Path, model: str) -> None:
    body = body_model(tmp_path / "models" / model / f"{model.upper()}_FEMALE.npz", model)
    arrays = walking(joints=len(JOINTS_OF_MODEL[model])) | {"gender": np.array("female"), "betas": np.array([2.0])}
    clip = read(tmp_path, arrays, body_models=tmp_path / "models")
    assert clip.skeleton.joint_names == JOINTS_OF_MODEL[model]
    assert set(HAND_JOINTS) <= set(clip.skeleton.joint_names)
    joints = 1.2 * body["joints"]  # two times a tenth taller
    offsets = joints - joints[np.maximum(body["parents"], 0)]
    vectors = arrays["poses"].reshape(FRAMES, -1, 3)
    expected = world_by_matrices(vectors, arrays["trans"] + joints[0], offsets, body["parents"])
    np.testing.assert_allclose(clip.world()[1], expected @ Z_TO_Y.T, atol=1e-5)  # the model is float32


def test_the_environment_names_the_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body_model(tmp_path / "SMPLH_NEUTRAL.npz", "smplh")
    monkeypatch.setenv("ANIMOE_SMPL_MODELS", str(tmp_path))
    assert read(tmp_path, walking()).skeleton.joint_count == 52


def test_a_folder_without_the_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"smplh/SMPLH_NEUTRAL\.npz or \.pkl.*ANIMOE_SMPL_MODELS"):
        read(tmp_path, walking(), body_models=tmp_path)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x05\x06" + bytes(18)])
def test_a_broken_model_file_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "SMPLH_NEUTRAL.npz").write_bytes(content)
    with pytest.raises(FileError, match=r"SMPLH_NEUTRAL.*smplx cannot read it as smplh"):
        read(tmp_path, walking(), body_models=tmp_path)


def test_absurd_betas_are_refused(tmp_path: Path) -> None:
    body_model(tmp_path / "SMPLH_NEUTRAL.npz", "smplh")
    with pytest.raises(FileError, match="betas"):
        read(tmp_path, walking() | {"betas": np.full(16, 1e6)}, body_models=tmp_path)


def test_without_smplx_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body_model(tmp_path / "SMPLH_NEUTRAL.npz", "smplh")
    monkeypatch.setitem(sys.modules, "smplx", None)
    with pytest.raises(Unavailable, match=r"smplx and torch.*pip install"):
        read(tmp_path, walking(), body_models=tmp_path)


def test_the_canonical_path_needs_neither_smplx_nor_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smplx", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert to_matrix(read(tmp_path, walking()).local_rotations).shape == (FRAMES, 22, 3, 3)
