"""Sequences at toy size, through the command: what stays, what a stop changes, what is refused, and the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from animoe_trainer import sequence_judging
from animoe_trainer.__main__ import main
from animoe_trainer.expert import train_expert
from animoe_trainer.scores import ScenarioScores

RANK = 2
ROWS = 12
Learn = Callable[..., int]


@pytest.fixture(scope="module")
def learn(tiny: Any, studio: Path, make: Any, tmp_path_factory: pytest.TempPathFactory) -> Learn:
    """Runs `animoe-train sequence` on two toy packs."""
    root = tmp_path_factory.mktemp("packs")
    packs = [tiny.pack, make.pack(root / "stroll"), make.pack(root / "greet")]

    def run(out: Path, *more: str, order: str = "stroll,greet", method: str = "es_moe") -> int:
        folders = {"tokenizer": tiny.tokenizer, "base": tiny.base, "evaluator": studio, "out": out}
        flags = [text for name, folder in folders.items() for text in (f"--{name}", str(folder))]
        flags += ["--order", order, "--method", method, "--base-pack", tiny.pack.name, "--cache", str(root / "cache")]
        flags += ["--steps", "3", "--batch", "4", "--samples", "2", "--dial-samples", "1"]
        return main(["sequence", *map(str, packs), *flags, *more])

    return run


@pytest.fixture(scope="module")
def runs(learn: Learn, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ES-MoE in two orders, sequential LoRA and oracle experts."""
    root = tmp_path_factory.mktemp("runs")
    names = {"there": "es_moe", "back": "es_moe", "sequential": "sequential_lora", "oracle": "oracle_expert"}
    for name, method in names.items():
        order = "greet,stroll" if name == "back" else "stroll,greet"
        assert learn(root / name, order=order, method=method) == 0
    return {name: root / name for name in names}


