"""Finding and running a Blender; here stand-ins, the real one is asked in tests/blender."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from animoe.errors import FileError, InvalidRequest
from animoe.formats import write_clip
from animoe.formats.blender import VARIABLE, blender_command, run_in_blender
from animoe.formats.fbx_writer import MAX_FRAMES, WORKER
from animoe.motion.clip import Clip

WANTED = Path("walk.fbx")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="stand-ins are shell scripts")


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], Path]:
    """Makes an executable shell script of the given name and body."""

    def make(name: str, body: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def chosen(program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has ANIMOE_BLENDER_PYTHON name a script with the given body."""
    return lambda body: monkeypatch.setenv(VARIABLE, str(program("python", body)))


no_bpy_here = pytest.mark.skipif(find_spec("bpy") is not None, reason="bpy of this environment comes first")


@no_bpy_here
def test_without_blender_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(
        FileError, match=r"^walk.fbx: it takes Blender.*no Blender was found.*pip install 'animoe\[blend"
    ):
        blender_command(WORKER, WANTED, {"PATH": str(tmp_path)})


def test_a_choice_that_cannot_be_run_is_named() -> None:
    with pytest.raises(FileError, match=f"{VARIABLE} names '/gone/python', which cannot be run"):
        blender_command(WORKER, WANTED, {VARIABLE: "/gone/python"})


def test_a_python_runs_the_script_and_blender_is_told_to(program: Callable[[str, str], Path], tmp_path: Path) -> None:
    python, blender = program("python3.11", ""), program("blender-4.5", "")
    assert blender_command(WORKER, WANTED, {VARIABLE: str(python)}) == [str(python), str(WORKER)]
    command = blender_command(WORKER, WANTED, {VARIABLE: str(blender)})
    assert command[0] == str(blender) and command[-3:] == ["--python", str(WORKER), "--"]
    assert {"--background", "--factory-startup"} < set(command)


@no_bpy_here
def test_blender_on_the_path_is_found(program: Callable[[str, str], Path], tmp_path: Path) -> None:
    blender = program("blender", "")
    assert blender_command(WORKER, WANTED, {"PATH": str(tmp_path)})[0] == str(blender)


def test_a_failure_carries_the_last_line_and_leaves_the_old_file(
    chosen: Callable[[str], None], clip: Clip, tmp_path: Path
) -> None:
    chosen("echo working; echo 'ValueError: no such bone.' >&2; exit 3")
    out = tmp_path / "walk.fbx"
    out.write_text("old")
    with pytest.raises(FileError, match=r"failed with status 3: ValueError: no such bone\.$"):
        write_clip(out, clip)
    assert out.read_text() == "old" and sorted(p.name for p in tmp_path.iterdir()) == ["python", "walk.fbx"]


def test_a_blender_that_says_nothing_and_writes_nothing_is_reported(
    chosen: Callable[[str], None], clip: Clip, tmp_path: Path
) -> None:
    chosen("exit 0")
    with pytest.raises(FileError, match="left no file"):
        write_clip(tmp_path / "walk.fbx", clip)
    chosen("kill -9 $$")
    with pytest.raises(FileError, match="status -9: it printed nothing"):
        write_clip(tmp_path / "walk.fbx", clip)


def test_a_blender_that_hangs_is_ended(chosen: Callable[[str], None], tmp_path: Path) -> None:
    chosen("exec sleep 60")
    with pytest.raises(FileError, match="did not finish in 0 s"):
        run_in_blender(WORKER, tmp_path, wanted=WANTED, timeout_s=0.3)


def test_the_worker_says_what_it_lacks(chosen: Callable[[str], None], clip: Clip, tmp_path: Path) -> None:
    chosen(f'exec "{sys.executable}" -S "$@"')  # without site-packages there is no bpy
    with pytest.raises(FileError, match="ModuleNotFoundError: No module named 'bpy'"):
        write_clip(tmp_path / "walk.fbx", clip)


def test_a_clip_without_frames_or_with_too_many_is_refused_before_blender_starts(
    chosen: Callable[[str], None], clip: Clip, tmp_path: Path
) -> None:
    chosen("echo started; exit 9")
    empty = replace(clip, local_rotations=clip.local_rotations[:0], local_translations=clip.local_translations[:0])
    with pytest.raises(InvalidRequest, match="no frames"):
        write_clip(tmp_path / "walk.fbx", empty)
    long = clip.resampled(clip.frame_rate_hz * MAX_FRAMES / 10)
    with pytest.raises(FileError, match=f"at most {MAX_FRAMES}"):
        write_clip(tmp_path / "walk.fbx", long)
