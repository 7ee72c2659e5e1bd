"""Reading FBX: what is refused, known values by hand, then units, axes, scale and rest poses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ascii_fbx import AsciiFbx

from animoe.errors import FileError, NoAnimation
from animoe.formats import read_clips, read_skeleton
from animoe.formats.fbx import read_fbx, read_fbx_skeleton
from animoe.motion.clip import Clip
from animoe.rig.rotations import Array, angle, from_euler, inverse, multiply

ATOL_M = 1e-6
"""FBX stores keys as float32: a tenth of a micrometre on a body in centimetres."""


@pytest.fixture
def body() -> AsciiFbx:
    """An upright chain of human size in centimetres: `self.hips`, `self.spine`, `self.head`, 50 cm apart."""
    fbx: Any = AsciiFbx()
    _chain(fbx, 100, 50)
    return fbx


def _chain(fbx: Any, first: float, step: float, **root: Any) -> None:
    fbx.hips = fbx.node("Hips", T=(0, first, 0), **root)
    fbx.spine = fbx.node("Spine", fbx.hips, T=(0, step, 0))
    fbx.head = fbx.node("Head", fbx.spine, T=(0, step, 0))


def _positions(clip: Clip) -> dict[str, Array]:
    positions = clip.world()[1]
    return {name: positions[:, joint] for joint, name in enumerate(clip.skeleton.joint_names)}


def _turning(node: int) -> dict[tuple[int, str], Any]:
    return {(node, "R"): ([0.0, 1.0], [(0, 0, 0), (0, 0, 90)])}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"Kaydara FBX Binary  \x00\x1a\x00", "truncated|refused"),
        (b"; FBX 7.4.0 project file\nObjects: {", "truncated|refused|no skeleton"),
        (b"no FBX at all, only text", "no FBX|refused"),
        (b"glTF....", "it is a GLB"),
        (b"v 0 0 0\nv 1 0 0\nf 1 2 1\n", "no FBX|refused"),
    ],
)
def test_what_is_no_fbx_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.fbx").write_bytes(content)
    with pytest.raises(FileError, match=says) as caught:
        read_clips(tmp_path / "a.fbx")
    assert "a.fbx" in str(caught.value)


def test_a_character_without_animation_gives_its_skeleton_only(tmp_path: Path, body: Any) -> None:
    body.stack("Take 001", {})
    path = body.save(tmp_path / "a.fbx")
    with pytest.raises(NoAnimation, match="no animation that moves joints"):
        read_clips(path)
    skeleton = read_skeleton(path)
    assert skeleton.joint_names == ("Hips", "Spine", "Head")
    np.testing.assert_allclose(skeleton.rest_model[1][:, 1], [1.0, 1.5, 2.0], atol=ATOL_M)


def test_a_scene_without_any_node_holds_no_skeleton(tmp_path: Path) -> None:
    fbx = AsciiFbx()
    fbx.node("Cam", kind="Camera")
    with pytest.raises(FileError, match="no skeleton"):
        read_fbx_skeleton(fbx.save(tmp_path / "a.fbx"))


def test_stacks_become_clips_and_empty_ones_are_skipped(tmp_path: Path, body: Any) -> None:
    body.stack("Take 001", {})
    body.stack("walk", _turning(body.spine))
    body.stack("slide", {(body.hips, "T"): ([0.0, 0.5], [(0, 100, 0), (60, 100, 0)])})
    walk, slide = read_fbx(body.save(tmp_path / "a.fbx"))
    assert (walk.name, walk.frame_count, slide.name, slide.frame_count) == ("walk", 31, "slide", 16)
    assert walk.skeleton is slide.skeleton and walk.frame_rate_hz == 30
    np.testing.assert_allclose(_positions(walk)["Head"][[0, -1]], [[0, 2, 0], [-0.5, 1.5, 0]], atol=ATOL_M)
    np.testing.assert_allclose(slide.root_positions[:, 0], np.linspace(0, 0.6, 16), atol=ATOL_M)


def test_linear_angles_stay_linear_over_long_gaps(tmp_path: Path, body: Any) -> None:
    body.stack("slow", {(body.spine, "R"): ([0.0, 20.0], [(0, 0, 0), (0, 0, 3600)])})
    (clip,) = read_fbx(body.save(tmp_path / "a.fbx"))
    degrees = np.degrees(angle(multiply(inverse(clip.local_rotations[:-1, 1]), clip.local_rotations[1:, 1])))
    np.testing.assert_allclose(degrees, 6.0, atol=1e-3)


def test_a_clip_is_the_part_of_the_keys_within_the_range_of_its_stack(tmp_path: Path, body: Any) -> None:
    body.stack("part", _turning(body.spine), (0.5, 9.0))
    (clip,) = read_fbx(body.save(tmp_path / "a.fbx"))
    assert clip.frame_count == 16
    np.testing.assert_allclose(np.degrees(angle(clip.local_rotations[[0, -1], 1])), [45, 90], atol=1e-3)


@pytest.mark.parametrize(("order", "axes"), [(0, "XYZ"), (1, "XZY"), (2, "YZX"), (3, "YXZ"), (4, "ZXY"), (5, "ZYX")])
def test_rotation_orders_and_pre_and_post_rotation(tmp_path: Path, body: Any, order: int, axes: str) -> None:
    """FBX: T * pre * R * post^-1, where R turns about the first axis of the order first."""
    turn, pre, post = (10.0, -40.0, 75.0), (20.0, 30.0, -50.0), (-15.0, 5.0, 60.0)
    more = {"RotationOrder": order, "PreRotation": pre, "PostRotation": post, "RotationActive": 1}
    arm = body.node("Arm", body.spine, T=(20, 0, 0), **more)
    body.node("Hand", arm, T=(30, 0, 0))
    body.stack("turn", {(arm, "R"): ([0.0, 0.1], [turn, turn])})
    (clip,) = read_fbx(body.save(tmp_path / "a.fbx"))
    moved = from_euler(np.radians([turn["XYZ".index(a)] for a in reversed(axes)]), axes[::-1])
    fixed = [from_euler(np.radians(r[::-1]), "ZYX") for r in (pre, post)]
    expected = multiply(multiply(fixed[0], moved), inverse(fixed[1]))
    got = clip.local_rotations[:, clip.skeleton.index["Arm"]]
    np.testing.assert_allclose(angle(multiply(inverse(expected), got)), 0, atol=1e-6)


def test_a_pivot_moves_what_turns_about_it(tmp_path: Path, body: Any) -> None:
    door = body.node("Door", body.spine, RotationPivot=(10, 0, 0), RotationActive=1)
    body.node("Knob", door, T=(30, 0, 0))
    body.stack("open", _turning(door))
    (clip,) = read_fbx(body.save(tmp_path / "a.fbx"))
    np.testing.assert_allclose(_positions(clip)["Knob"][-1], [0.1, 1.7, 0], atol=ATOL_M)


@pytest.mark.parametrize("unit_cm", [1.0, 100.0, 2.54])
def test_the_declared_unit_becomes_metres(tmp_path: Path, unit_cm: float) -> None:
    fbx: Any = AsciiFbx(unit_cm)
    _chain(fbx, 100 / unit_cm, 50 / unit_cm)
    fbx.stack("turn", _turning(fbx.spine))
    (clip,) = read_fbx(fbx.save(tmp_path / "a.fbx"))
    np.testing.assert_allclose(clip.skeleton.rest_model[1][:, 1], [1.0, 1.5, 2.0], atol=ATOL_M)
    np.testing.assert_allclose(_positions(clip)["Head"][-1], [-0.5, 1.5, 0], atol=ATOL_M)


@pytest.mark.parametrize("wrong", [0.01, 100.0])
def test_a_unit_that_makes_a_body_of_absurd_size_is_not_believed(tmp_path: Path, wrong: float) -> None:
    fbx: Any = AsciiFbx()
    _chain(fbx, 100 * wrong, 50 * wrong)
    fbx.stack("slide", {(fbx.hips, "T"): ([0.0, 1.0], [(0, 100 * wrong, 0), (30 * wrong, 100 * wrong, 0)])})
    (clip,) = read_fbx(fbx.save(tmp_path / "a.fbx"))
    np.testing.assert_allclose(clip.skeleton.rest_model[1][:, 1], [1.0, 1.5, 2.0], atol=ATOL_M)
    np.testing.assert_allclose(clip.root_positions[-1], [0.3, 1, 0], atol=ATOL_M)


def test_z_up_is_set_upright(tmp_path: Path) -> None:
    fbx: Any = AsciiFbx(up="Z")
    fbx.hips = fbx.node("Hips", T=(0, 0, 100))
    fbx.node("Front", fbx.hips, T=(0, -50, 0))
    fbx.stack("slide", {(fbx.hips, "T"): ([0.0, 1.0], [(0, 0, 100), (0, -30, 100)])})
    (clip,) = read_fbx(fbx.save(tmp_path / "a.fbx"))
    positions = _positions(clip)
    np.testing.assert_allclose(positions["Hips"][[0, -1]], [[0, 1, 0], [0, 1, 0.3]], atol=ATOL_M)
    np.testing.assert_allclose(positions["Front"][0], [0, 1, 0.5], atol=ATOL_M)


def test_parents_without_a_bone_stay_with_their_scale_and_meshes_cameras_and_lights_go(tmp_path: Path) -> None:
    fbx: Any = AsciiFbx()
    armature = fbx.node("Armature", kind="Null", T=(10, 0, 0), R=(-90, 0, 0), S=(100, 100, 100))
    fbx.hips = fbx.node("Hips", armature, T=(0, 0, 1))
    fbx.node("Head", fbx.hips, T=(0, 0, 0.5))
    for kind in ("Mesh", "Camera", "Light"):
        fbx.node(f"a {kind}", armature, kind)
    fbx.stack("turn", {(fbx.hips, "R"): ([0.0, 1.0], [(0, 0, 0), (0, 90, 0)])})
    (clip,) = read_fbx(fbx.save(tmp_path / "a.fbx"))
    assert clip.skeleton.joint_names == ("Armature", "Hips", "Head")
    positions = _positions(clip)
    np.testing.assert_allclose(positions["Hips"][0], [0.1, 1, 0], atol=ATOL_M)
    np.testing.assert_allclose(positions["Head"][[0, -1]], [[0.1, 1.5, 0], [0.6, 1, 0]], atol=ATOL_M)


@pytest.mark.parametrize(("inherit", "expected"), [(1, 1 + 2 * 0.5 + 2 * 0.5), (2, 1 + 2 * 0.5 + 0.5)])
def test_scale_is_inherited_as_the_joint_says(tmp_path: Path, inherit: int, expected: float) -> None:
    """1: the parent's scale reaches all below (RSrs). 2: it moves the joint, but not what is below (Rrs)."""
    fbx: Any = AsciiFbx()
    fbx.hips = fbx.node("Hips", T=(0, 100, 0), S=(2, 2, 2))
    fbx.spine = fbx.node("Spine", fbx.hips, T=(0, 50, 0), InheritType=inherit)
    fbx.node("Head", fbx.spine, T=(0, 50, 0), InheritType=inherit)
    fbx.stack("still", {(fbx.spine, "R"): ([0.0, 0.1], [(0, 0, 0), (0, 0, 0)])})
    (clip,) = read_fbx(fbx.save(tmp_path / "a.fbx"))
    assert clip.skeleton.joint_names == ("Hips", "Spine", "Head")
    np.testing.assert_allclose(_positions(clip)["Head"][0], [0, expected, 0], atol=ATOL_M)


