"""The short form of `make bench-soak`: a real server, survivors, bad clients that are killed, what is left of them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_server_is_what_it_was_after_clients_that_leave_cancel_hang_and_die() -> None:
    command = [sys.executable, str(BENCHMARKS / "soak.py"), "--short", "--json", "--seed", "3"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["wrong"] == []
    assert found["gaps"] == found["streams_left"] == 0
    assert found["frames"] > 100
    assert found["killed"] > 3 and found["silent"] > 3
    assert {"play", "clip", "wrong"} <= set(found["done"])


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import soak

    return soak


@pytest.fixture
def judged(soak: Any) -> Callable[..., list[str]]:
    """What is said of a good soak of which some fields are otherwise."""
    from chaos import Report
    from served import Usage

    usage = Usage(200.0, 20, 12, {"handle": 3})
    plan = soak.Plan(1, 1, 1, 3, 2, 3, (0, 1), (0, 1), 3, (0, 1), 10.0, 2, deadlines=True)
    done = {"play": 9, "clip": 3, "wrong": 2}
    good = soak.Verdict(plan, 1, usage, usage, usage, usage, 0, 900, 0, 0, 0.0, done, 5, 5, {})

    def judge(
        *, held: dict[str, Any] | None = None, wrong: tuple[str, ...] = (), log: str = "", **changed: Any
    ) -> list[str]:
        after = dataclasses.replace(usage, **(held or {}))
        verdict = dataclasses.replace(good, **({"after": after} | changed))
        report = Report(soak.Counter(done), list(wrong))
        found: list[str] = soak.judge(verdict, report, [], log)
        return found

    return judge


def test_a_good_soak_is_not_blamed(judged: Callable[..., list[str]]) -> None:
    line = json.dumps({"level": "info", "message": "Animate ended"})
    assert judged(held={"rss_mb": 205.0, "threads": 13}, log=line) == []


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"held": {"fds": 21}}, "file descriptors grew from 20 to 21"),
        ({"held": {"tasks": {"handle": 3, "forgotten": 2}}}, "{'forgotten': 2}"),
        ({"held": {"threads": 15}}, "threads grew from 12 to 15"),
        ({"held": {"rss_mb": 211.0}}, "memory grew from 200 to 211 MB"),
        ({"streams_left": 1}, "1 streams are left"),
        ({"gaps": 4}, "lack 4 frames"),
        ({"underruns": 1}, "1 underruns"),
        ({"wrong": ("play: INTERNAL: broken",)}, "play: INTERNAL: broken"),
        ({"log": json.dumps({"level": "error", "message": "Animate failed"})}, "Animate failed"),
        ({"log": "Traceback (most recent call last):"}, "Traceback"),
        ({"frames": 0}, "little happened"),
    ],
)
def test_each_fault_is_named(judged: Callable[..., list[str]], planted: dict[str, Any], said: str) -> None:
    (sentence,) = judged(**planted)
    assert said in sentence
