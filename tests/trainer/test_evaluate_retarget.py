"""`animoe-train eval-retarget` on a small pack of the tests' own making."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from animoe.errors import InvalidRequest, NotFound
from animoe.formats import write_clip
from animoe_trainer.__main__ import main
from animoe_trainer.evaluate_retarget import evaluate_retarget, print_retarget_report

WALK = {"file": "walk.bvh", "text": "a person walks"}


@pytest.fixture
def pack(tmp_path: Path, make: Any) -> Path:
    folder = tmp_path / "pack"
    folder.mkdir()
    write_clip(folder / "walk.bvh", make.clip("walk"))
    make.table(folder, [WALK, {**WALK, "file": "none.bvh"}, {**WALK, "start": "0.2", "end": "0.8"}])
    return folder


def test_a_clip_comes_back_from_rigs(pack: Path) -> None:
    seen: list[tuple[str, int]] = []
    report = evaluate_retarget([pack], ["mixamo", "kaykit_medium"], on_pack=lambda *done: seen.append(done))
    assert (report["clips"], report["refused"], seen) == (2, 1, [("pack", 2)])
    assert set(report["rigs"]) == {"mixamo", "kaykit_medium"}
    free = report["rigs"]["mixamo"]["free"]
    assert free["angle_error"]["median"] < 0.1
    assert free["end_effector"]["p95"] < 0.1
    assert free["slide_ratio"] is None or free["slide_ratio"] < 1.5
    assert free["jitter_ratio"] == pytest.approx(1.0, abs=0.25)
    assert {"median", "p95", "worst", "clips_p95", "clips_within", "worst_clips"} <= set(report["source"]["foot_slide"])
    assert free["penetration"]["clips_within"] == 1.0


def test_locked_feet_slide_less(pack: Path) -> None:
    ways = evaluate_retarget([pack], ["kaykit_medium"])["rigs"]["kaykit_medium"]
    assert ways["locked"]["foot_slide"]["p95"] < ways["free"]["foot_slide"]["p95"]


def test_limit_keeps_the_ends(pack: Path) -> None:
    report = evaluate_retarget([pack], ["smplx"], limit=1)
    assert report["clips"] == 1


def test_no_usable_row_is_an_error(pack: Path, make: Any) -> None:
    make.table(pack, [{**WALK, "file": "none.bvh"}])
    with pytest.raises(InvalidRequest, match="no row of these packs can be used"):
        evaluate_retarget([pack], ["smplx"])


def test_an_unknown_rig_is_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="unknown rig 'mixano'"):
        evaluate_retarget([tmp_path / "none"], ["mixano"])


def test_a_missed_target_fails_the_check(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval-retarget", str(pack), "--rigs", "smplx", "--json", "--check"]) in (0, 1)
    report = json.loads(capsys.readouterr().out)
    passed = [check["passed"] for check in report["checks"]]
    assert len(passed) == 4
    code = main(["eval-retarget", str(pack), "--rigs", "smplx", "--check"])
    assert code == (0 if all(passed) else 1)
    assert main(["eval-retarget", str(pack), "--rigs", "smplx"]) == 0


def test_the_table_names_rigs_and_targets(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluate_retarget([pack], ["smplx"])
    report["checks"][0] |= {"passed": False}
    print_retarget_report(report)
    text = capsys.readouterr().out
    assert "smplx, feet free" in text
    assert "smplx, feet locked" in text
    assert "FAIL  smplx: median joint angle error" in text
    assert "pack/walk.bvh line" in text


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_is_a_number_of_rows(limit: str, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["eval-retarget", str(pack), f"--limit={limit}"])
    assert "number of rows" in capsys.readouterr().err
