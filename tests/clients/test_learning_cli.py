"""`animoe pack check` and `animoe scenario`, as a user calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from animoe.bundle.child import ensure_child
from animoe.bundle.publishing import publish
from animoe.bundle.scenarios import Column, read_state
from animoe.cli import main

FIGURES = {
    when: {"quality": {"r1": value, "fid": None}, "emotion": {"wf1": value}}
    for when, value in (("before", 0.25), ("after", 0.75))
}
INFO = {
    "created": "2026-01-02T03:04:05Z",
    "user": "ann",
    "pack": {"path": "dances.zip", "clips": 12},
    "emotions": ["happy", "sad"],
    "figures": FIGURES,
    "got_worse": ["base: walk"],
    "forced": {"user": "ben", "time": "2026-01-03", "reason": "show on friday"},
}


@pytest.fixture
def bundle(tiny: Any, tmp_path: Path) -> Path:
    """A child bundle with dance@1 and dance@2, the second forced."""
    folder = tmp_path / "own"
    ensure_child(folder, tiny.bundle)
    for version in (1, 2):
        staged = folder / "staged"
        staged.mkdir()
        save_file({"a": np.full(2, version, dtype=np.float32)}, staged / "adapter_model.safetensors")
        (staged / "info.json").write_text(json.dumps(INFO | ({} if version == 2 else {"forced": None})))
        publish(folder, staged, save({"p": np.full(2, version, dtype=np.float32)}), Column("dance", version))
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


class TestScenario:
    def test_list(self, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = run(capsys, "scenario", "list", "--bundle", bundle)
        assert code == 0 and out.split(";")[0].split() == ["dance", "@2", "12", "clips"] and "FORCED" in out
        (entry,) = json.loads(run(capsys, "scenario", "list", "--bundle", bundle, "--json")[1])
        assert entry["versions"] == [1, 2]

    def test_show_says_who_forced_what(self, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
        _, out, _ = run(capsys, "scenario", "show", "dance", "--bundle", bundle)
        assert "FORCED by ben at 2026-01-03 although base: walk got worse: show on friday" in out
        assert "r1 0.25 -> 0.75" in out and "generation 2: publish by" in out and "dance@1 (not in use)" in out
        shown = json.loads(run(capsys, "scenario", "show", "dance", "--bundle", bundle, "--json")[1])
        assert [v["active"] for v in shown["versions"]] == [False, True]

    def test_rollback_and_remove(self, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(capsys, "scenario", "rollback", "dance", "--bundle", bundle)[1] == "dance@1 is in use\n"
        out = run(capsys, "scenario", "remove", "dance", "--bundle", bundle, "--json")[1]
        assert json.loads(out) == {
            "scenario": "dance",
            "version": None,
            "generation": 4,
            "digest": json.loads(out)["digest"],
        }
        assert read_state(bundle).generation == 4
        assert "dance" in run(capsys, "scenario", "list", "--bundle", bundle)[1]

    @pytest.mark.parametrize("action", ["show", "rollback", "remove"])
    def test_a_name_that_is_not_there(self, bundle: Path, action: str, capsys: pytest.CaptureFixture[str]) -> None:
        code, _, err = run(capsys, "scenario", action, "chess", "--bundle", bundle)
        assert code == 2 and "no scenario 'chess'" in err and "dance" in err

    def test_a_bundle_that_learnt_nothing(self, tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert "has learnt no scenario yet" in run(capsys, "scenario", "list", "--bundle", tiny.bundle)[1]

    def test_the_bundle_that_ships_stays(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("ANIMOE_BUNDLE", str(tmp_path / "none"))
        code, _, err = run(capsys, "scenario", "remove", "dance")
        assert code == 2 and "ships with AniMoE and is never written" in err


class TestCheck:
    def test_a_good_pack(self, tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = run(capsys, "pack", "check", tiny.pack, "--bundle", tiny.bundle)
        assert code == 0 and "12 clips" in out and "4 clips will be held out" in out
        found = json.loads(run(capsys, "pack", "check", tiny.pack, "--bundle", tiny.bundle, "--json")[1])
        assert found["emotions"] == {"neutral": 6, "happy": 4, "sad": 2} and found["ok"]

    def test_problems_are_listed_and_counted(
        self, tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pack = Path(shutil.copytree(tiny.pack, tmp_path / "pack"))
        (pack / "walk_0.bvh").write_text("broken")
        (pack / "pack.csv").rename(pack / "other.csv")
        code, out, _ = run(capsys, "pack", "check", pack, "--bundle", tiny.bundle)
        assert code == 1 and "refused: " in out and "walk_0.bvh" in out and "edit it and rename it to pack.csv" in out

    def test_nothing_there(self, tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
        code, _, err = run(capsys, "pack", "check", "nowhere", "--bundle", tiny.bundle)
        assert code == 2 and err == "animoe: there is no pack at nowhere; name a folder or a .zip of motion files\n"
