"""Imports into a toy bundle: what is published, what is refused, what survives a kill, a full disk, a queue."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animoe.bundle.manifest import MANIFEST, bundle_file
from animoe.bundle.publishing import remove, rollback
from animoe.bundle.scenarios import read_state
from animoe.cli import main as cli
from animoe.engine import ClipRequest, Engine
from animoe.engine.runtime import Runtime
from animoe.errors import BundleError, FailedPrecondition, InvalidRequest, NotFound
from animoe_trainer.checkpoint import Checkpoint
from animoe_trainer.evaluation_set import EvaluationSet
from animoe_trainer.importing import evaluation, publishing
from animoe_trainer.importing import run as import_run
from animoe_trainer.importing.generator import load_generator, load_kept_sets, load_memory, require_learner
from animoe_trainer.importing.journal import journals
from animoe_trainer.importing.progress import STEPS, Event
from animoe_trainer.importing.request import ImportRequest, ImportResult
from animoe_trainer.importing.run import import_pack
from animoe_trainer.settle import settle_bundle
from animoe_trainer.verdicts import Change, Verdict

pytestmark = pytest.mark.usefixtures("few_pictures")
Snapshot = Callable[[Path], dict[str, bytes]]
EXPERT = ("adapter_config.json", "adapter_model.safetensors", "memory.json", "info.json", "report.json", "report.html")


@pytest.fixture(scope="module")
def few_pictures() -> Iterator[None]:
    """Reports show one example instead of three: drawing takes longer than learning here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "EXAMPLES", 1)
        yield


@pytest.fixture
def teach(tiny: Any, studio: Path, own: Path) -> Callable[..., ImportResult]:
    """Imports the toy pack with a few steps."""

    def run(scenario: str = "toy", watcher: Any = None, say: Any = None, **changes: Any) -> ImportResult:
        request = ImportRequest(tiny.pack, scenario, own, parent=studio, steps=6, batch=6, threads=1)
        return import_pack(replace(request, **changes), watcher, say)

    return run


