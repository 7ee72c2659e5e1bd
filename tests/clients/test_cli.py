"""The command line, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.cli import main
from animoe.formats import read_clips

HEAVY = ("torch", "onnxruntime", "tokenizers", "animoe.engine", "animoe.serving")


def modules_after(*arguments: str) -> set[str]:
    """What is imported when a command has ended."""
    code = (
        "import sys\nfrom animoe.cli import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["pack", "import", "--help"],
        ["scenario", "--help"],
        ["generate", "--help"],
        ["serve", "--prot", "1"],
        ["bogus"],
    ],
)
def test_help_and_wrong_flags_import_nothing_of_weight(arguments: list[str]) -> None:
    assert modules_after(*arguments).isdisjoint((*HEAVY, "grpc", "numpy"))


def test_commands_that_ask_a_server_import_no_inference_stack(target: str, tmp_path: Path) -> None:
    out = str(tmp_path / "clip.glb")
    loaded = modules_after("generate", "a person walks", "--seconds", "0.2", "--out", out, "--server", target)
    assert Path(out).is_file() and loaded.isdisjoint(HEAVY)
    assert modules_after("stream", "a person walks", "--seconds", "0.2", "--server", target).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generate", "walk", "--out", "clip.mp4"], "--out clip.mp4 must end in .bvh or .glb"),
        (["generate", "walk", "--out", "missing/clip.glb"], "there is no folder"),
        (["generate", "", "--out", "clip.glb"], "the prompt is empty"),
        (["generate", "walk", "--emotion", "bored", "--out", "clip.glb"], "unknown emotion 'bored'"),
        (["generate", "walk", "--emotion", "sad", "--intensity", "3", "--out", "clip.glb"], "between 0 and 2"),
        (["generate", "walk", "--rig", "manny", "--out", "clip.glb"], "unknown rig 'manny'; choose from ue5_manny"),
        (["generate", "walk", "--seconds", "0", "--out", "clip.glb"], "seconds must be between"),
        (["generate", "walk", "--seed", "-1", "--out", "clip.glb"], "seed must be between"),
        (["generate", "walk", "--out", "clip.glb", "--server", "127.0.0.1:1"], "start one with 'animoe serve'"),
        (["generate", "walk", "--out", "clip.glb", "--bundle", "nowhere"], "nowhere is not a bundle"),
        (["stream", "walk", "--server", "127.0.0.1:1"], "start one with 'animoe serve'"),
        (["stream", "walk", "--seconds", "0"], "--seconds must be above 0"),
        (["stream", "walk", "--first", "wave"], "--first 'wave' must end in a colon and seconds"),
        (["preview", "nothing.bvh", "--out", "sheet.png"], "nothing.bvh: no such file"),
        (["preview", "clip.bvh", "--out", "sheet.mp4"], "must end in .png or .jpg or .gif"),
        (["serve", "--port", "70000"], "--port must be between 0 and 65535"),
        (["serve", "--idle-cut", "-1"], "--idle-cut must be 0 (never) or more seconds"),
        (["demo", "--out", "a_file"], "--out a_file cannot be used as a folder"),
    ],
)
def test_a_user_error_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a_file").touch()
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and len(printed.err.splitlines()) == 1
    assert printed.out == "" and [path.name for path in tmp_path.iterdir()] == ["a_file"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "animoe: the following arguments are required: COMMAND; see animoe --help"),
        (["generate", "walk"], "animoe generate: the following arguments are required: --out"),
        (["generate", "walk", "--out", "x.glb", "--seconds", "long"], "invalid float value: 'long'"),
        (["generate", "walk", "--out", "x.glb", "--sed", "1"], "unrecognized arguments: --sed 1"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_exit_code_2(arguments: list[str], sentence: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in error and len(error.splitlines()) == 1


def test_generate_makes_the_same_clip_with_and_without_a_server(target: str, tmp_path: Path, capsys: Any) -> None:
    flags = ["generate", "a person walks", "--emotion", "sad", "--seconds", "1", "--rig", "ue5_manny", "--seed", "7"]
    printed = []
    for name, more in (("here.glb", []), ("there.glb", ["--server", target])):
        assert main([*flags, "--out", str(tmp_path / name), "--json", *more]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    here, there = (read_clips(tmp_path / name)[0] for name in ("here.glb", "there.glb"))
    assert here.frame_count == 30 and here.skeleton.joint_names == there.skeleton.joint_names
    np.testing.assert_allclose(here.local_rotations, there.local_rotations, atol=1e-5)
    np.testing.assert_allclose(here.local_translations, there.local_translations, atol=1e-5)
    for figures in printed:
        assert (figures["frames"], figures["seconds"], figures["seed"], figures["rig"]) == (30, 1.0, 7, "ue5_manny")
        assert figures["first_frame_ms"] > 0 and figures["real_time_factor"] > 0
    assert printed[0]["bundle_digest"] == printed[1]["bundle_digest"]


def test_generate_writes_bvh_and_says_what_it_did(target: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "clip.bvh"
    assert main(["generate", "a person walks", "--seconds", "0.5", "--out", str(out), "--server", target]) == 0
    assert f"wrote {out}: 15 frames (0.5 s) on ue5_manny" in capsys.readouterr().out
    assert read_clips(out)[0].frame_count == 15


def test_stream_prints_each_block_as_it_arrives(target: str, capsys: Any) -> None:
    assert main(["stream", "a person walks forward", "--seconds", "1", "--server", target, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frame"] for line in lines][:8] == list(range(0, 32, 4))
    assert all(len(line["root_m"]) == 3 and 0 < line["root_m"][1] < 2 for line in lines)
    assert all(line["early_ms"] > -150 for line in lines)


def test_stream_does_what_comes_first_first(target: str, capsys: Any) -> None:
    flags = ["stream", "a person stands still", "--seconds", "0.8", "--server", target, "--json"]
    assert main([*flags, "--first", "a person walks forward:0.4", "--pace", "1.5", "--buffer", "0.5"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["frame"] >= 18 and len({line["frame"] for line in lines}) == len(lines)


def test_stream_for_people_ends_with_a_count(target: str, capsys: Any) -> None:
    assert main(["stream", "a person walks forward", "--seconds", "0.5", "--server", target]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("frame     0  root (") and " m/s " in lines[0]
    assert "frames (stopped)" in lines[-1]


def test_rigs_are_listed_for_people_and_programs(capsys: Any) -> None:
    assert main(["rigs"]) == 0
    assert any(line.startswith("ue5_manny ") for line in capsys.readouterr().out.splitlines())
    assert main(["rigs", "--json"]) == 0
    rigs = {rig["name"]: rig for rig in json.loads(capsys.readouterr().out)}
    assert rigs["ue5_manny"]["frame"] == "unreal" and rigs["ue5_manny"]["joint_count"] > 20


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_preview_draws_files_of_any_kind_side_by_side(target: str, tmp_path: Path, suffix: str, capsys: Any) -> None:
    from PIL import Image

    files = [tmp_path / "a.glb", tmp_path / "b.bvh"]
    for file in files:
        assert main(["generate", "walk", "--seconds", "0.4", "--out", str(file), "--server", target]) == 0
    out = tmp_path / f"picture{suffix}"
    assert main(["preview", *map(str, files), "--out", str(out)]) == 0
    assert f"wrote {out}: 2 clips" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.width > 300 and np.asarray(picture.convert("L")).std() > 5


def test_demo_streams_three_takes_and_leaves_files_and_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "animoe.cli", "demo", "--out", str(out), "--seconds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    for emotion in ("sad", "neutral", "happy"):
        assert f"{emotion}: first frame after" in done.stdout
        assert {read_clips(out / f"{emotion}{suffix}")[0].frame_count for suffix in (".glb", ".bvh")} == {30}
    assert "times real time" in done.stdout and (out / "takes.png").stat().st_size > 10_000


def test_demo_passes_on_why_its_server_did_not_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "animoe.cli", "demo", "--out", str(tmp_path), "--bundle", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{tmp_path} is not a bundle" in done.stderr
