"""Publishing, rolling back and removing: one rename each, old files untouched, every step in the log."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from animoe.bundle.catalogue import list_scenarios, show_scenario
from animoe.bundle.child import current_bundle, ensure_child, own_bundle
from animoe.bundle.files import refused_writes, write_durable
from animoe.bundle.lock import bundle_lock
from animoe.bundle.manifest import MANIFEST, default_bundle, read_manifest
from animoe.bundle.publishing import check_name, next_version, publish, read_generations, remove, rollback
from animoe.bundle.scenarios import Column, read_state
from animoe.errors import BundleError, FailedPrecondition, InvalidRequest, NotFound, Overloaded, WriteError


@pytest.fixture
def bundle(tiny: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    ensure_child(folder, tiny.bundle)
    return folder


def learn(bundle: Path, name: str, fill: float = 1.0, **info: Any) -> Column:
    """Publishes an expert whose numbers are all `fill`."""
    column = Column(name, next_version(bundle, name))
    staged = bundle / "staged"
    staged.mkdir()
    save_file({"a": np.full(3, fill, dtype=np.float32)}, staged / "adapter_model.safetensors")
    (staged / "info.json").write_text(json.dumps({"created": "today", "emotions": ["sad"], **info}))
    publish(bundle, staged, save({"planner": np.full(2, fill, dtype=np.float32)}), column)
    return column


def in_use(bundle: Path) -> list[str]:
    return [column.name for _, column in read_state(bundle).active()]


class TestChild:
    def test_it_holds_a_manifest_and_reads_the_rest_from_its_parent(self, tiny: Any, bundle: Path) -> None:
        assert [p.name for p in bundle.iterdir()] == [MANIFEST]
        assert read_manifest(bundle).parent == str(tiny.bundle)
        assert read_manifest(bundle).digest == read_manifest(tiny.bundle).digest
        assert ensure_child(bundle, tiny.bundle) == read_manifest(bundle)

    def test_the_bundle_that_ships_is_never_written(self) -> None:
        with pytest.raises(InvalidRequest, match="is never written"):
            ensure_child(default_bundle())

    def test_a_folder_of_something_else_is_left_alone(self, tiny: Any, tmp_path: Path) -> None:
        (tmp_path / "letter.txt").write_text("dear reader")
        with pytest.raises(InvalidRequest, match="not a bundle"):
            ensure_child(tmp_path, tiny.bundle)
        with pytest.raises(InvalidRequest, match="not a bundle"):
            ensure_child(tmp_path / "letter.txt", tiny.bundle)

    def test_another_version_of_the_parent_is_told(self, tiny: Any, bundle: Path) -> None:
        raw = json.loads((bundle / MANIFEST).read_text())
        raw["files"]["motion_lm.safetensors"] = "0" * 64
        (bundle / MANIFEST).write_text(json.dumps(raw))
        with pytest.raises(BundleError, match=r"another version of .* \(motion_lm.safetensors differs\)"):
            ensure_child(bundle)

    def test_the_environment_names_the_users_own(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANIMOE_BUNDLE", str(bundle))
        assert own_bundle() == current_bundle() == bundle
        monkeypatch.setenv("ANIMOE_BUNDLE", str(bundle / "nothing"))
        assert current_bundle() == default_bundle()


class TestPublish:
    def test_a_generation_names_its_expert_and_its_planner(self, bundle: Path) -> None:
        learn(bundle, "dance")
        state = read_state(bundle)
        assert (state.generation, state.planner, in_use(bundle)) == (1, "planners/0001.safetensors", ["dance@1"])
        assert (bundle / state.planner).is_file() and not (bundle / "staged").exists()
        assert (bundle / "experts/dance@1/adapter_model.safetensors").stat().st_mode & 0o444 == 0o444

    def test_old_experts_are_not_touched(self, bundle: Path) -> None:
        learn(bundle, "dance", 1.0)
        old = (bundle / "experts/dance@1/adapter_model.safetensors").read_bytes()
        learn(bundle, "sports", 2.0)
        assert (bundle / "experts/dance@1/adapter_model.safetensors").read_bytes() == old
        assert in_use(bundle) == ["dance@1", "sports@1"]

    def test_a_new_version_takes_the_place_of_the_old_one(self, bundle: Path) -> None:
        learn(bundle, "dance")
        learn(bundle, "dance", 2.0)
        assert in_use(bundle) == ["dance@2"]
        assert [c.name for c in read_state(bundle).columns] == ["dance@1", "dance@2"]

    def test_the_digest_tells_what_is_in_use(self, bundle: Path) -> None:
        digests = [read_state(bundle).digest]
        for name, fill in (("dance", 1.0), ("sports", 1.0), ("sports", 2.0)):
            learn(bundle, name, fill)
            digests.append(read_state(bundle).digest)
        assert len(set(digests)) == 4

    def test_a_version_is_published_once(self, bundle: Path) -> None:
        column = learn(bundle, "dance")
        with pytest.raises(FailedPrecondition, match="dance@1 is published already"):
            publish(bundle, bundle / "staged", b"", column)

    def test_an_orphan_of_a_killed_import_is_ignored_and_its_version_not_used_again(self, bundle: Path) -> None:
        (bundle / "experts/dance@1").mkdir(parents=True)
        assert list_scenarios(bundle) == [] and next_version(bundle, "dance") == 2
        assert learn(bundle, "dance").version == 2

    @pytest.mark.parametrize("name", ["", "Dance", "../x", "a b", "a@2", "x" * 41, "é", "-a"])
    def test_names_that_cannot_stand_in_a_path(self, name: str) -> None:
        with pytest.raises(InvalidRequest, match="scenario name"):
            check_name(name)


class TestRollback:
    def test_the_newest_goes_back_to_the_very_state_before(self, bundle: Path) -> None:
        learn(bundle, "dance")
        before = read_state(bundle)
        learn(bundle, "dance", 2.0)
        state = rollback(bundle, "dance")
        assert (state.digest, state.columns, state.planner) == (before.digest, before.columns, before.planner)
        assert state.generation == 3 and read_state(bundle) == state

    def test_the_first_of_all_goes_back_to_nothing(self, bundle: Path) -> None:
        learn(bundle, "dance")
        assert rollback(bundle, "dance").digest == "" and in_use(bundle) == []

    def test_an_older_one_steps_back_and_younger_ones_stay(self, bundle: Path) -> None:
        for name, fill in (("dance", 1.0), ("dance", 2.0), ("sports", 1.0)):
            learn(bundle, name, fill)
        planner = read_state(bundle).planner
        rollback(bundle, "dance")
        assert in_use(bundle) == ["dance@1", "sports@1"] and read_state(bundle).planner == planner
        rollback(bundle, "dance")
        assert in_use(bundle) == ["sports@1"]
        with pytest.raises(NotFound, match="no scenario 'dance' is in use; the bundle has sports"):
            rollback(bundle, "dance")

    def test_a_version_that_was_rolled_back_is_not_given_again(self, bundle: Path) -> None:
        learn(bundle, "dance")
        learn(bundle, "dance", 2.0)
        rollback(bundle, "dance")
        assert learn(bundle, "dance", 3.0).version == 3

    def test_removing_leaves_the_files(self, bundle: Path) -> None:
        learn(bundle, "dance")
        learn(bundle, "dance", 2.0)
        remove(bundle, "dance")
        assert in_use(bundle) == [] and (bundle / "experts/dance@2").is_dir()
        with pytest.raises(NotFound, match="learnt none yet"):
            remove(bundle, "dance")

    def test_what_a_parent_has_learnt_can_be_taken_back_in_the_child_only(self, bundle: Path, tmp_path: Path) -> None:
        learn(bundle, "dance")
        child = tmp_path / "child"
        ensure_child(child, bundle)
        assert in_use(child) == ["dance@1"]
        remove(child, "dance")
        assert (in_use(child), in_use(bundle)) == ([], ["dance@1"])


class TestCatalogue:
    def test_it_tells_versions_and_force(self, bundle: Path) -> None:
        learn(bundle, "dance")
        learn(bundle, "dance", forced={"user": "ann", "time": "now", "reason": "needed"})
        (entry,) = list_scenarios(bundle)
        assert (entry["version"], entry["versions"], entry["forced"]) == (2, [1, 2], True)
        shown = show_scenario(bundle, "dance")
        assert shown["versions"][1]["forced"]["reason"] == "needed"
        assert [line["action"] for line in shown["log"]] == ["publish", "publish"]
        with pytest.raises(NotFound, match="it has dance"):
            show_scenario(bundle, "chess")

    def test_the_log_tells_who_did_what(self, bundle: Path) -> None:
        learn(bundle, "dance")
        remove(bundle, "dance")
        assert [(g.action, g.scenario) for g in read_generations(bundle)] == [("publish", "dance"), ("remove", "dance")]

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"state": 1}'])
    def test_a_damaged_log_is_named(self, bundle: Path, text: str) -> None:
        learn(bundle, "dance")
        (bundle / "generations/0001.json").write_text(text)
        with pytest.raises(BundleError, match=r"0001\.json is damaged"):
            read_generations(bundle)


def hold(folder: Path, seconds: float, held: Any) -> None:
    with bundle_lock(folder, "import of 'dance'"):
        held.set()
        time.sleep(seconds)


class TestLock:
    def test_the_second_queues_and_is_told_whom_it_waits_for(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        held, said = context.Event(), []
        other = context.Process(target=hold, args=(tmp_path, 1.0, held))
        other.start()
        assert held.wait(30)
        with (
            pytest.raises(Overloaded, match="in use by the import of 'dance'"),
            bundle_lock(tmp_path, "removal", wait=False),
        ):
            pass
        with bundle_lock(tmp_path, "removal", on_wait=said.append):
            pass
        other.join()
        assert said == [f"waiting for the import of 'dance' (process {other.pid}) to finish"]

    def test_a_killed_holder_leaves_no_lock(self, tmp_path: Path) -> None:
        code = (
            "import sys, time; from pathlib import Path; from animoe.bundle.lock import bundle_lock\n"
            "with bundle_lock(Path(sys.argv[1]), 'x'):\n    print('held', flush=True); time.sleep(60)"
        )
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        other.kill()
        other.communicate()
        with bundle_lock(tmp_path, "y", wait=False):
            pass


class TestWriting:
    def test_a_full_disk_leaves_the_old_generation(self, bundle: Path) -> None:
        resource = pytest.importorskip("resource")
        learn(bundle, "dance")
        before = read_state(bundle)
        code = (
            "import resource, signal, sys; from pathlib import Path\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
            "from animoe.bundle.publishing import publish; from animoe.bundle.scenarios import Column\n"
            "from animoe.errors import WriteError\n"
            "try:\n    publish(Path(sys.argv[1]), Path(sys.argv[1]) / 'none', bytes(10**6), Column('sports', 1))\n"
            "except WriteError as error:\n    print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=True)
        assert "cannot take more data" in done.stdout and resource
        assert read_state(bundle) == before and not list((bundle / "planners").glob(".*"))

    @pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="needs a folder that even root may not write")
    def test_a_folder_that_may_not_be_written(self, tiny: Any) -> None:
        with pytest.raises((InvalidRequest, WriteError), match="cannot be written|cannot take"):
            ensure_child(Path("/sys/kernel/animoe"), tiny.bundle)

    def test_half_a_file_is_never_seen(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"old")
        with pytest.raises(TypeError):
            write_durable(tmp_path / "x", "text")  # type: ignore[arg-type]
        assert (tmp_path / "x").read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["x"]

    def test_other_errors_stay_what_they_are(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError), refused_writes(tmp_path):
            tmp_path.read_bytes()
