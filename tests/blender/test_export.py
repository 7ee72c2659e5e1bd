"""Files that Blender exports, read back: our joints are where Blender had them, on every frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.formats import read_clips, write_clip
from animoe.formats.bvh import read_bvh
from animoe.motion.clip import Clip

pytestmark = [pytest.mark.slow, pytest.mark.blender]

ATOL_M = 1e-3


@pytest.mark.parametrize("suffix", [".glb", ".bvh", ".fbx"])
def test_our_glb_exported_by_blender_reads_the_same(blender: Any, clip: Clip, suffix: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "ours.glb", clip)
    exported = tmp_path / f"blender{suffix}"
    result = blender.measure(tmp_path / "ours.glb", clip, str(exported))
    assert_same_places(exported, blender, result, clip.frame_count)


@pytest.mark.parametrize("suffix", [".glb", ".bvh", ".fbx"])
def test_an_animation_made_in_blender_reads_the_same(blender: Any, suffix: str, tmp_path: Path) -> None:
    """A turned and moved armature object, connected bones with rolls, Euler keys."""
    exported = tmp_path / f"act{suffix}"
    job = {"do": "act", "seed": 2, "frames": 40, "frame_rate_hz": 30.0, "out": "positions.npy"}
    (result,) = blender.run({**job, "exports": [str(exported)]})
    assert_same_places(exported, blender, result, 40)


def assert_same_places(file: Path, blender: Any, result: dict[str, Any], frames: int) -> None:
    """The file's joints against Blender's; those of a BVH in the armature's own axes (Z up), which are the file's."""
    human = "spine" in " ".join(result["bones"]).lower()
    (back,) = read_clips(file) if human or file.suffix != ".bvh" else [read_bvh(file)]  # of others a unit says nothing
    names = [name for name in back.skeleton.joint_names if name in result["bones"]]
    assert len(names) == len(result["bones"]) and back.frame_count == frames
    wanted = blender.positions(result, tuple(names))
    if file.suffix == ".bvh":
        at = [result["bones"].index(name) for name in names]
        into = np.linalg.inv(result["object"])
        wanted = np.load(blender.folder / result["positions"])[:, at] @ into[:3, :3].T + into[:3, 3]
    found = back.world()[1][:, [back.skeleton.index[name] for name in names]]
    np.testing.assert_allclose(found, wanted, atol=ATOL_M)
