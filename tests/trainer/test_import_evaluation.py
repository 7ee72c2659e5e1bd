"""What an import judges: kept "after" figures are "before" of the next one, nothing is skipped, devices are said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.bundle.publishing import rollback
from animoe.cli import main as cli
from animoe.errors import InvalidRequest
from animoe.motion.features import FEATURE_COUNT
from animoe_trainer.corpus import load_corpus
from animoe_trainer.devices import pick_device
from animoe_trainer.evaluation_set import EvaluationSet
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.importing import evaluation, publishing
from animoe_trainer.importing.judging import SEED, with_positions
from animoe_trainer.importing.request import ImportRequest, ImportResult
from animoe_trainer.importing.run import import_pack
from animoe_trainer.repetitions import repetitions
from animoe_trainer.scores import PER_ITEM
from animoe_trainer.verdicts import Change, Verdict, judge_changes

Teach = Callable[..., ImportResult]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "example_sheets", lambda *_: [])


@pytest.fixture
def teach(tiny: Any, studio: Path, own: Path) -> Teach:
    def run(scenario: str = "toy", bundle: Path = own, **more: Any) -> ImportResult:
        request = ImportRequest(tiny.pack, scenario, bundle, parent=studio, steps=3, batch=6, threads=1)
        return import_pack(replace(request, **more))

    return run


@pytest.fixture(scope="module")
def toy(tiny: Any, studio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that has learnt "toy", with what was judged then."""
    folder = tmp_path_factory.mktemp("toy") / "own"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "example_sheets", lambda *_: [])
        import_pack(ImportRequest(tiny.pack, "toy", folder, parent=studio, steps=3, batch=6, threads=1))
    return folder


