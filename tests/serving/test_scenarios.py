"""Scenarios over gRPC: a published expert is live at once and no stream notices; packs come in safely."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from animoe.bundle.scenarios import SCENARIOS, read_state
from animoe.client import Client, ClientError, ControlApplied, FrameBlock, LiveStream
from animoe.errors import InvalidRequest, NotAllowed, NotFound
from animoe.serving.learning import LearningConfig
from animoe.serving.uploads import pack_path
from animoe.v1 import scenario_service_pb2 as pb
from animoe.v1 import scenario_service_pb2_grpc

LIVE_WITHIN_S = 0.2
SCHEDULING_S = 0.3
"""What a busy test machine may add."""
WALK = "a person walks forward"


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Seconds until it holds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - start


def play(live: LiveStream, frames: int) -> list[FrameBlock | ControlApplied]:
    events: list[Any] = []
    while sum(event.frame_count for event in events if isinstance(event, FrameBlock)) < frames:
        events.append(next(live))
    return events


def zipped(**files: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return stream.getvalue()


class TestHotReload:
    def test_a_published_expert_is_live_at_once(
        self, learner: Any, learner_client: Client, publish_expert: Callable[..., Any]
    ) -> None:
        assert learner_client.capabilities().generation == 0
        publish_expert(learner.bundle, "dance")
        took = wait_for(lambda: learner_client.capabilities().generation == 1)
        assert took < LIVE_WITHIN_S + SCHEDULING_S
        assert learner_client.capabilities().experts == ("dance@1",)

    def test_a_running_stream_goes_on_and_takes_it_up_with_its_next_prompt(
        self, learner: Any, learner_client: Client, publish_expert: Callable[..., Any]
    ) -> None:
        with learner_client.animate(WALK) as live:
            assert (dict(live.header.experts), live.header.generation) == ({"base": 1.0}, 0)
            events = play(live, 12)
            publish_expert(learner.bundle, "dance")
            wait_for(lambda: learner_client.capabilities().generation == 1)
            live.set_emotion("happy")
            events += play(live, 24)
            live.set_prompt(WALK)  # the same words, by other experts
            events += play(live, 24)
        frames = [event for event in events if isinstance(event, FrameBlock)]
        assert [block.first_frame for block in frames] == list(range(0, 4 * len(frames), 4))
        felt, asked = (event for event in events if isinstance(event, ControlApplied))
        assert (felt.generation, dict(felt.experts)) == (0, {"base": 1.0})
        assert felt.bundle_digest == live.header.bundle_digest
        assert asked.generation == 1 and set(asked.experts) == {"base", "dance@1"}
        assert sum(asked.experts.values()) == pytest.approx(1.0, abs=1e-5)
        assert asked.bundle_digest == learner_client.capabilities().bundle_digest != felt.bundle_digest

    def test_a_new_stream_begins_with_the_new_expert_and_it_moves_otherwise(
        self, learner: Any, learner_client: Client, publish_expert: Callable[..., Any]
    ) -> None:
        before = learner_client.generate(WALK, seconds=1.0, seed=3).read_all()
        publish_expert(learner.bundle, "dance")
        wait_for(lambda: learner_client.capabilities().generation == 1)
        after = learner_client.generate(WALK, seconds=1.0, seed=3).read_all()
        assert set(after.header.experts) == {"base", "dance@1"} and after.header.generation == 1
        assert (before.local_rotations != after.local_rotations).any()

    def test_a_damaged_generation_is_told_once_and_the_old_one_stays(
        self,
        learner: Any,
        learner_client: Client,
        publish_expert: Callable[..., Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        publish_expert(learner.bundle, "dance")
        wait_for(lambda: learner_client.capabilities().generation == 1)
        good = (learner.bundle / SCENARIOS).read_text()
        (learner.bundle / SCENARIOS).write_text("{")
        wait_for(lambda: "scenarios.json is damaged" in caplog.text)
        time.sleep(0.3)
        assert caplog.text.count("the old one stays") == 1
        assert learner_client.capabilities().experts == ("dance@1",)
        raw = json.loads(good) | {"generation": 2}
        raw["columns"].append({"scenario": "gone", "version": 1, "active": True})
        (learner.bundle / SCENARIOS).write_text(json.dumps(raw))
        wait_for(lambda: caplog.text.count("the old one stays") == 2)
        (learner.bundle / SCENARIOS).write_text(good)
        assert learner_client.generate(WALK, seconds=0.4).read_all().header.generation == 1

    def test_rollback_and_delete_are_live_too(
        self, learner: Any, learner_client: Client, publish_expert: Callable[..., Any]
    ) -> None:
        publish_expert(learner.bundle, "dance", seed=1)
        first = wait_for(lambda: learner_client.capabilities().generation == 1) and learner_client.capabilities()
        publish_expert(learner.bundle, "dance", seed=2)
        publish_expert(learner.bundle, "sport", seed=3)
        wait_for(lambda: learner_client.capabilities().experts == ("dance@2", "sport@1"))
        dance, sport = learner_client.scenarios.list()
        assert (dance.name, dance.version, dance.versions, dance.emotions) == ("dance", 2, (1, 2), ("happy",))
        learner_client.scenarios.delete("sport")
        wait_for(lambda: learner_client.capabilities().experts == ("dance@2",))
        assert learner_client.scenarios.rollback("dance").version == 1
        wait_for(lambda: learner_client.capabilities().experts == ("dance@1",))
        assert learner_client.scenarios.get("sport").version is None
        assert first and learner_client.scenarios.get("dance").info[1]["created"] == "2026-01-01T00:00:00Z"
        with pytest.raises(ClientError) as caught:
            learner_client.scenarios.rollback("sport")
        assert caught.value.code == "NOT_FOUND" and "dance" in str(caught.value)

    def test_a_server_takes_up_a_child_that_is_made_while_it_runs(
        self, tiny: Any, tmp_path: Path, start_server: Callable[..., Any], publish_expert: Callable[..., Any]
    ) -> None:
        from animoe.bundle.child import ensure_child
        from animoe.engine import Engine

        own = tmp_path / "own"
        learning = LearningConfig(own)
        server = start_server(lambda: Engine.load(tiny.bundle), bundle=tiny.bundle, learning=learning)
        with Client(server.target) as client:
            assert list(client.scenarios.list()) == [] and not own.exists()
            ensure_child(own, tiny.bundle)
            publish_expert(own, "dance")
            wait_for(lambda: client.capabilities().experts == ("dance@1",))
        assert not (tiny.bundle / SCENARIOS).exists()


class TestUpload:
    """What hostile or careless callers send."""

    @pytest.fixture
    def stub(self, learner: Any) -> Iterator[Any]:
        with grpc.insecure_channel(learner.target) as channel:
            yield scenario_service_pb2_grpc.ScenarioServiceStub(channel)

    @staticmethod
    def requests(data: bytes, *, name: str = "pack.zip", **changes: Any) -> list[pb.ImportPackRequest]:
        fields = {"name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} | changes
        start = pb.ImportPackStart(scenario="dance", upload=pb.PackUpload(**fields))
        chunks = [pb.ImportPackRequest(chunk=data[i : i + 1000]) for i in range(0, len(data), 1000)]
        return [pb.ImportPackRequest(start=start), *chunks]

    @staticmethod
    def refused(stub: Any, requests: list[pb.ImportPackRequest]) -> str:
        with pytest.raises(grpc.RpcError) as caught:
            stub.ImportPack(iter(requests), timeout=20)
        from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

        metadata = dict(caught.value.trailing_metadata())
        status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info) and info.domain == "animoe"
        return f"{caught.value.code().name} {info.reason}: {caught.value.details()}"

    def test_hostile_uploads_are_refused_and_leave_nothing(self, learner: Any, stub: Any) -> None:
        good = zipped(pack="x" * 3000)
        cases = [
            (self.requests(good, sha256="0" * 64), "INVALID_ARGUMENT INVALID_REQUEST: the upload's SHA-256 is"),
            (self.requests(good, sha256="short"), "INVALID_ARGUMENT INVALID_REQUEST: upload.sha256"),
            (self.requests(good, size_bytes=len(good) - 1), "INVALID_ARGUMENT INVALID_REQUEST: the upload is larger"),
            (self.requests(good, size_bytes=len(good) + 1), "INVALID_ARGUMENT INVALID_REQUEST: the upload ended"),
            (self.requests(good, size_bytes=0), "INVALID_ARGUMENT INVALID_REQUEST: upload.size_bytes"),
            (self.requests(good, size_bytes=2**62), "RESOURCE_EXHAUSTED OVERLOADED: the pack has"),
            (self.requests(b"this is no zip" * 99), "INVALID_ARGUMENT BAD_FILE: pack.zip: it is not a zip"),
            (self.requests(good)[1:], "FAILED_PRECONDITION FAILED_PRECONDITION: the first message"),
            (self.requests(good) + self.requests(good)[:1], "INVALID_ARGUMENT INVALID_REQUEST: only chunks may follow"),
            ([self.requests(good)[0], pb.ImportPackRequest(chunk=b"")], "INVALID_ARGUMENT INVALID_REQUEST: a chunk is"),
            ([], "FAILED_PRECONDITION FAILED_PRECONDITION: the import ended before"),
        ]
        for requests, expected in cases:
            assert self.refused(stub, requests).startswith(expected)
        assert [path for path in (learner.bundle / ".jobs").rglob("*") if path.is_file() and "zip" in path.name] == []
        with Client(learner.target) as client:
            assert list(client.jobs.list()) == []

    @pytest.mark.parametrize("name", ["", "../up", "-rf", "Dance", "a" * 41, "a/b", "ü"])
    def test_names_that_may_not_stand_in_a_path_are_refused(self, learner_client: Client, name: str) -> None:
        with pytest.raises(ClientError, match="scenario name") as caught:
            learner_client.scenarios.import_pack(name, path="x")
        assert caught.value.code == "INVALID_ARGUMENT"

    def test_a_good_upload_becomes_a_job_whose_pack_is_removed_at_its_end(
        self, learner: Any, learner_client: Client, tmp_path: Path
    ) -> None:
        pack = tmp_path / "mine"
        (pack / "deep").mkdir(parents=True)
        (pack / "deep" / "a.bvh").write_text("HIERARCHY")
        job = learner_client.scenarios.import_pack("dance", upload=pack, force=True, reason="why", user="me")
        done = learner_client.jobs.wait(job.job_id)
        assert (done.state, done.pack, done.expert) == ("succeeded", "mine", "dance@1")
        flags = done.report["flags"]
        assert flags["pack"].endswith("/mine.zip") and not Path(flags["pack"]).parent.exists()
        assert (flags["force"], flags["reason"], flags["user"]) == ("True", "why", "me")

    def test_the_same_request_again_is_the_same_job(self, learner: Any, learner_client: Client) -> None:
        (learner.packs / "p").mkdir()
        jobs = [learner_client.scenarios.import_pack("dance", path="p", request_id="one") for _ in range(2)]
        assert jobs[0].job_id == jobs[1].job_id
        other = learner_client.scenarios.import_pack("dance", path="p")
        assert other.job_id != jobs[0].job_id


class TestPaths:
    @pytest.mark.parametrize("path", ["../secret", "/etc", "p/../../secret", "link"])
    def test_a_path_outside_is_not_allowed(self, learner: Any, learner_client: Client, path: str) -> None:
        (learner.packs.parent / "secret").mkdir(exist_ok=True)
        (learner.packs / "link").symlink_to(learner.packs.parent / "secret")
        with pytest.raises(ClientError, match="outside the folder") as caught:
            learner_client.scenarios.import_pack("dance", path=path)
        assert (caught.value.code, caught.value.reason) == ("PERMISSION_DENIED", "NOT_ALLOWED")

    def test_paths_inside_are_found_relative_or_absolute(self, tmp_path: Path) -> None:
        (tmp_path / "p").mkdir()
        assert pack_path("p", tmp_path) == pack_path(str(tmp_path / "p"), tmp_path) == (tmp_path / "p").resolve()

    def test_what_is_no_path_or_not_there_is_told(self, tmp_path: Path) -> None:
        for bad in ("", "a\0b", "x" * 5000):
            with pytest.raises(InvalidRequest, match="is no path"):
                pack_path(bad, tmp_path)
        with pytest.raises(NotFound, match="no pack 'nothing'"):
            pack_path("nothing", tmp_path)
        with pytest.raises(NotAllowed, match="--packs DIR"):
            pack_path("p", None)


def test_a_server_that_does_not_learn_says_why(client: Client) -> None:
    for call in (lambda: client.scenarios.import_pack("dance", path="p"), lambda: list(client.jobs.list())):
        with pytest.raises(ClientError, match="--bundle DIR") as caught:
            call()
        assert caught.value.code == "FAILED_PRECONDITION"
    assert client.capabilities().max_upload_bytes == 0


@pytest.mark.parametrize("page", [{"page_size": -1}, {"page_size": 1001}, {"page_token": "x"}, {"page_token": "-1"}])
def test_pages_that_cannot_be_are_refused(learner: Any, page: dict[str, Any]) -> None:
    with grpc.insecure_channel(learner.target) as channel:
        stub = scenario_service_pb2_grpc.ScenarioServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListScenarios(pb.ListScenariosRequest(**page), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_bundle_in_use_is_not_changed_behind_an_import(
    learner: Any, learner_client: Client, publish_expert: Callable[..., Any]
) -> None:
    from animoe.bundle.lock import bundle_lock

    publish_expert(learner.bundle, "dance")
    with bundle_lock(learner.bundle, "import of 'sport'"):
        with pytest.raises(ClientError, match="in use by the import of 'sport'") as caught:
            learner_client.scenarios.delete("dance")
    assert caught.value.code == "RESOURCE_EXHAUSTED" and read_state(learner.bundle).generation == 1


@pytest.mark.parametrize(("field", "value"), [("packs", Path("nowhere")), ("max_upload_mb", 0)])
def test_flags_that_cannot_be_are_refused(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"--{field.replace('_', '-')}"):
        LearningConfig(tmp_path, **{field: value})


def test_a_job_database_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    from animoe.serving.jobs.store import JobStore

    for url in ("nonsense", "klingon://x"):
        with pytest.raises(InvalidRequest, match="--jobs cannot be used"):
            JobStore(url)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="animoe")
