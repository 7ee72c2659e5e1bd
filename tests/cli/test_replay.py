"""`animoe replay`: recordings of a session, good and bad, as a user performs them again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.cli import main
from animoe.cli import replay as command
from animoe.engine import Engine, Recording, Sampling, SessionRequest
from animoe.formats import read_clips
from animoe.retarget.profiles import rig_profile
from animoe.serving.recordings import RecordedSession
from animoe.v1 import skeleton_pb2

BLOCKS = 20


@pytest.fixture(autouse=True)
def shipped_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs this may have learnt something."""
    monkeypatch.setenv("ANIMOE_BUNDLE", str(tmp_path / "nothing"))


@pytest.fixture(scope="module")
def text(engine: Engine) -> str:
    """Of a recorded session: 20 blocks, 2 controls, on Manny in Unreal's frame."""
    session = engine.open_session(SessionRequest("a person walks forward", None, Sampling(4)), recorded=True)
    for number in range(BLOCKS):
        if number == 8:
            session.set_prompt("a person waves")
            session.set_pace(1.5)
        session.next_block()
    rig = skeleton_pb2.RigSelection(profile="ue5_manny", frame=skeleton_pb2.ENGINE_FRAME_UNREAL)
    digest = rig_profile("ue5_manny").skeleton.digest
    return RecordedSession(session.recording(), rig, digest, "00ff00ff00ff00ff", "2026-11-21T08:30:00Z").to_json()


