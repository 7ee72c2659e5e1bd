"""`animoe pack import --server`, `animoe scenario --server` and `animoe jobs` against a real server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from animoe.cli import main
from animoe.client import Client


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "script.json").write_text(json.dumps([["say", 0.5, "half"], ["refuse"]]))
    return folder


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_an_upload_is_followed_to_its_end(learner: Any, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pack", "import", str(pack), "--scenario", "dance", "--server", learner.target]
    assert main(command) == 0  # the stand-in finds no script in a zip and publishes
    assert printed(capsys) == "succeeded: published dance@1\n"
    assert main([*command, "--json"]) == 0
    *progress, last = map(json.loads, printed(capsys).splitlines())
    assert last["result"] == "published" and all({"step", "done", "eta_s"} <= set(line) for line in progress)


def test_a_pack_on_the_server_is_refused_with_code_3(
    learner: Any, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rename(pack, learner.packs / "there")
    command = ["pack", "import", "there", "--on-server", "--scenario", "dance", "--server", learner.target]
    assert main(command) == 3
    assert printed(capsys) == "refused: not published: walk got worse\n"
    assert main([*command, "--detach", "--json"]) == 0
    job = json.loads(printed(capsys))["job"]
    assert main(["jobs", "watch", job, "--server", learner.target]) == 3
    capsys.readouterr()
    assert main(["jobs", "show", job, "--server", learner.target]) == 0
    assert "import of dance" in (shown := printed(capsys)) and "| half" in shown
    assert main(["jobs", "list", "--state", "refused", "--json", "--server", learner.target]) == 0
    assert [item["scenario"] for item in json.loads(printed(capsys))] == ["dance", "dance"]
    assert main(["jobs", "cancel", job, "--server", learner.target]) == 0
    assert "refused" in printed(capsys)


def test_scenarios_of_a_server(
    learner: Any,
    learner_client: Client,
    publish_expert: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = ["--server", learner.target]
    assert main(["scenario", "list", *at]) == 0 and "learnt no scenario yet" in printed(capsys)
    for seed in (1, 2):
        publish_expert(learner.bundle, "dance", seed=seed)
    assert main(["scenario", "list", *at]) == 0 and printed(capsys).split()[:2] == ["dance", "@2"]
    assert main(["scenario", "rollback", "dance", *at]) == 0 and printed(capsys) == "dance@1 is in use\n"
    assert main(["scenario", "show", "dance", *at]) == 0 and json.loads(printed(capsys))["version"] == 1
    assert main(["scenario", "remove", "dance", *at]) == 0 and printed(capsys) == "dance is not in use any more\n"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--server", "127.0.0.1:1"], "start one with 'animoe serve'"),
        (["--server", "127.0.0.1:1", "--bundle", "x"], "--bundle and --server cannot go together"),
        (["--detach"], "need --server"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    pack: Path, flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", "import", str(pack), "--scenario", "dance", *flags]) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.splitlines()) == 1


def test_a_pack_that_is_not_there_is_told(learner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", "import", "nowhere", "--scenario", "dance", "--server", learner.target]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
