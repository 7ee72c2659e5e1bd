"""Logs of a real server: every line of a call carries its ids, and no stranger can write a line of their own."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from animoe.client import Client, ClientError
from animoe.printable import printable
from animoe.serving.compute import Compute
from animoe.serving.logs import Ids, current_ids, fields, formatter, request_id
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import animation_service_pb2_grpc, skeleton_pb2

HOSTILE = 'x\n2026-01-01T00:00:00.000Z INFO request=stolen session=stolen Animate started\x1b[2J "rig=evil\u2028\u202e'


class Written:
    """What was logged, line by line."""

    def __init__(self, kind: str) -> None:
        self._stream = io.StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.setFormatter(formatter(kind))

    @property
    def lines(self) -> list[str]:
        return self._stream.getvalue().splitlines()

    def wait_for(self, *words: str) -> str:
        """The first line with all these words."""
        deadline = time.monotonic() + 10
        while True:
            for line in self.lines:
                if all(word in line for word in words):
                    return line
            assert time.monotonic() < deadline, f"{words} not in {self.lines}"
            time.sleep(0.02)


@pytest.fixture(params=["text"])
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    found = Written(request.param)
    logger = logging.getLogger("animoe")
    level = logger.level
    logger.addHandler(found.handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(found.handler)
    logger.setLevel(level)


json_lines = pytest.mark.parametrize("written", ["json"], indirect=True)


def start(text: str = "walk", rig: str = "ue5_manny") -> pb.AnimateRequest:
    return pb.AnimateRequest(start=pb.AnimateStart(text=text, rig=skeleton_pb2.RigSelection(profile=rig)))


def animate(target: str, *requests: pb.AnimateRequest, metadata: tuple[tuple[str, str], ...] = ()) -> Any:
    """Plays to the end and returns the call."""
    with grpc.insecure_channel(target) as channel:
        call = animation_service_pb2_grpc.AnimationServiceStub(channel).Animate(iter(requests), metadata=metadata)
        try:
            list(call)
        except grpc.RpcError:
            pass
        return call


@json_lines
def test_a_session_from_start_to_end(client: Client, written: Written) -> None:
    with client.animate("a person walks forward", seed=5) as live:
        next(live)
        live.stop()
        list(live)
    begin = json.loads(written.wait_for("Animate started"))
    end = json.loads(written.wait_for("Animate ended", begin["session"]))  # one of an earlier test may end only now
    assert re.fullmatch("[0-9a-f]{16}", begin["session"])
    assert (begin["request"], begin["session"]) == (end["request"], end["session"])
    assert (begin["rig"], begin["seed"], begin["level"]) == ("ue5_manny", 5, "info")
    assert (end["reason"], end["code"], end["frames"]) == ("stopped", "OK", live.frame_count)
    assert 0 < end["duration_s"] < 10


def test_a_client_that_vanishes_is_logged_as_such(client: Client, written: Written) -> None:
    with client.animate("a person walks forward") as live:
        next(live)
    line = written.wait_for("Animate ended", "reason=client_gone", "code=CANCELLED")
    assert " session=" in line and int(line.split("frames=")[1].split()[0]) >= 4


def test_the_end_of_a_server_is_a_reason(start_server: Callable[..., Any], written: Written) -> None:
    server = start_server()
    with Client(server.target) as client, client.animate("walk") as live:
        next(live)
        server.stop()
    written.wait_for("Animate ended", "reason=server_shutdown")


def test_a_refusal_says_why(client: Client, written: Written) -> None:
    with pytest.raises(ClientError):
        client.animate(" ")
    line = written.wait_for("Animate refused")
    assert re.search(r" INFO request=[0-9a-f]{16} Animate refused code=INVALID_ARGUMENT reason=INVALID_REQUEST", line)
    assert 'error="the prompt is empty;' in line and "frames=0" in line and "peer=ipv4:127.0.0.1:" in line


def test_a_full_server_warns_its_owner(start_server: Callable[..., Any], written: Written) -> None:
    with Client(start_server(max_streams=1).target) as client, client.animate("walk"):
        with pytest.raises(ClientError):
            client.animate("wave")
        assert " WARNING " in written.wait_for("Animate refused", "reason=OVERLOADED")


@json_lines
def test_a_callers_request_id_is_kept_and_given_back(target: str, written: Written) -> None:
    call = animate(target, start(), metadata=(("x-request-id", "game-7:npc.12"),))
    assert dict(call.trailing_metadata())["x-request-id"] == "game-7:npc.12"
    assert json.loads(written.wait_for("Animate started"))["request"] == "game-7:npc.12"
    refused = animate(target, start(rig="none"), metadata=(("x-request-id", "game-8"),))
    assert dict(refused.trailing_metadata())["x-request-id"] == "game-8"


@pytest.mark.parametrize("sent", ["", " ", "a b", "x" * 65, "a=b", 'say "hi"', "-dash", "a\nb", "ä", b"raw", None])
def test_other_request_ids_are_replaced(sent: str | bytes | None) -> None:
    assert re.fullmatch("[0-9a-f]{16}", request_id(sent))


def test_a_hostile_request_id_never_reaches_the_log(target: str, written: Written) -> None:
    animate(target, start(), metadata=(("x-request-id", "me session=stolen Animate ended"),))
    written.wait_for("Animate ended")
    assert not any("stolen" in line for line in written.lines)


@pytest.mark.parametrize("written", ["text", "json"], indirect=True)
def test_no_one_can_forge_a_line(target: str, written: Written) -> None:
    animate(target, start(rig=HOSTILE))
    line = written.wait_for("Animate refused")
    assert len(written.lines) == 1 and line.isprintable()
    if line.startswith("{"):
        entry = json.loads(line)
        assert "request=stolen" in entry["error"] and re.fullmatch("[0-9a-f]{16}", entry["request"])
    else:
        assert re.match(r"\S+Z INFO request=[0-9a-f]{16} Animate refused code=NOT_FOUND", line)
        assert re.search(r'error="(\\.|[^"\\])*" duration_s=', line), "the quoted text ends where it seems to end"


def test_whatever_a_record_holds_it_stays_one_record() -> None:
    for kind in ("text", "json"):
        written = Written(kind)
        logger = logging.Logger("animoe.test")
        logger.addHandler(written.handler)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logger.exception("it broke: %s", HOSTILE, extra=fields(size=3, word="two words", evil=HOSTILE))
        first, *rest = written.lines
        if kind == "json":
            entry = json.loads(first)
            assert rest == [] and HOSTILE in entry["exception"] and (entry["size"], entry["evil"]) == (3, HOSTILE)
        else:
            assert first.isprintable() and ' size=3 word="two words" evil="x\\\\n2026' in first
            assert rest and all(line.startswith("    ") and line.isprintable() for line in rest)


@pytest.mark.parametrize("kind", ["text", "json"])
def test_one_record_cannot_fill_a_disk(kind: str) -> None:
    record = logging.makeLogRecord({"msg": "x" * 1_000_000} | fields(name_sent="y" * 1_000_000))
    assert len(formatter(kind).format(record)) < 20_000


async def test_work_in_the_pool_belongs_to_its_stream() -> None:
    compute = Compute(1)
    current_ids.set(Ids("r", "s"))
    written = Written("json")
    logger = logging.Logger("animoe.test")
    logger.addHandler(written.handler)
    await compute.run(logger.info, "from a thread")
    compute.close()
    line = json.loads(written.lines[0])
    assert (line["request"], line["session"], line["message"]) == ("r", "s", "from a thread")


def test_printable_text_is_left_alone() -> None:
    assert printable("Grüße 12 %") == "Grüße 12 %"
    assert printable("a\tb\x1b[2J\u202e\ud800") == "a\\tb\\x1b[2J\\u202e\\ud800"
    assert printable("x" * 20, 5) == "xxxxx..."


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_a_process_that_logs_json_writes_nothing_else() -> None:
    command = [sys.executable, "-m", "animoe.cli", "serve", "--log-format", "json", "--port", "0", "--host", "0.0.0.0"]
    process = subprocess.Popen(
        [*command, "--metrics-port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    port = json.loads(first)["message"].rpartition(":")[2]
    with Client(f"127.0.0.1:{port}") as client:
        client.wait_until_ready()
        client.generate("a person waves", seconds=1).read_all()
    process.send_signal(signal.SIGTERM)
    with process:  # not communicate: it loses what readline has read ahead
        assert process.stderr is not None
        lines = [json.loads(line) for line in (first, *process.stdout)]
        assert process.stderr.read() == ""
    assert process.returncode == 0
    said = [line["message"] for line in lines]
    assert any(text.startswith("metrics are at http://127.0.0.1:") for text in said)
    assert [line["level"] for line in lines if "can be reached from the network" in line["message"]] == ["warning"]
    ended = next(line for line in lines if line["message"] == "GenerateClip ended")
    assert (ended["frames"], ended["reason"]) == (30, "done") and said[-1] == "leaving"
