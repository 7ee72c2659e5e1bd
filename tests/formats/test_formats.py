"""Files by extension."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.errors import FileError
from animoe.formats import read_clips, write_clip
from animoe.motion.clip import Clip


@pytest.mark.parametrize("name", ["a.obj", "a", "a.bvh.zip"])
def test_unsupported_extensions_are_refused_with_the_supported_ones(tmp_path: Path, clip: Clip, name: str) -> None:
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(FileError, match=r"cannot be read.*\.bvh, \.glb, \.gltf"):
        read_clips(tmp_path / name)
    with pytest.raises(FileError, match=r"cannot be written.*\.bvh, \.glb"):
        write_clip(tmp_path / name, clip)


@pytest.mark.parametrize("name", ["gone.bvh", "gone.glb", "gone.gltf", "folder.glb", "folder.bvh"])
def test_missing_files_and_folders_are_refused(tmp_path: Path, name: str) -> None:
    for folder in ("folder.glb", "folder.bvh"):
        (tmp_path / folder).mkdir()
    with pytest.raises(FileError, match="no such file"):
        read_clips(tmp_path / name)


@pytest.mark.parametrize("name", ["a.glb", "B.GLB", "a.bvh", "B.Bvh"])
def test_what_is_written_is_read_back(tmp_path: Path, clip: Clip, name: str) -> None:
    write_clip(tmp_path / name, clip)
    (back,) = read_clips(str(tmp_path / name))
    order = [back.skeleton.index[joint] for joint in clip.skeleton.joint_names]
    np.testing.assert_allclose(back.world()[1][:, order], clip.world()[1], atol=2e-6)


def test_gltf_with_embedded_data_is_read(tmp_path: Path, moved: Any) -> None:
    assert read_clips(moved.save(tmp_path / "a.gltf"))[0].name == "move"


def test_writing_replaces_a_file_whole_and_keeps_it_readable_for_others(tmp_path: Path, clip: Clip) -> None:
    target = tmp_path / "a.bvh"
    target.write_text("x" * 10_000_000)
    write_clip(target, clip)
    assert read_clips(target)[0].frame_count == clip.frame_count
    assert [p.name for p in tmp_path.iterdir()] == ["a.bvh"]
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_importing_the_package_does_not_load_numpy() -> None:
    code = "import sys, animoe.formats; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