@pytest.fixture(scope="module")
def report(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    assert main(["sequence-report", *map(str, runs.values()), "--out", str(out), "--draws", "20"]) == 0
    return out


def first_expert(run: Path, scenario: str, *, final: bool) -> dict[str, np.ndarray]:
    """A of the first expert as it was after its scenario, or as the last model holds it (half precision)."""
    if final:
        state = load_file(run / "state.safetensors")
        names = [name for name in state if name.startswith("backbone.") and name.endswith(".down")]
        return {name[len("backbone.") : -len(".down")]: state[name][:RANK].half().numpy() for name in names}
    stored = load_file(run / "scenarios" / scenario / "adapter_model.safetensors")
    names = [name for name in stored if ".lora_A." in name]
    prefix = "base_model.model."
    return {name[len(prefix) :].rsplit(".lora_A", 1)[0]: stored[name].numpy() for name in names}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


class TestLearning:
    def test_the_mixture_keeps_its_first_expert_and_sequential_training_does_not(self, runs: dict[str, Path]) -> None:
        for name, kept in (("there", True), ("sequential", False)):
            before, after = (first_expert(runs[name], "stroll", final=final) for final in (False, True))
            assert before.keys() == after.keys()
            assert same(before, after) is kept

    def test_old_keys_and_dictionary_rows_stay(self, runs: dict[str, Path]) -> None:
        before = load_file(runs["there"] / "scenarios" / "stroll" / "planner.safetensors")
        after = load_file(runs["there"] / "state.safetensors")
        for name in ("planner.gate.keys", "planner.cged.rows"):
            old = before[name]
            assert len(after[name]) > len(old)
            assert np.array_equal(after[name][: len(old)].half().numpy(), old.half().numpy())

    def test_every_step_performs_every_row_and_the_base_is_the_same_for_all(self, runs: dict[str, Path]) -> None:
        for name in ("there", "back", "sequential"):
            for step in range(3):
                assert len(arrays(runs[name] / f"step_{step}.npz")["lengths"]) == ROWS * 2
        assert [p.name for p in sorted(runs["oracle"].glob("step_*.npz"))] == ["step_0.npz", "step_2.npz"]
        assert len({(runs[name] / "step_0.npz").read_bytes() for name in runs}) == 1
        last = {name: arrays(runs[name] / "step_2.npz")["codes"] for name in ("there", "sequential", "oracle")}
        last["base"] = arrays(runs["there"] / "step_0.npz")["codes"]
        assert len({codes.tobytes() for codes in last.values()}) == 4

    def test_the_gate_weighs_base_and_experts(self, runs: dict[str, Path]) -> None:
        weights = arrays(runs["there"] / "step_2.npz")["weights"]
        assert weights.shape == (ROWS * 2, 3)
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)

    @pytest.mark.parametrize("method", ["es_moe", "oracle_expert"])
    def test_a_stopped_sequence_ends_with_the_same_codes(
        self, learn: Learn, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        out = tmp_path / "stopped"
        calls: list[int] = []

        def stop_at_the_second(*given: Any, **named: Any) -> Any:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return train_expert(*given, **named)

        monkeypatch.setattr("animoe_trainer.sequence.train_expert", stop_at_the_second)
        assert learn(out, method=method) == 130
        assert not (out / "step_2.npz").exists()
        assert learn(out, "--resume", method=method) == 0
        assert len(calls) == 3  # the first scenario was not learnt again
        whole = runs["there" if method == "es_moe" else "oracle"]
        for name in ("step_2.npz", *(("dial.npz",) if method == "es_moe" else ())):
            mine, theirs = arrays(out / name), arrays(whole / name)
            assert mine.keys() == theirs.keys()
            assert all(np.array_equal(mine[key], theirs[key]) for key in mine)


class TestRefusals:
    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (["--order", "stroll,dance"], "no pack dance"),
            (["--order", "stroll,stroll"], "name every scenario once"),
            (["--order", "stroll,both", "--scenario", "both=stroll+greet"], "a pack belongs to two scenarios"),
            (["--scenario", "stroll"], "write NAME=PACK"),
            (["--steps", "many"], "write N or N,NAME=N"),
            (["--steps", "0"], "1 step or more"),
            (["--steps", "2,dance=3"], "names dance"),
            (["--batch", "0"], "--batch must be 1 or more"),
            (["--base-pack", "elsewhere"], "no rows of base pack elsewhere"),
        ],
    )
    def test_flags_that_do_not_fit(
        self, learn: Learn, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
    ) -> None:
        assert learn(tmp_path / "out", *flags) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out" / "sequence.json").exists()

    def test_a_folder_that_holds_a_sequence(
        self, learn: Learn, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert learn(runs["there"]) == 2
        assert "go on with --resume" in capsys.readouterr().err
        assert learn(runs["there"], "--resume", "--seed", "5") == 2
        assert "another sequence (contract differ)" in capsys.readouterr().err

    def test_reports_of_what_is_no_finished_sequence(
        self, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["sequence-report", str(tmp_path), "--out", str(tmp_path / "r")]) == 2
        assert "no sequence in" in capsys.readouterr().err
        half = Path(shutil.copytree(runs["there"], tmp_path / "half"))
        (half / "step_2.npz").unlink()
        assert main(["sequence-report", str(half), "--out", str(tmp_path / "r")]) == 2
        assert "has not learnt all its scenarios" in capsys.readouterr().err
        (half / "step_2.npz").write_bytes(b"no zip")
        assert main(["sequence-report", str(half), "--out", str(tmp_path / "r")]) == 2
        assert "no usable codes in" in capsys.readouterr().err

    def test_runs_that_were_asked_for_other_takes(
        self, learn: Learn, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert learn(tmp_path / "one", order="greet") == 0
        assert main(["sequence-report", str(runs["there"]), str(tmp_path / "one"), "--out", str(tmp_path / "r")]) == 2
        assert "performed other prompts" in capsys.readouterr().err


class TestReport:
    def test_it_holds_every_figure(self, report: Path) -> None:
        found = json.loads((report / "report.json").read_text())
        assert set(found["scenarios"]) == {"stroll", "greet"}
        assert found["scenarios"]["stroll"]["items"] == ROWS // 2
        lines = {line["label"] for line in found["methods"]}
        single = {"es_moe, mean of 2", "es_moe (there)", "es_moe (back)", "sequential_lora", "oracle_expert"}
        assert lines == {*single, "base only"}
        there, back, sequential, oracle = found["runs"]
        assert np.shape(there["sequence"]["r1"]["matrix"]) == (2, 2)
        assert there["sequence"]["r1"]["transfer"].keys() == {"fr", "bwt", "fwt"}
        assert back["order"] == ["greet", "stroll"]
        assert set(there["routing"]["scenarios"]) == {"stroll", "greet"}
        assert sequential["routing"] is None and oracle["sequence"] is None
        kinds = {(model["group"], row["kind"]) for model in found["emotion"]["models"] for row in model["felt"]}
        assert {("es_moe", "acted"), ("sequential_lora", "acted"), ("base only", "acted")} <= kinds
        assert {claim["verdict"] for claim in found["claims"]} <= {"met", "not met", "not established"}
        assert any("sequential_lora loses more R@1" in claim["text"] for claim in found["claims"])
        assert found["warnings"] == []

    def test_its_figures_are_those_of_the_scores(self, report: Path, runs: dict[str, Path]) -> None:
        found = json.loads((report / "report.json").read_text())["runs"][0]
        kept = next((runs["there"] / "scores").glob("step_2-*")) / "stroll.npz"
        value = 100 * ScenarioScores.load(kept).measure("r1")
        assert found["scenarios"]["r1"]["stroll"]["value"] == pytest.approx(value, abs=1e-3)
        assert found["sequence"]["r1"]["matrix"][1][0] == pytest.approx(value, abs=1e-3)

    def test_the_page_stands_alone(self, report: Path) -> None:
        page = (report / "report.html").read_text()
        assert page.count("data:image/png;base64,") == len(list(report.glob("*.png"))) > 5
        assert "http" not in page and ">nan" not in page

    def test_it_is_cheap_to_repeat_and_says_the_same(
        self, report: Path, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: Any) -> Any:
            raise AssertionError("decoded again")

        monkeypatch.setattr(sequence_judging, "decode_all", never)
        assert main(["sequence-report", *map(str, runs.values()), "--out", str(tmp_path), "--draws", "20"]) == 0
        assert (tmp_path / "report.json").read_bytes() == (report / "report.json").read_bytes()