@pytest.fixture(scope="module")
def learnt(tiny: Any, studio: Path, few_pictures: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that has learnt "toy" and then "more"; tests that write take a copy."""
    folder = tmp_path_factory.mktemp("learnt") / "own"
    for name in ("toy", "more"):
        import_pack(ImportRequest(tiny.pack, name, folder, parent=studio, steps=6, batch=6, threads=1))
    return folder


QUICK = """
import sys
from animoe.cli import main
from animoe_trainer import repetitions, verdicts
from animoe_trainer.importing import publishing
repetitions.ROWS, verdicts.ALARM, publishing.EXAMPLES = 8, 1e-13, 1  # as `few_motions` and `few_pictures` have it
sys.exit(main())
"""


def command(tiny: Any, studio: Path, own: Path, *more: str) -> list[str]:
    flags = ["--scenario", "toy", "--bundle", str(own), "--parent", str(studio), "--threads", "1", "--batch", "6"]
    return [sys.executable, "-c", QUICK, "pack", "import", str(tiny.pack), *flags, *more]


class TestPublished:
    def test_the_folder_holds_what_servers_and_later_imports_need(self, learnt: Path) -> None:
        folder = learnt / "experts" / "toy@1"
        assert {p.name for p in folder.iterdir()} == {*EXPERT, "evaluation"}
        assert len(EvaluationSet.load(folder / "evaluation").prompts) == 4
        assert json.loads((folder / "memory.json").read_text())
        assert not list((learnt / "imports").glob("*/work"))

    def test_nothing_of_the_parent_is_written(self, teach: Any, studio: Path, snapshot: Snapshot) -> None:
        before = snapshot(studio)
        teach()
        assert snapshot(studio) == before

    def test_old_experts_stay_bit_identical_and_old_keys_too(self, learnt: Path, teach: Any, own: Path) -> None:
        teach()
        old = (own / "experts/toy@1/adapter_model.safetensors").read_bytes()
        keys = load_generator(own).planner.gate.keys  # type: ignore[union-attr]
        teach("more")
        assert (own / "experts/toy@1/adapter_model.safetensors").read_bytes() == old
        after = load_generator(own).planner.gate.keys  # type: ignore[union-attr]
        assert torch.equal(after[: len(keys)], keys) and len(after) == len(keys) + 1
        # The same packs, names and seeds: the same bytes, whoever learnt them.
        for name in ("toy@1", "more@1"):
            path = f"experts/{name}/adapter_model.safetensors"
            assert (own / path).read_bytes() == (learnt / path).read_bytes()
        assert read_state(own).digest == read_state(learnt).digest

    def test_the_engine_performs_with_it(self, learnt: Path, studio: Path) -> None:
        engine = Engine.load(learnt)
        blocks = list(engine.generate(ClipRequest("a person walks forward", 1.0)))
        assert sum(block.frame_count for block in blocks) == 30

    @pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers by an old name
    def test_peft_loads_it_and_computes_what_the_mixture_computes(self, learnt: Path) -> None:
        from peft import PeftModel

        lm = load_generator(learnt)
        assert lm.experts is not None
        x = torch.randn(2, 9, lm.width, generator=torch.Generator().manual_seed(0))
        for index, name in enumerate(("toy@1", "more@1"), start=1):
            weights = torch.zeros(2, 3)
            weights[:, index] = 1.0
            lm.experts.use(weights)
            mixed = lm.backbone(inputs_embeds=x).last_hidden_state
            plain = load_generator(learnt, replace(read_state(learnt), planner="", columns=())).backbone
            for module in list(plain.named_modules()):
                if hasattr(module[1], "base") and "." in module[0]:
                    parent, _, last = module[0].rpartition(".")
                    setattr(plain.get_submodule(parent), last, module[1].base)
            model = PeftModel.from_pretrained(plain, str(learnt / "experts" / name)).eval()
            torch.testing.assert_close(model(inputs_embeds=x).last_hidden_state, mixed, atol=1e-5, rtol=1e-5)
            base = load_generator(learnt)
            assert base.experts is not None
            base.experts.use(None)
            assert (base.backbone(inputs_embeds=x).last_hidden_state - mixed).abs().max() > 1e-7

    def test_the_report_stands_alone(self, learnt: Path) -> None:
        folder = learnt / "experts" / "more@1"
        page = (folder / "report.html").read_text()
        assert page.count("data:image/png;base64,") == 1 and page.count("data:image/jpeg;base64,") == 2
        assert "http" not in page.replace("http-equiv", "")
        report = json.loads((folder / "report.json").read_text())
        assert [v["scenario"] for v in report["verdicts"]] == ["base: base", "toy@1"]
        assert set(report["routing"]) == {"base: base", "toy@1", "more@1"}
        assert all(sum(w.values()) == pytest.approx(1, abs=1e-3) for w in report["routing"].values())
        assert set(report["figures"]["after"]) == {"quality", "emotion"}

    def test_later_imports_remember_base_and_scenarios(self, learnt: Path) -> None:
        state = read_state(learnt)
        assert list(load_kept_sets(learnt, state)) == ["base: base", "toy@1", "more@1"]
        memory = load_memory(learnt, state)
        assert set(memory.texts) == {"", "toy", "more"} and memory.emotions == ("happy", "neutral", "sad")
        assert memory.of_others("toy") == [*memory.texts[""], *memory.texts["more"]]

    def test_a_new_version_replaces_and_rollback_restores_the_very_motion(
        self, learnt: Path, teach: Any, own: Path
    ) -> None:
        shutil.copytree(learnt, own)
        digest = Runtime(own).digest
        assert teach("toy", seed=3).version == 2
        lm = load_generator(own)
        assert lm.planner is not None and lm.planner.gate.inactive == (1,)
        gate = lm.plan(torch.randn(3, 4, 32), torch.ones(3, 4)).gate.softmax(-1)
        assert float(gate[:, 1].max()) == 0.0
        rollback(own, "toy")
        assert Runtime(own).digest == digest

    def test_trainer_and_server_route_alike_also_after_a_removal(self, learnt: Path, own: Path) -> None:
        shutil.copytree(learnt, own)
        for inactive in ((), (1,)):
            runtime, lm = Runtime(own), load_generator(own)
            assert lm.planner is not None and lm.planner.gate.inactive == inactive
            words = runtime.prompts.encode_words("a person walks forward").words
            assert words is not None
            gate = lm.plan(torch.from_numpy(np.array(words))[None], torch.ones(1, len(words))).gate.softmax(-1)
            np.testing.assert_allclose(gate[0].numpy(), runtime.plan("a person walks forward").plan.gate, atol=1e-4)
            if not inactive:
                remove(own, "toy")

    def test_progress_counts_up_to_the_end(self, teach: Any) -> None:
        events: list[Event] = []
        teach(watcher=events.append)
        assert list(dict.fromkeys(event.step for event in events)) == list(STEPS)
        shares = [event.share for event in events]
        assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
        assert any(event.seconds_left is not None for event in events)


class TestRefused:
    @pytest.fixture
    def worse(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Judges say that the first old set lost half of its hits."""
        change = Change("r1", 80.0, 40.0, -40.0, -45.0, -35.0, True)
        monkeypatch.setattr(evaluation, "verdicts", lambda b, a, names, again: [Verdict(names[0], 64, (change,))])

    def test_a_scenario_that_got_worse_forbids_publishing(
        self, teach: Any, worse: None, own: Path, snapshot: Snapshot
    ) -> None:
        result = teach()
        assert not result.published and result.summary["got_worse"] == ["base: base"]
        assert set(snapshot(own)) == {MANIFEST} and read_state(own).generation == 0
        assert "Not published: base: base got worse" in result.report.read_text()

    def test_force_publishes_what_was_trained_and_says_who(self, teach: Any, worse: None, own: Path) -> None:
        teach()
        events: list[Event] = []
        result = teach(resume=True, force=True, reason="show on friday", watcher=events.append)
        assert result.published and not [e for e in events if e.step == "train"]
        info = json.loads((own / "experts/toy@1/info.json").read_text())
        assert info["forced"]["reason"] == "show on friday" and info["forced"]["user"] and info["forced"]["time"]

    def test_force_is_not_recorded_where_nothing_got_worse(self, teach: Any, own: Path) -> None:
        teach(force=True, reason="just in case")
        assert json.loads((own / "experts/toy@1/info.json").read_text())["forced"] is None

    def test_a_bundle_that_cannot_learn(self, teach: Any, tiny: Any, studio: Path, tmp_path: Path) -> None:
        with pytest.raises(FailedPrecondition, match="has no evaluator"):
            teach(parent=tiny.bundle)
        plain = Path(shutil.copytree(studio, tmp_path / "plain"))
        raw = json.loads((plain / MANIFEST).read_text()) | {"planner_heads": 0}
        (plain / MANIFEST).write_text(json.dumps(raw))
        with pytest.raises(FailedPrecondition, match="has no planner"):
            require_learner(plain, None)

    @pytest.mark.parametrize(
        ("changes", "error", "words"),
        [
            ({"scenario": "Toy"}, InvalidRequest, "scenario name"),
            ({"pack": Path("/nothing")}, NotFound, "no pack at"),
            ({"resume": True}, FailedPrecondition, "no unfinished import of 'toy'"),
        ],
    )
    def test_what_cannot_be(self, teach: Any, changes: dict[str, Any], error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            teach(**changes)

    @pytest.mark.parametrize(
        "changes", [{"minutes": 0}, {"steps": 0}, {"threads": 0}, {"batch": 1}, {"seed": -1}, {"minutes": float("nan")}]
    )
    def test_numbers_that_cannot_be(self, teach: Any, changes: dict[str, Any]) -> None:
        with pytest.raises(InvalidRequest, match=f"--{next(iter(changes))} must be"):
            teach(**changes)

    def test_a_pack_without_a_table(self, teach: Any, tiny: Any, tmp_path: Path, own: Path) -> None:
        pack = tmp_path / "walks"
        pack.mkdir()
        for number in range(5):
            shutil.copy(tiny.pack / f"walk_{number}.bvh", pack / f"walk_{number}.bvh")
        with pytest.raises(NotFound, match="`animoe pack check` drafts one"):
            teach(pack=pack)
        assert teach(pack=pack, draft=True).published
        info = json.loads((own / "experts/toy@1/info.json").read_text())
        assert (info["pack"]["table"], info["evaluation"]["held_out_by"]) == ("pack.draft.csv", "AniMoE")


class TestSeveralFolders:
    @pytest.fixture
    def halves(self, tiny: Any, tmp_path: Path) -> tuple[Path, Path]:
        """The toy pack in two folders: walks and waves."""
        rows = list(csv.DictReader((tiny.pack / "pack.csv").read_text().splitlines()))
        found = []
        for action in ("walk", "wave"):
            folder = Path(shutil.copytree(tiny.pack, tmp_path / action))
            with (folder / "pack.csv").open("w", newline="") as stream:
                table = csv.DictWriter(stream, rows[0])
                table.writeheader()
                table.writerows(row for row in rows if row["content"] == action)
            found.append(folder)
        return found[0], found[1]

    def test_they_become_one_expert(self, teach: Any, halves: tuple[Path, Path], own: Path) -> None:
        assert teach(pack=halves[0], more=(halves[1],)).published
        info = json.loads((own / "experts/toy@1/info.json").read_text())
        assert info["pack"]["clips"] == 12 and set(info["contents"]) == {"walk", "wave"}

    def test_two_of_one_name_are_refused(self, teach: Any, tiny: Any) -> None:
        with pytest.raises(InvalidRequest, match="two of the packs are called"):
            teach(more=(tiny.pack,))

    def test_one_without_a_table_is_refused(self, teach: Any, halves: tuple[Path, Path]) -> None:
        (halves[1] / "pack.csv").unlink()
        with pytest.raises(InvalidRequest, match="either all need a pack.csv or none; .*wave differs from"):
            teach(pack=halves[0], more=(halves[1],), draft=True)

    def test_a_server_takes_one(self, tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
        more = ["pack", "import", str(tiny.pack), str(tiny.pack), "--scenario", "x", "--server", "localhost:1"]
        assert cli(more) == 2
        assert "a server takes one pack at a time" in capsys.readouterr().err


class TestSettle:
    def test_one_folder_performs_as_before_and_learns_on(
        self, learnt: Path, teach: Any, own: Path, tmp_path: Path, snapshot: Snapshot
    ) -> None:
        before = snapshot(learnt)
        settle_bundle(learnt, tmp_path / "one")
        assert snapshot(learnt) == before
        card = (tmp_path / "one" / "MODEL_CARD.md").read_text()
        assert card.count("## Learnt scenarios") == 1 and "| more@1 | 12 | 4 |" in card
        old, new = Runtime(learnt), Runtime(tmp_path / "one")
        assert new.manifest.parent == "" and new.scenarios.state.columns == old.scenarios.state.columns
        for text in ("a person walks forward", "someone waves"):
            np.testing.assert_array_equal(old.plan(text).plan.gate, new.plan(text).plan.gate)
        request = ClipRequest("a person waves the right hand", 1.0)
        clips = [[b.local_rotations for b in Engine(runtime).generate(request)] for runtime in (old, new)]
        np.testing.assert_array_equal(np.concatenate(clips[0]), np.concatenate(clips[1]))
        assert teach("third", parent=tmp_path / "one").published
        assert list(load_kept_sets(own, read_state(own))) == ["base: base", "toy@1", "more@1", "third@1"]
        rollback(own, "third")
        assert read_state(own).columns == new.scenarios.state.columns
        assert Runtime(own).digest == new.digest

    def test_nothing_learnt(self, studio: Path, tmp_path: Path) -> None:
        with pytest.raises(FailedPrecondition, match="has learnt no scenario"):
            settle_bundle(studio, tmp_path / "one")

    def test_something_that_is_no_bundle_is_not_overwritten(self, learnt: Path, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(InvalidRequest, match="exists and is not a bundle"):
            settle_bundle(learnt, tmp_path)


class Stop(BaseException):
    """Where a test kills an import."""


class TestResume:
    @pytest.mark.parametrize("step", ["tokenise", "train", "publish"])
    def test_stopped_anywhere_the_bundle_is_as_before_and_the_result_the_same(
        self, teach: Any, learnt: Path, own: Path, step: str, monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot
    ) -> None:
        monkeypatch.setattr(Checkpoint, "every", 2)

        def stop(event: Event) -> None:
            if event.step == step and event.done >= (3 if step == "train" else 1 if step == "evaluate" else 0):
                raise Stop

        with pytest.raises(Stop):
            teach(watcher=stop)
        assert set(snapshot(own)) == {MANIFEST}
        teach(resume=True)
        path = "experts/toy@1/adapter_model.safetensors"
        assert (own / path).read_bytes() == (learnt / path).read_bytes()
        assert (own / "planners/0001.safetensors").read_bytes() == (learnt / "planners/0001.safetensors").read_bytes()

    def test_stopped_after_the_last_rename_it_is_published(
        self, teach: Any, own: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop(event: Event) -> None:
            if event.step == "publish" and event.done:
                raise Stop

        real = import_run.publish_import

        def publish_and_die(*given: Any, **named: Any) -> Any:
            real(*given, **named)
            raise Stop

        monkeypatch.setattr(import_run, "publish_import", publish_and_die)
        with pytest.raises(Stop):
            teach(watcher=stop)
        monkeypatch.setattr(import_run, "publish_import", real)
        state = read_state(own)
        assert teach(resume=True).version == 1 and read_state(own) == state

    def test_a_bundle_that_learnt_something_else_meanwhile(self, teach: Any, own: Path) -> None:
        def stop(event: Event) -> None:
            if event.step == "evaluate":
                raise Stop

        with pytest.raises(Stop):
            teach(watcher=stop)
        teach("other")
        said: list[str] = []
        assert teach(resume=True, say=said.append).published
        assert any("learnt something else meanwhile" in sentence for sentence in said)
        assert [c.name for c in read_state(own).columns] == ["other@1", "toy@1"]

    def test_a_pack_that_changed(self, teach: Any, tiny: Any, tmp_path: Path) -> None:
        pack = Path(shutil.copytree(tiny.pack, tmp_path / "pack"))

        def stop(event: Event) -> None:
            if event.step == "train":
                raise Stop

        with pytest.raises(Stop):
            teach(pack=pack, watcher=stop)
        with (pack / "pack.csv").open("a") as stream:
            stream.write("walk_0.bvh,,,,one more,sad,,,train\n")
        with pytest.raises(FailedPrecondition, match="has changed since the import began"):
            teach(pack=pack, resume=True)

    def test_a_damaged_journal_is_named(self, learnt: Path, own: Path) -> None:
        shutil.copytree(learnt, own)
        (own / "imports/toy-0001/journal.json").write_text("{")
        with pytest.raises(BundleError, match="delete .*toy-0001"):
            journals(own)


class TestProcesses:
    """The command itself, killed, queued, and without room to write."""

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def start(self, *given: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(command(*given), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def kill_and_resume(self, tiny: Any, studio: Path, own: Path, times: int, steps: int, teach: Any) -> None:
        rng = random.Random(times)
        killed, flags = 0, ["--steps", str(steps), "--json"]
        while killed < times:
            resumable = own.is_dir() and any(j.status != "published" for j in journals(own))
            process = self.start(tiny, studio, own, *flags, *(["--resume"] if resumable else []))
            assert process.stdout is not None
            process.stdout.readline()  # it works
            time.sleep(rng.uniform(0.0, 6.0))
            process.kill()
            process.communicate()
            killed += 1
            if (own / MANIFEST).is_file():
                state = read_state(own)
                assert state.generation in (0, 1)
                Engine.load(own)
                if state.generation:
                    break
        if read_state(own).generation == 0 or any(j.status != "published" for j in journals(own)):
            assert teach(steps=steps, resume=True).published

    def test_kill_9_and_resume_end_with_the_same_expert(
        self, tiny: Any, studio: Path, own: Path, learnt: Path, teach: Any
    ) -> None:
        self.kill_and_resume(tiny, studio, own, 2, 6, teach)
        path = "experts/toy@1/adapter_model.safetensors"
        assert (own / path).read_bytes() == (learnt / path).read_bytes()

    @pytest.mark.slow
    def test_kill_9_ten_times(self, tiny: Any, studio: Path, own: Path, tmp_path: Path, teach: Any) -> None:
        self.kill_and_resume(tiny, studio, own, 10, 150, teach)
        whole = tmp_path / "whole"
        code, _, err = self.finish(self.start(tiny, studio, whole, "--steps", "150"))
        assert code == 0, err
        path = "experts/toy@1/adapter_model.safetensors"
        assert (own / path).read_bytes() == (whole / path).read_bytes()

    def test_two_at_once_queue_and_json_lines_end_with_the_result(self, tiny: Any, studio: Path, own: Path) -> None:
        first = self.start(tiny, studio, own, "--steps", "6", "--json")
        assert first.stdout is not None
        begun = first.stdout.readline()
        refused = self.start(tiny, studio, own, "--steps", "6", "--no-wait")
        second = self.start(tiny, studio, own, "--steps", "6")
        ends = [self.finish(process) for process in (refused, first, second)]
        assert [code for code, _, _ in ends] == [2, 0, 0], [err for _, _, err in ends]
        assert "in use by the import of 'toy'" in ends[0][2]
        assert "waiting for the import of 'toy'" in ends[2][2]
        assert [c.name for c in read_state(own).columns] == ["toy@1", "toy@2"]
        lines = [json.loads(line) for line in [begun, *ends[1][1].splitlines()]]
        assert lines[-1]["result"] == "published" and lines[-1]["expert"] == "toy@1"
        assert all(0 <= line["done"] <= 1 and line["step"] in STEPS for line in lines[:-1])

    def test_a_full_disk_is_one_sentence_and_resume_ends_well(
        self, tiny: Any, studio: Path, own: Path, learnt: Path, teach: Any
    ) -> None:
        code = (
            "import resource, signal, sys\nfrom animoe.cli import main\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)\nsys.exit(main(sys.argv[2:]))"
        )
        flags = command(tiny, studio, own, "--steps", "6")[3:]
        for size in (3_000, 60_000):
            done = subprocess.run([sys.executable, "-c", code, str(size), *flags], capture_output=True, text=True)
            assert done.returncode == 2 and "cannot take more data" in done.stderr, done.stderr
            assert "Traceback" not in done.stderr and read_state(own).generation == 0
            flags = [*flags, "--resume"] if "--resume" not in flags else flags
        assert teach(resume=True).published
        path = "experts/toy@1/adapter_model.safetensors"
        assert (own / path).read_bytes() == (learnt / path).read_bytes()

    def test_without_torch_it_says_what_to_install(self, tmp_path: Path) -> None:
        code = (
            "import sys\nsys.modules['torch'] = None\nfrom animoe.cli import main\n"
            f"sys.exit(main(['pack', 'check', {str(tmp_path)!r}]))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 2 and "pip install 'animoe[train]'" in done.stderr


def test_every_file_that_a_child_needs_is_found(learnt: Path, studio: Path) -> None:
    assert bundle_file(learnt, "evaluator.json") == studio / "evaluator.json"
    assert os.environ["OMP_NUM_THREADS"] == "1" and np.isfinite(load_generator(learnt).emotion.weight.numpy()).all()