def test_animated_uneven_and_mirrored_scale_keep_world_positions(tmp_path: Path, body: Any) -> None:
    arm = body.node("Arm", body.spine, T=(20, 0, 0), S=(-1, 1, 1))
    body.node("Hand", arm, T=(30, 10, 0))
    body.stack("grow", {(body.hips, "S"): ([0.0, 1.0], [(1, 1, 1), (1, 3, 0.5)])})
    (clip,) = read_fbx(body.save(tmp_path / "a.fbx"))
    np.testing.assert_allclose(_positions(clip)["Hand"][[0, -1]], [[-0.1, 1.6, 0], [-0.1, 2.8, 0]], atol=ATOL_M)
    np.testing.assert_allclose(np.linalg.norm(clip.local_rotations, axis=-1), 1, atol=1e-9)


def _turned(x: float, y: float) -> list[float]:
    """16 numbers of a node at (x, y, 0), turned by 90 degrees about Z."""
    return [0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, x, y, 0, 1]


def test_the_bind_pose_is_the_rest_pose_also_of_what_hangs_on_it(tmp_path: Path, body: Any) -> None:
    body.bind({body.hips: _turned(0, 80), body.spine: _turned(-50, 80)})  # says nothing of the head
    body.stack("turn", _turning(body.spine))
    (clip,) = read_fbx(body.save(tmp_path / "a.fbx"))
    expected = [[0, 0.8, 0], [-0.5, 0.8, 0], [-1, 0.8, 0]]
    np.testing.assert_allclose(clip.skeleton.rest_model[1], expected, atol=ATOL_M)
    np.testing.assert_allclose(_positions(clip)["Head"][0], [0, 2, 0], atol=ATOL_M)


