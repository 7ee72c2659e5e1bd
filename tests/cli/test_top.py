"""`animoe top` against a real server: once, for programs, line by line, and on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from animoe.cli import main
from animoe.cli.top import describe
from animoe.client import Client, Latency, Status

TOP = [sys.executable, "-m", "animoe.cli", "top"]
IDLE = Status(
    server_version="1.2.3",
    state="serving",
    uptime_s=3725.0,
    bundle_name="mine",
    bundle_digest="0123456789abcdef",
    generation=2,
    session_count=0,
    stream_count=0,
    max_stream_count=256,
    sessions_opened=0,
    window_s=10.0,
    frames_per_second=0.0,
    frames_sent=0,
    first_frame=Latency(0, 0.0, 0.0, 0.0),
    step=Latency(0, 0.0, 0.0, 0.0),
    batch_mean=0.0,
    batch_max=0,
    margin_p50_s=0.0,
    margin_p1_s=0.0,
    deadlines_missed=0,
    deadlines_missed_recently=0,
    queue_depth=0,
    experts={},
    refusals={},
    cuts={},
    jobs={},
    rss_bytes=0,
    cpu_share=0.0,
)


def test_once_shows_a_live_session(client: Client, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    with client.animate("a person walks forward") as live:
        next(live)
        assert main(["top", "--once", "--server", target]) == 0
    shown = capsys.readouterr().out
    assert f"at {target}: serving" in shown and "characters   1 live" in shown
    assert "first frame  p50" in shown and "experts in use" in shown and "\x1b" not in shown


def test_once_for_programs(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--json", "--server", target]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "serving" and {"p50_s", "p99_s", "count", "max_s"} == set(found["first_frame"])


@pytest.mark.parametrize("flags", [["--once"], [], ["--json"]])
def test_no_server_is_one_sentence(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--server", "127.0.0.1:1", *flags]) == 2
    assert capsys.readouterr().err.startswith("animoe: no AniMoE server answers at 127.0.0.1:1")


def test_an_interval_out_of_range_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--interval", "0.01"]) == 2
    assert "--interval must be between 0.1 and 60, got 0.01" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_without_a_terminal_it_goes_on_line_by_line_until_it_is_interrupted(target: str) -> None:
    command = [*TOP, "--json", "--interval", "0.1", "--server", target]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert looks[0]["uptime_s"] < looks[1]["uptime_s"] < looks[2]["uptime_s"]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


class Terminal:
    """`animoe top` on a pseudo-terminal of 100 x 30."""

    def __init__(self, target: str) -> None:
        import pty
        import termios

        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 100))
        environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [*TOP, "--interval", "0.1", "--server", target],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=environment,
        )
        os.close(theirs)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Reads on until `text` appears in what comes from now on."""
        import select

        begin, deadline = len(self.shown), time.monotonic() + 20
        while text not in self.shown[begin:]:
            assert time.monotonic() < deadline, f"{text!r} not in {self.shown[-2000:]!r}"
            if select.select([self._ours], [], [], 0.1)[0]:
                self.shown += os.read(self._ours, 1 << 16).decode()

    def interrupt(self) -> bytes:
        """Ctrl-C; returns what it said on stderr."""
        self.process.send_signal(signal.SIGINT)
        self.wait_for("\x1b[?25h\x1b[?1049l")
        _, errors = self.process.communicate(timeout=10)
        os.close(self._ours)
        return errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_on_a_terminal_it_redraws_survives_the_server_and_gives_the_screen_back(
    start_server: Callable[..., Any],
) -> None:
    server = start_server()
    terminal = Terminal(server.target)
    terminal.wait_for("characters   0 live")
    assert terminal.shown.startswith("\x1b[?1049h\x1b[?25l\x1b[H")
    with Client(server.target) as client, client.animate("walk") as live:
        next(live)
        terminal.wait_for("characters   1 live")
    server.stop()
    terminal.wait_for("(trying again)")
    assert terminal.interrupt() == b""
    assert terminal.process.returncode == 0


def test_an_idle_server_shows_no_figures_that_were_not_measured() -> None:
    lines = describe(IDLE, "host:1")
    assert lines[0] == "AniMoE 1.2.3 at host:1: serving, up 1 h 2 min"
    assert "first frame  none lately" in lines and "step         none lately" in lines
    assert not [line for line in lines if "before they are due" in line or line.startswith(("refused", "jobs"))]


def test_a_busy_server_line_by_line() -> None:
    latency = Latency(70, 0.0041, 0.0123, 0.02)
    busy = replace(
        IDLE,
        step=latency,
        batch_mean=31.96,
        batch_max=64,
        margin_p50_s=0.2,
        margin_p1_s=-0.01,
        deadlines_missed=3,
        deadlines_missed_recently=1,
        refusals={"OVERLOADED": 2},
        cuts={"IDLE": 1},
        jobs={"running": 1, "queued": 2},
        rss_bytes=412_000_000,
        experts={f"expert{i}@1": 10.0 - i for i in range(10)},
    )
    shown = "\n".join(describe(busy, "host:1"))
    assert "step         p50 4.1 ms, p99 12.3 ms, max 20.0 ms, 70 lately; batch 32.0 on average, 64 at most" in shown
    assert "3 missed (1 lately); blocks are ready 200 ms before they are due, the latest 1 % -10 ms" in shown
    assert "refused      OVERLOADED 2" in shown and "cut          IDLE 1" in shown
    assert "jobs         queued 2, running 1" in shown
    assert "412 MB of memory" in shown and "  2 more" in shown


def test_what_a_server_says_cannot_move_the_cursor() -> None:
    hostile = replace(IDLE, bundle_name="\x1b[2Jowned\r\n", experts={"\x1b]0;title\x07": 1.0})
    assert all(line.isprintable() for line in describe(hostile, "host:1"))
