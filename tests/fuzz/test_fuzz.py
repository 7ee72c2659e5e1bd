"""The fuzzer itself: its seeds are good files, it finds a planted fault, and a short run finds none in the readers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import fuzz
import pytest
from seeds import make_seeds

from animoe.errors import FileError


def test_every_seed_is_read(tmp_path: Path) -> None:
    suffixes = set()
    for number, (suffix, data) in enumerate(make_seeds()):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(data)
        assert fuzz.check(path) == "read", path
        suffixes.add(suffix)
    assert suffixes == {".bvh", ".glb", ".gltf", ".fbx", ".npz"}


@pytest.mark.parametrize("suffix", ["bvh", "glb", "gltf", "fbx", "npz"])
def test_a_short_run_finds_nothing(tmp_path: Path, suffix: str) -> None:
    assert fuzz.run(20.0, 7, tmp_path, (suffix,), cases=12) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["exception", "nan", "message"])
def test_a_planted_fault_is_found_kept_and_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    real = fuzz.read_clips

    def faulty(path: Path) -> Any:
        if fault == "exception":
            raise KeyError("x")
        if fault == "message":
            raise FileError("another file", "something")
        clips = real(path)
        clips[0].local_translations[0, 0] = float("nan")
        return clips

    monkeypatch.setattr(fuzz, "read_clips", faulty)
    kept = fuzz.run(20.0, 7, tmp_path, ("bvh",), cases=12)
    assert kept and all(path.is_file() for path in kept)
    assert f"--once {kept[0]}" in capsys.readouterr().err
    with pytest.raises(fuzz.Failure):
        fuzz.check(kept[0])


def test_the_one_liner_reads_a_file_again(tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text("HIERARCHY")
    command = [sys.executable, fuzz.__file__, "--once", str(tmp_path / "a.bvh")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "refused\n"


def test_the_same_seed_gives_the_same_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        fuzz.run(20.0, 3, tmp_path, ("glb",), cases=30)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