def test_a_bind_pose_of_another_body_is_passed_over(tmp_path: Path, body: Any) -> None:
    body.bind({body.hips: _turned(0, 80), body.spine: _turned(-90, 80), body.head: _turned(-200, 80)})
    body.stack("turn", _turning(body.spine))
    (clip,) = read_fbx(body.save(tmp_path / "a.fbx"))
    np.testing.assert_allclose(clip.skeleton.rest_model[1][:, 1], [1.0, 1.5, 2.0], atol=ATOL_M)


def test_of_two_characters_the_one_that_moves_most_is_read(tmp_path: Path, body: Any) -> None:
    other = body.node("Other", T=(200, 100, 0))
    tip = body.node("Tip", other, T=(0, 50, 0))
    body.stack("both", _turning(body.spine) | _turning(other) | _turning(tip))
    (clip,) = read_fbx(body.save(tmp_path / "a.fbx"))
    assert clip.skeleton.joint_names == ("Other", "Tip")


def test_a_rig_of_empties_is_read_whole(tmp_path: Path) -> None:
    fbx: Any = AsciiFbx()
    hips = fbx.node("Hips", kind="Null", T=(0, 100, 0))
    spine = fbx.node("Spine", hips, "Null", T=(0, 50, 0))
    fbx.node("Head", spine, "Null", T=(0, 50, 0))
    fbx.stack("turn", _turning(spine))
    (clip,) = read_fbx(fbx.save(tmp_path / "a.fbx"))
    assert clip.skeleton.joint_names == ("Hips", "Spine", "Head")