@pytest.fixture
def file(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "session.json"
    path.write_text(text)
    return path


def figures(capsys: Any, *arguments: object) -> dict[str, Any]:
    assert main(["replay", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


class TestReplaying:
    def test_twice_is_the_same(self, file: Path, capsys: Any) -> None:
        first = figures(capsys, file)
        assert (first["rig"], first["frame"], first["tokens"], first["controls"]) == ("ue5_manny", "unreal", BLOCKS, 2)
        assert 60 < first["frames"] < BLOCKS * 4, "a higher pace makes fewer frames"
        assert figures(capsys, file)["digest"] == first["digest"]
        assert main(["replay", str(file)]) == 0
        out = capsys.readouterr().out
        assert f"session 00ff00ff00ff00ff of 2026-11-21T08:30:00Z: {first['frames']} frames" in out
        assert f"frames {first['digest']}\n" in out

    @pytest.mark.parametrize("suffix", [".glb", ".bvh", ".npz"])
    def test_it_writes_a_motion_file(self, suffix: str, file: Path, tmp_path: Path, capsys: Any) -> None:
        out = tmp_path / f"clip{suffix}"
        found = figures(capsys, file, "--out", out)
        (clip,) = read_clips(out)
        assert clip.frame_count == found["frames"] and found["out"] == str(out)
        assert clip.skeleton.joint_count == rig_profile("ue5_manny").skeleton.joint_count

    def test_the_frame_changes_the_numbers_and_not_the_file(self, file: Path, tmp_path: Path, capsys: Any) -> None:
        own = figures(capsys, file, "--out", tmp_path / "own.npz")
        unity = figures(capsys, file, "--frame", "unity", "--out", tmp_path / "unity.npz")
        assert own["digest"] != unity["digest"] and unity["frame"] == "unity"
        a, b = (read_clips(tmp_path / f"{name}.npz")[0] for name in ("own", "unity"))
        np.testing.assert_allclose(a.world()[1], b.world()[1], atol=1e-5)

    def test_another_rig(self, file: Path, tmp_path: Path, capsys: Any) -> None:
        found = figures(capsys, file, "--rig", "mixamo", "--out", tmp_path / "clip.bvh")
        assert found["rig"] == "mixamo"
        assert read_clips(tmp_path / "clip.bvh")[0].skeleton.joint_names[0] == "mixamorig:Hips"

    def test_a_part_is_the_same_part(self, file: Path, tmp_path: Path, capsys: Any) -> None:
        figures(capsys, file, "--out", tmp_path / "all.npz")
        found = figures(capsys, file, "--start", 0.5, "--end", 1.7, "--out", tmp_path / "part.npz")
        whole, part = (read_clips(tmp_path / f"{name}.npz")[0] for name in ("all", "part"))
        assert (found["frames"], part.frame_count) == (51, 36)
        np.testing.assert_array_equal(part.local_rotations, whole.local_rotations[15:51])

    def test_a_recording_of_the_engine_alone(self, text: str, tmp_path: Path, capsys: Any) -> None:
        path = tmp_path / "engine.json"
        path.write_text(json.dumps(json.loads(text)["recording"]))
        found = figures(capsys, path, "--rig", "ue5_manny", "--frame", "unreal")
        assert main(["replay", str(path)]) == 2
        assert "name one with --rig" in capsys.readouterr().err
        other = tmp_path / "session.json"
        other.write_text(text)
        # Without the session's options feet are locked, which is what it had.
        assert found["digest"] == figures(capsys, other)["digest"]

    def test_what_is_missing_is_said(self, text: str, tmp_path: Path, capsys: Any) -> None:
        path = tmp_path / "cut.json"
        path.write_text(text.replace('"cut": false', '"cut": true'))
        assert main(["replay", str(path), "--end", "0.2"]) == 0
        assert "told more than a recording holds" in capsys.readouterr().out


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another bundle": (lambda raw: raw["recording"].update(digest="feedbeef"), "performed with bundle feedbeef"),
    "a bundle with a trick": (lambda raw: raw["recording"].update(digest="\x1b[2J\n" * 200), "performed with bundle"),
    "a damaged control": (lambda raw: raw["recording"]["controls"][0].update(token="x"), "'token' of controls[0]"),
    "a wrong pace": (lambda raw: raw["recording"]["controls"][1].update(ratio=9), "pace"),
    "an unknown control": (
        lambda raw: raw["recording"]["controls"][0].update(control="\x07" * 9999),
        "unknown control",
    ),
    "half a character": (lambda raw: raw["recording"].update(text="\ud800 walks"), "half a character"),
    "an unknown rig": (lambda raw: raw["rig"].update(profile="ue5_many"), "unknown rig 'ue5_many'; choose from"),
    "another rig of this name": (lambda raw: raw.update(rig_digest="0"), "is not what it was"),
    "no root bone": (
        lambda raw: raw["rig"].update(profile="mixamo", options={"root_motion": "ROOT_MOTION_ROOT_BONE"}),
        "mixamo",
    ),
    "something else": (lambda raw: raw.clear(), "lacks 'format'"),
}


class TestErrors:
    @pytest.mark.parametrize("name", SPOILT)
    def test_one_line_says_what_is_wrong(self, name: str, text: str, tmp_path: Path, capsys: Any) -> None:
        spoil, sentence = SPOILT[name]
        raw = json.loads(text)
        spoil(raw)
        (tmp_path / "session.json").write_text(json.dumps(raw))
        self.refused(capsys, sentence, tmp_path / "session.json")

    @pytest.mark.parametrize("content", [b"", b"glTF\x02\x00", b"[" * 90_000, b"null", b"\xff\xfe", b'{"a": 1e999}'])
    def test_other_files(self, content: bytes, tmp_path: Path, capsys: Any) -> None:
        (tmp_path / "x.json").write_bytes(content)
        self.refused(capsys, f"{tmp_path / 'x.json'}: ", tmp_path / "x.json")

    @pytest.mark.parametrize("content", ["missing.json", ".", "x" * 5000])
    def test_no_file(self, content: str, tmp_path: Path, capsys: Any) -> None:
        self.refused(capsys, "", tmp_path / content)

    @pytest.mark.parametrize(
        ("flags", "sentence"),
        [
            (["--out", "clip.mp4"], "--out clip.mp4 must end in"),
            (["--out", "missing/clip.glb"], "there is no folder"),
            (["--rig", "manny"], "unknown rig 'manny'; choose from ue5_manny"),
            (["--start", "3", "--end", "2"], "--start 3 and --end 2"),
            (["--start", "-1"], "--start -1"),
            (["--start", "nan"], "--start nan"),
            (["--start", "900", "--out", "clip.glb"], "--start 900 is behind the end"),
            (["--bundle", "nowhere"], "nowhere"),
        ],
    )
    def test_flags(
        self,
        flags: list[str],
        sentence: str,
        file: Path,
        tmp_path: Path,
        capsys: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        self.refused(capsys, sentence, file, *flags)

    def test_a_session_without_frames_makes_no_file(self, tmp_path: Path, capsys: Any) -> None:
        (tmp_path / "empty.json").write_text(Recording("a person walks", None, Sampling(), "d", 0).to_json())
        self.refused(capsys, "holds no frames", tmp_path / "empty.json", "--rig", "mixamo", "--out", tmp_path / "a.glb")

    def test_no_file_becomes_endless(
        self, file: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "MAX_FILE_S", 1.0)
        self.refused(capsys, "longer than 1 s", file, "--out", tmp_path / "clip.glb")
        assert not (tmp_path / "clip.glb").exists()
        assert figures(capsys, file, "--start", 0.5, "--end", 1.5, "--out", tmp_path / "clip.glb")["frames"] == 45

    def refused(self, capsys: Any, sentence: str, *arguments: object) -> None:
        assert main(["replay", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("animoe: ") and sentence in error, error
        assert error.count("\n") == 1 and error.rstrip("\n").isprintable() and len(error) < 6000


def test_help_names_the_disk_and_imports_nothing_of_weight(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "watch the disk" in " ".join(capsys.readouterr().out.split())
    code = (
        "import sys\nfrom animoe.cli import main\ntry:\n    main(['replay', '--help'])\nexcept SystemExit:\n    pass\n"
    )
    code += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"numpy", "grpc", "animoe.engine"}.isdisjoint(done.stdout.splitlines()[-1].split())
