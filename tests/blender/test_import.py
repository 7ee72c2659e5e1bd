"""Files that we write, opened in Blender: its joints are where ours are, on every frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.formats import read_clips, write_clip
from animoe.motion.clip import Clip
from animoe.rig.skeleton import Skeleton

from .conftest import lively_clip, rig

pytestmark = [pytest.mark.slow, pytest.mark.blender]

ATOL_M = 1e-3
SUFFIXES = (".bvh", ".glb", ".fbx")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blender_has_the_joints_where_we_have_them(blender: Any, clip: Clip, suffix: str, tmp_path: Path) -> None:
    write_clip(tmp_path / f"a{suffix}", clip)
    assert_same_places(blender, tmp_path / f"a{suffix}", clip)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("frame_rate_hz", [24.0, 30000 / 1001, 60.0, 120.0])
def test_every_frame_rate_keeps_its_frames(blender: Any, frame_rate_hz: float, suffix: str, tmp_path: Path) -> None:
    clip = lively_clip(rig("mixamo"), frame_rate_hz)
    write_clip(tmp_path / f"a{suffix}", clip)
    assert_same_places(blender, tmp_path / f"a{suffix}", clip)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_single_frame_is_a_pose(blender: Any, suffix: str, tmp_path: Path) -> None:
    clip = lively_clip(rig("smplx"), frame_count=8).trimmed(0.2, 0.2)
    assert clip.frame_count == 1
    write_clip(tmp_path / f"a{suffix}", clip)
    found = blender.positions(blender.measure(tmp_path / f"a{suffix}", clip), clip.skeleton.joint_names)
    np.testing.assert_allclose(found, clip.world()[1], atol=ATOL_M)


def test_a_clip_in_the_users_own_glb_plays_there(blender: Any, tmp_path: Path) -> None:
    """The template has another animation, a mesh that is skinned to its joints, and nodes above them."""
    clip = lively_clip(rig("mixamo"))
    write_clip(tmp_path / "template.glb", replace(clip, name="before").trimmed(0.0, 0.1))
    write_clip(tmp_path / "a.glb", clip, template=tmp_path / "template.glb")
    assert [found.name for found in read_clips(tmp_path / "a.glb")] == ["before", "lively"]
    assert_same_places(blender, tmp_path / "a.glb", clip, action="lively")


def test_a_clip_in_a_glb_that_blender_made_plays_there(blender: Any, tmp_path: Path) -> None:
    """The armature object is moved and turned, and animated by our clip as the joint above the bones."""
    job = {"do": "act", "seed": 2, "frames": 4, "frame_rate_hz": 30.0, "out": "positions.npy"}
    blender.run({**job, "exports": [str(tmp_path / "template.glb")]})
    clip = lively_clip(read_clips(tmp_path / "template.glb")[0].skeleton)
    assert clip.skeleton.joint_names[0] == "Rig"
    write_clip(tmp_path / "a.glb", clip, template=tmp_path / "template.glb")
    result = blender.measure(tmp_path / "a.glb", clip, action="lively")
    found = blender.positions(result, clip.skeleton.joint_names[1:])
    np.testing.assert_allclose(found, clip.world()[1][:, 1:], atol=ATOL_M)


def test_an_fbx_has_the_take_the_bones_and_the_size_that_were_written(blender: Any, tmp_path: Path) -> None:
    skeleton = rig("ue5_manny")
    write_clip(tmp_path / "a.fbx", replace(lively_clip(skeleton), name="walk_sad"))
    (scene,) = blender.run({"do": "inspect_fbx", "file": str(tmp_path / "a.fbx")})
    assert scene["actions"] == ["Armature|walk_sad"]  # Blender's importer puts the object's name before the take's
    assert sorted(scene["bones"]) == sorted(skeleton.joint_names)
    assert set(scene["groups"]) == set(skeleton.joint_names)
    highest = skeleton.rest_model[1][:, 1].max()
    assert highest - 0.01 < scene["height"] < highest + 0.2


def test_a_joint_may_be_called_as_the_armature_object(blender: Any, tmp_path: Path) -> None:
    skeleton = Skeleton.build(["Armature", "bones", "Armature.001"], [-1, 0, 1], [[0, 1, 0]] * 3)
    clip = lively_clip(skeleton)
    for suffix in (".glb", ".fbx"):
        write_clip(tmp_path / f"a{suffix}", clip)
        assert_same_places(blender, tmp_path / f"a{suffix}", clip)


def test_names_that_blender_cuts_stay_apart(blender: Any, tmp_path: Path) -> None:
    stem = "a_very_long_name_" * 5
    skeleton = Skeleton.build([f"{stem}{i}" for i in range(3)], [-1, 0, 1], [[0, 1, 0]] * 3)
    clip = lively_clip(skeleton)
    write_clip(tmp_path / "a.fbx", clip)
    result = blender.measure(tmp_path / "a.fbx", clip)
    assert len(set(result["bones"])) == 3 and all(len(name) <= 63 for name in result["bones"])
    found = blender.positions(result, tuple(result["bones"]))
    np.testing.assert_allclose(found, clip.world()[1], atol=ATOL_M)


def assert_same_places(blender: Any, file: Path, clip: Clip, action: str = "") -> None:
    result = blender.measure(file, clip, action=action)
    assert result["frames"] == pytest.approx(clip.frame_count, abs=1e-3)
    found = blender.positions(result, clip.skeleton.joint_names)
    np.testing.assert_allclose(found, clip.world()[1], atol=ATOL_M)