@pytest.fixture
def has_toy(toy: Path, own: Path) -> None:
    """`own` begins as a copy of that bundle."""
    shutil.copytree(toy, own)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Scenario and repetitions of every set that is performed in a first look."""
    seen: list[tuple[str, int]] = []
    real = evaluation.judge_set

    def watch(lm: Any, judges: Any, kept: Any, **how: Any) -> Any:
        seen.extend([(kept.scenario, how["times"])] if how["seed"] == SEED else [])
        return real(lm, judges, kept, **how)

    monkeypatch.setattr(evaluation, "judge_set", watch)
    yield seen


def figures(result: ImportResult) -> str:
    """Everything that was judged, as text."""
    names = ("figures", "old", "routing", "verdicts", "got_worse")
    return json.dumps({name: result.summary[name] for name in names}, sort_keys=True)


class TestKeptJudgements:
    def test_old_scenarios_are_judged_once_with_the_same_result(
        self, teach: Teach, own: Path, judged: list[tuple[str, int]]
    ) -> None:
        teach("toy")
        assert [name for name, _ in judged] == ["base", "toy", "base", "toy"]
        assert dict(judged) == {"base": repetitions(6, 2), "toy": repetitions(4, 2)}  # about as many motions of each
        forgetful = Path(shutil.copytree(own, own.parent / "forgetful"))
        shutil.rmtree(forgetful / evaluation.JUDGED)
        judged.clear()
        kept = teach("more")
        assert [name for name, _ in judged] == ["more", "base", "toy", "more"]
        judged.clear()
        anew = teach("more", bundle=forgetful)
        assert [name for name, _ in judged] == ["base", "toy", "more", "base", "toy", "more"]
        assert figures(kept) == figures(anew)

    @pytest.mark.usefixtures("has_toy")
    def test_another_generation_is_judged_anew(self, teach: Teach, own: Path, judged: list[tuple[str, int]]) -> None:
        teach("more")
        rollback(own, "more")
        judged.clear()
        teach("third")  # the generation before is in force again, and remembered
        assert [name for name, _ in judged] == ["third", "base", "toy", "third"]
        rollback(own, "toy")
        judged.clear()
        teach("fourth")
        assert [name for name, _ in judged][:3] == ["base", "third", "fourth"]

    @pytest.mark.usefixtures("has_toy")
    def test_a_damaged_memory_is_made_again(self, teach: Teach, own: Path, judged: list[tuple[str, int]]) -> None:
        for path in (own / evaluation.JUDGED).glob("*/*/base~base.npz"):
            path.write_bytes(path.read_bytes()[:100])
        judged.clear()
        assert teach("more").published
        assert [name for name, _ in judged][:2] == ["base", "more"]

    @pytest.mark.usefixtures("has_toy")
    def test_old_memories_go(self, teach: Teach, own: Path) -> None:
        for name in ("a", "b", "c", "d"):
            (own / evaluation.JUDGED / name).mkdir()
        assert len(list((own / evaluation.JUDGED).iterdir())) == 5
        teach("more")
        assert len(list((own / evaluation.JUDGED).iterdir())) == 3


class TestSecondLook:
    def test_a_suspicion_is_looked_at_with_other_noise(self, teach: Teach, monkeypatch: pytest.MonkeyPatch) -> None:
        pairs: dict[str, Any] = {}

        def suspicious(first: Any, look_again: Any) -> list[Verdict]:
            pairs["first"], pairs["again"] = first, look_again(list(first))
            return judge_changes(first, lambda names: {name: pairs["again"][name] for name in names})

        monkeypatch.setattr("animoe_trainer.importing.judging.judge_changes", suspicious)
        teach("toy")
        first, again = pairs["first"]["base: base"], pairs["again"]["base: base"]
        assert len(again[0].items) == 2 * len(first[0].items)
        # Other noise, not more of the same: the first rows differ although the model and the prompts do not.
        assert not np.array_equal(first[0].embeddings, again[0].embeddings[: len(first[0].items)])

    def test_the_report_shows_both_looks(self, teach: Teach, monkeypatch: pytest.MonkeyPatch) -> None:
        calm = Change("wf1", 80.0, 79.0, -1.0, -9.0, 9.0, False)
        fallen = replace(calm, gain=-20.0, after=60.0)
        verdict = Verdict("base: base", 64, (fallen,), (calm,))
        monkeypatch.setattr(evaluation, "verdicts", lambda *_: [verdict])
        result = teach("toy")
        assert result.published and result.summary["verdicts"][0]["again"][0]["gain"] == -1.0
        assert "emotion weighted F1 (looked at again)" in result.report.read_text()


def test_positions_made_once_for_all_judges_change_no_score(tiny: Any, studio: Path) -> None:
    kept = EvaluationSet.load(studio / "evaluation" / "base")
    evaluator = Evaluator.load(studio)
    random = np.random.default_rng(0)
    corpus = load_corpus([tiny.pack], tiny.cache)
    plain = [corpus.frames(item)[:, :FEATURE_COUNT] for item in random.permutation(corpus.items)[: len(kept.prompts)]]
    whole = with_positions(plain)
    assert [motion.shape for motion in whole] == [(len(motion), 203) for motion in plain]
    first, second = (kept.score(evaluator, [motions]) for motions in (plain, whole))
    for name in PER_ITEM:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


class TestDevices:
    def test_a_gpu_that_is_not_there_is_one_sentence(
        self, tiny: Any, own: Path, studio: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
        flags = ["--scenario", "toy", "--bundle", str(own), "--parent", str(studio), "--device", "cuda"]
        assert cli(["pack", "import", str(tiny.pack), *flags]) == 2
        said = capsys.readouterr().err.strip()
        assert "\n" not in said and "finds 0 GPUs here" in said and "--device cpu" in said
        assert not own.exists()

    @pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:1", ""])
    def test_other_names(self, name: str) -> None:
        with pytest.raises(InvalidRequest, match="--device must be auto, cpu, cuda or cuda:N"):
            pick_device(name)

    def test_without_a_word_a_gpu_is_used_when_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for there in (False, True):
            monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
            assert pick_device() == ("cuda" if there else "cpu")

    def test_the_processor_learns_and_the_report_says_so(self, teach: Teach) -> None:
        assert teach("toy", device="cpu").summary["training"]["device"] == "cpu"
