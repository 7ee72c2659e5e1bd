"""`animoe convert`, as a user calls it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.cli import main
from animoe.cli.progress import Progress
from animoe.formats import read_clips, write_clip, write_clips
from animoe.motion.clip import Clip
from animoe.rig import canonical_skeleton
from animoe.rig.rotations import IDENTITY


def standing(name: str, frame_count: int = 12) -> Clip:
    """Stands in a T-pose and drifts along +Z."""
    root = np.tile(canonical_skeleton().rest_translations[0], (frame_count, 1))
    root[:, 2] += np.arange(frame_count) * 0.02
    return Clip.from_root(canonical_skeleton(), 30.0, np.tile(IDENTITY, (frame_count, 22, 1)), root, name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """in/: walk.bvh, pack.glb with two clips, deep/bad.bvh; it is the current folder's."""
    (tmp_path / "in/deep").mkdir(parents=True)
    write_clip(tmp_path / "in/walk.bvh", standing("walk"))
    write_clips(tmp_path / "in/pack.glb", [standing("idle"), standing("run")])
    (tmp_path / "in/deep/bad.bvh").write_text("HIERARCHY\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def loaded_by_help() -> set[str]:
    code = (
        "import sys\nfrom animoe.cli import main\ntry:\n    main(['convert', '--help'])\nexcept SystemExit:\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code + "print(*sys.modules)"], capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_waits_for_nothing() -> None:
    loaded = loaded_by_help()
    assert "animoe.cli.convert_flags" in loaded
    assert loaded.isdisjoint({"numpy", "animoe.formats", "animoe.conversion", "PIL", "multiprocessing"})


def test_a_file_onto_a_rig(folder: Path, capsys: Any) -> None:
    assert main(["convert", "in/walk.bvh", "walk.glb", "--rig", "ue5_manny", "--fps", "60", "--in-place"]) == 0
    assert capsys.readouterr().out == "wrote walk.glb: 23 frames (0.38 s at 60 fps), 26 joints, 'walk'\n"
    assert "upperarm_l" in read_clips("walk.glb")[0].skeleton.joint_names


def test_a_folder_survives_a_bad_file_which_is_named_at_the_end(folder: Path, capsys: Any) -> None:
    assert main(["convert", "in", "out", "--to", "bvh", "--rig", "mixamo"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("animoe: in/deep/bad.bvh") and len(printed.err.splitlines()) == 1
    assert "converted 3 clips of 3 files" in printed.out and "problems in 1 of them" in printed.out
    written = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.*"))
    assert written == ["pack@idle.bvh", "pack@run.bvh", "walk.bvh"]


def test_programs_get_everything_as_one_json_document(folder: Path, capsys: Any) -> None:
    assert main(["convert", "in", "out", "--json", "--report", "rep"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert sorted(clip["clip"] for clip in document["written"]) == ["idle", "run", "walk"]
    assert [row["source"] for row in document["failed"]] == ["in/deep/bad.bvh"] and document["files"] == 3
    assert document["written"][0]["quality"]["measures"].keys() == document["summary"].keys()
    assert json.loads(Path("rep/report.json").read_text())["summary"] == document["summary"]


def test_a_name_that_the_terminal_cannot_show_is_no_error(folder: Path) -> None:
    Path("in/walk.bvh").rename("in/歩く.bvh")
    command = [sys.executable, "-m", "animoe.cli", "convert", "in/歩く.bvh", "out"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "") and "wrote out/\\u6b69\\u304f.glb" in done.stdout
    assert Path("out/歩く.glb").is_file()


def test_a_report_is_printed_as_a_table(folder: Path, capsys: Any) -> None:
    assert main(["convert", "in/walk.bvh", "walk.glb", "--rig", "mixamo", "--report", "rep.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["measure", "unit", "median"]
    assert lines[2].startswith("foot slide") and lines[-1].endswith(": rep.json")
    assert Path("rep/walk.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.bvh", "out.glb"], "nothing.bvh: no such file or folder"),
        (["in", "in"], "in is the folder that is read"),
        (["in", "out", "--rig", "manny"], "unknown rig 'manny'"),
        (["in", "out", "--rig", "gone.glb"], "gone.glb: no such file"),
        (["in", "out", "--rig", "mixamo", "--mapping", "gone.json"], "gone.json: cannot be opened"),
        (["in", "out", "--in-place", "--root-motion", "world"], "--in-place contradicts --root-motion world"),
        (["in", "out", "--jobs", "0"], "--jobs must be 1 or more"),
        (["in", "out", "--fps", "0"], "--fps must be between 1 and 1000"),
        (["in", "out", "--to", "bvh", "--one-file"], "--one-file makes .glb files; out would hold .bvh"),
        (["in", "out", "--to", "npz", "--into", "hero.glb"], "--into makes .glb files; out would hold .npz"),
        (["in/walk.bvh", "walk.mp4"], "walk.mp4 must be a folder or end in"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_changes_nothing(
    arguments: list[str], sentence: str, folder: Path, capsys: Any
) -> None:
    assert main(["convert", *arguments]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and len(printed.err.splitlines()) == 1 and printed.out == ""
    assert [path.name for path in Path().iterdir()] == ["in"]


def test_fbx_without_a_blender_is_refused_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("ANIMOE_BLENDER_PYTHON", str(folder / "no-blender"))
    assert main(["convert", "in", "out", "--to", "fbx"]) == 2
    assert "it takes Blender to make this file" in capsys.readouterr().err and not Path("out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_whole_files_and_no_process(folder: Path, tmp_path: Path, how: signal.Signals) -> None:
    write_clip(tmp_path / "in/walk.bvh", standing("walk", 400))
    content = (tmp_path / "in/walk.bvh").read_bytes()
    for number in range(150):
        (tmp_path / f"in/walk_{number}.bvh").write_bytes(content)
    command = [sys.executable, "-m", "animoe.cli", "convert", "in", "out", "--rig", "mixamo", "--jobs", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_for(lambda: len(list(tmp_path.glob("out/*.glb"))) > 3)
        os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)
        _, error = process.communicate(timeout=90)
    finally:
        process.kill()
    assert error.startswith("animoe: stopped; ") and len(error.splitlines()) == 1, error
    assert process.returncode == 130
    written = list((tmp_path / "out").iterdir())
    assert 3 < len(written) < 150 and {path.suffix for path in written} == {".glb"}
    assert all(read_clips(path)[0].frame_count in (12, 400) for path in written)
    wait_for(lambda: not group_lives(process.pid))


def wait_for(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_counts_at_a_terminal_and_is_silent_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        progress = Progress(2, "files", stream)
        progress.advance()
        progress.advance()
        progress.clear()
    assert "1 of 2 files, 0 s left" in terminal.getvalue() and "2 of 2 files" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r") and pipe.getvalue() == ""