def test_repeated_and_odd_names_are_told_apart(tmp_path: Path) -> None:
    fbx: Any = AsciiFbx()
    hips = fbx.node("rig:Hips ü", T=(0, 100, 0))
    fbx.node("rig:Hips ü", hips, T=(0, 50, 0))
    fbx.node("", hips, T=(50, 0, 0))
    names = read_fbx_skeleton(fbx.save(tmp_path / "a.fbx")).joint_names
    assert names[:2] == ("rig:Hips ü", "rig:Hips ü_2") and len(set(names)) == 3


@pytest.mark.parametrize("value", ["nan", "inf", "1e300"])
def test_absurd_numbers_name_the_node(tmp_path: Path, body: Any, value: str) -> None:
    body.stack("turn", {(body.spine, "T"): ([0.0, 1.0], [(0, 50, 0), (0, value, 0)])})
    with pytest.raises(FileError, match="Spine|refused"):
        read_fbx(body.save(tmp_path / "a.fbx"))


@pytest.mark.parametrize("seconds", [1e5, 9e7])
def test_absurd_lengths_are_refused(tmp_path: Path, body: Any, seconds: float) -> None:
    body.stack("long", {(body.spine, "R"): ([0.0, seconds], [(0, 0, 0), (0, 0, 90)])})
    with pytest.raises(FileError, match="lasts"):
        read_fbx(body.save(tmp_path / "a.fbx"))


def test_too_many_joints_are_refused(tmp_path: Path) -> None:
    fbx = AsciiFbx()
    parent = fbx.node("root")
    for number in range(4100):
        fbx.node(f"n{number}", parent)
    with pytest.raises(FileError, match="4101 joints, at most 4096"):
        read_fbx_skeleton(fbx.save(tmp_path / "a.fbx"))


def test_deep_chains_are_no_recursion(tmp_path: Path) -> None:
    fbx = AsciiFbx()
    node = 0
    for number in range(900):
        node = fbx.node(f"n{number}", node, T=(0, 0.2, 0))
    assert read_fbx_skeleton(fbx.save(tmp_path / "a.fbx")).joint_count == 900
    for number in range(900, 1100):
        node = fbx.node(f"n{number}", node, T=(0, 0.2, 0))
    with pytest.raises(FileError, match="deeper than"):
        read_fbx_skeleton(fbx.save(tmp_path / "b.fbx"))


def test_a_circle_of_parents_is_survived(tmp_path: Path, body: Any) -> None:
    body._connections.append(f'C: "OO",{body.hips},{body.head}')
    body.stack("turn", _turning(body.spine))
    try:
        read_fbx(body.save(tmp_path / "a.fbx"))
    except FileError as error:
        assert len(str(error)) < 400


def test_truncation_anywhere_is_survived(tmp_path: Path, body: Any) -> None:
    body.stack("turn", _turning(body.spine))
    text = body.text.encode()
    refused = 0
    for length in np.linspace(0, len(text) - 3, 25).astype(int):
        (tmp_path / "a.fbx").write_bytes(text[:length])
        try:
            read_clips(tmp_path / "a.fbx")
        except FileError as error:
            refused += 1
            assert "a.fbx" in str(error)
    assert refused >= 20
