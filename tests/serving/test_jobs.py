"""Jobs over gRPC, in real processes: queue, progress, cancel, restarts, several servers on one database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from animoe.client import Client, ClientError, Job
from animoe.serving.jobs import process
from animoe.serving.jobs.importing import Follower, import_command, published_unsaid
from animoe.serving.jobs.job import Job as StoredJob
from animoe.serving.jobs.job import JobState, now_ms
from animoe.serving.jobs.runner import MAX_CRASHES, JobRunner
from animoe.serving.jobs.store import LEASE_MS, JobStore, sqlite_url

SCRIPT = Path(__file__).with_name("fake_import.py")
COMMAND = (sys.executable, str(SCRIPT))
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def write_script(packs: Path, name: str, *steps: list[Any]) -> str:
    (packs / name).mkdir(parents=True, exist_ok=True)
    (packs / name / "script.json").write_text(json.dumps(steps))
    return name


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
    return found


def in_state(client: Client, job: Job, state: str) -> Job:
    return wait_for(lambda: found if (found := client.jobs.get(job.job_id)).state == state else None)  # type: ignore[no-any-return]


class TestOneServer:
    def test_progress_is_watched_until_the_end(self, learner: Any, learner_client: Client) -> None:
        steps = [["say", 0.25, "first"], ["wait_for", "go"], ["say", 0.75, "second"], ["publish"]]
        pack = write_script(learner.packs, "p", *steps)
        job = learner_client.scenarios.import_pack("dance", path=pack)
        assert (job.state, job.scenario, job.attempts) == ("queued", "dance", 0)
        seen = []
        for found in learner_client.jobs.watch(job.job_id):
            seen.append(found)
            if found.progress == 0.25:
                (learner.packs / "p" / "go").touch()
        half = next(found for found in seen if found.progress == 0.25)
        assert (half.state, half.step, half.eta_s, half.message) == ("running", "train", 3.0, "first")
        last = seen[-1]
        assert (last.state, last.progress, last.expert, last.eta_s) == ("succeeded", 1.0, "dance@1", None)
        assert last.log == ("first", "second") and last.create_time_ms <= last.start_time_ms <= last.end_time_ms
        assert [found.progress for found in seen] == sorted(found.progress for found in seen)

    def test_how_imports_end_is_told_apart(self, learner: Any, learner_client: Client) -> None:
        ends = {
            "refuse": ("refused", "", "not published: walk got worse"),
            "fail": ("failed", "NOT_FOUND", "the pack is empty"),
            "break": ("failed", "IMPORT_FAILED", "out of luck"),
        }
        jobs = {}
        for name in ends:
            pack = write_script(learner.packs, name, [name, "animoe: out of luck"])
            jobs[name] = learner_client.scenarios.import_pack(name, path=pack)
        for name, (state, reason, message) in ends.items():
            job = learner_client.jobs.wait(jobs[name].job_id)
            assert (job.state, job.reason, job.message) == (state, reason, message)
        listed = list(learner_client.jobs.list(state="failed"))
        assert [job.scenario for job in listed] == ["break", "fail"] and not any(job.log for job in listed)
        assert [job.scenario for job in learner_client.jobs.list(scenario="refuse")] == ["refuse"]

    def test_imports_queue_and_a_queued_one_can_be_cancelled(self, learner: Any, learner_client: Client) -> None:
        slow = write_script(learner.packs, "slow", ["wait_for", "go"], ["publish"])
        first, second, third = (learner_client.scenarios.import_pack(f"s{i}", path=slow) for i in range(3))
        in_state(learner_client, first, "running")
        assert learner_client.jobs.get(second.job_id).state == "queued"
        assert learner_client.jobs.cancel(second.job_id).state == "cancelled"
        (learner.packs / "slow" / "go").touch()
        assert learner_client.jobs.wait(third.job_id).state == "succeeded"
        assert learner_client.jobs.get(second.job_id).start_time_ms == 0

    def test_cancelling_ends_the_process(self, learner: Any, learner_client: Client) -> None:
        pack = write_script(learner.packs, "p", ["say", 0.1, "on"], ["wait_for", "never"])
        job = learner_client.scenarios.import_pack("dance", path=pack)
        wait_for(lambda: learner_client.jobs.get(job.job_id).progress == 0.1)
        assert learner_client.jobs.cancel(job.job_id).cancel_requested
        done = learner_client.jobs.wait(job.job_id)
        assert (done.state, done.expert) == ("cancelled", "")
        assert learner_client.jobs.cancel(job.job_id).state == "cancelled"

    @linux
    def test_an_import_killed_from_outside_goes_on(self, learner: Any, learner_client: Client) -> None:
        pack = write_script(
            learner.packs, "p", ["journal", "running"], ["say", 0.5, "on"], ["wait_unless_resumed"], ["publish"]
        )
        job = learner_client.scenarios.import_pack("dance", path=pack)
        wait_for(lambda: learner_client.jobs.get(job.job_id).progress == 0.5)
        os.kill(pid_of(learner.bundle, job.job_id), signal.SIGKILL)
        done = learner_client.jobs.wait(job.job_id)
        assert (done.state, done.attempts, done.report["flags"]["resume"]) == ("succeeded", 2, "True")

    def test_unknown_jobs_and_wrong_pages_are_refused(self, learner_client: Client) -> None:
        for call in (learner_client.jobs.get, learner_client.jobs.cancel, learner_client.jobs.wait):
            with pytest.raises(ClientError, match="no job 'x'") as caught:
                call("x")
            assert caught.value.code == "NOT_FOUND"
        with pytest.raises(ClientError, match="unknown job state 'asleep'; choose from queued"):
            list(learner_client.jobs.list(state="asleep"))


def pid_of(bundle: Path, job_id: str) -> int:
    store = JobStore(sqlite_url(str(bundle / ".jobs" / "jobs.sqlite")))
    try:
        return store.get(job_id).pid
    finally:
        store.close()


class TestRestart:
    def test_a_stopped_server_interrupts_its_job_and_the_next_one_goes_on(
        self, start_learner: Callable[..., Any]
    ) -> None:
        first = start_learner()
        pack = write_script(
            first.packs, "p", ["journal", "running"], ["say", 0.5, "on"], ["wait_unless_resumed"], ["publish"]
        )
        with Client(first.target) as client:
            job = client.scenarios.import_pack("dance", path=pack)
            queued = client.scenarios.import_pack("later", path=write_script(first.packs, "q", ["publish"]))
            wait_for(lambda: client.jobs.get(job.job_id).progress == 0.5)
        began = time.monotonic()
        first.server.stop()
        assert time.monotonic() - began < 8.0
        with Client(start_learner().target) as client:
            done = client.jobs.wait(job.job_id)
            assert (done.state, done.attempts) == ("succeeded", 2) and done.report["flags"]["resume"] == "True"
            assert client.jobs.wait(queued.job_id).state == "succeeded"

    @linux
    @pytest.mark.parametrize("import_dies_too", [False, True])
    def test_a_killed_server_loses_no_job(self, child: Path, tmp_path: Path, import_dies_too: bool) -> None:
        """A server process of its own, killed with -9; its import lives on and is found again, or is resumed."""
        packs = tmp_path / "packs"
        steps = [["journal", "running"], ["say", 0.5, "on"], ["wait_for", "go"], ["publish"]]
        pack = write_script(packs, "p", *steps)
        server, target = serve(child, packs)
        with Client(target) as client:
            client.wait_until_ready()
            job = client.scenarios.import_pack("dance", path=pack)
            wait_for(lambda: client.jobs.get(job.job_id).progress == 0.5)
        server.kill()
        server.communicate()
        pid = pid_of(child, job.job_id)
        assert process.identity(pid), "the import died with its server"
        if import_dies_too:
            os.kill(pid, signal.SIGKILL)
        server, target = serve(child, packs)
        try:
            with Client(target) as client:
                client.wait_until_ready()
                if import_dies_too:
                    wait_for(lambda: client.jobs.get(job.job_id).attempts == 2)
                (packs / "p" / "go").touch()
                done = client.jobs.wait(job.job_id)
            assert (done.state, done.attempts) == ("succeeded", 2 if import_dies_too else 1)
            assert done.report["flags"]["resume"] == str(import_dies_too)
        finally:
            server.terminate()
            server.communicate(timeout=20)


def serve(bundle: Path, packs: Path) -> tuple[subprocess.Popen[str], str]:
    code = f"""
        from pathlib import Path
        from animoe.serving.learning import LearningConfig
        from animoe.serving.server import ServerConfig, serve
        bundle = Path({str(bundle)!r})
        learning = LearningConfig(bundle, Path({str(packs)!r}), command={COMMAND!r}, idle=False)
        serve(ServerConfig(port=0, bundle=bundle, learning=learning))
    """
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline().split(" listening on ")[1].strip()


@pytest.fixture
def database(tmp_path: Path) -> str:
    return sqlite_url(str(tmp_path / "jobs.sqlite"))


def stored(tmp_path: Path, **fields: Any) -> StoredJob:
    return StoredJob("dance", str(tmp_path / "bundle"), str(tmp_path / "p"), "p", **fields)


class TestSeveralServers:
    async def test_two_servers_on_one_database_run_each_job_once(self, database: str, tmp_path: Path) -> None:
        bundle = tmp_path / "bundle"
        runners = [
            JobRunner(lambda: JobStore(database), bundle, tmp_path / "files", command=COMMAND, idle=False) for _ in "ab"
        ]
        for runner in runners:
            await runner.open()
        pack = write_script(tmp_path, "p", ["publish"])
        jobs = [await runners[i % 2].submit(stored(tmp_path, job_id=f"job{i}")) for i in range(4)]
        assert pack
        for job in jobs:
            found = [item async for item in runners[1].watch(job.job_id)][-1]
            assert (found.state, found.attempts) == (JobState.SUCCEEDED, 1)
        spans = sorted([(j.start_time_ms, j.end_time_ms) for j in (await runners[0].page(9, None, None, ""))[0]])
        assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))
        for runner in runners:
            await runner.stop()

    def test_a_lease_is_held_by_one_and_taken_from_the_dead(self, database: str) -> None:
        store = JobStore(database)
        alive = lambda owner: False  # noqa: E731
        assert store.lease("b", "one", alive) and store.lease("b", "one", alive)
        assert not store.lease("b", "two", alive)
        assert store.lease("other", "two", alive)
        assert store.lease("b", "two", lambda owner: owner == "one")
        store.release("b", "one")  # not his any more
        assert not store.lease("b", "one", alive)
        store.close()

    def test_a_lease_that_nobody_renews_runs_out(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        store = JobStore(database)
        assert store.lease("b", "elsewhere|1|x|y", process.owner_is_gone)
        later = now_ms() + LEASE_MS + 1
        monkeypatch.setattr("animoe.serving.jobs.store.now_ms", lambda: later)
        assert store.lease("b", "two", process.owner_is_gone)
        store.close()


class TestStore:
    def test_a_job_comes_back_as_it_was(self, database: str, tmp_path: Path) -> None:
        store = JobStore(database)
        job = stored(tmp_path, request_id="r", uploaded=True, force=True, log=("a", "b"), minutes=1.5, user="me")
        assert store.add(job) == store.get(job.job_id) == store.by_request("r") == job
        assert store.add(stored(tmp_path, request_id="r")) == job
        store.close()

    def test_pages_hold_every_job_once_newest_first(self, database: str, tmp_path: Path) -> None:
        store = JobStore(database)
        names = [store.add(stored(tmp_path, job_id=f"{i:02d}")).job_id for i in range(7)]
        found, token = [], None
        while True:
            page, token = store.page(3, token)
            found += [job.job_id for job in page]
            if token is None:
                break
        assert found == names[::-1]
        store.close()

    def test_a_final_job_changes_no_more(self, database: str, tmp_path: Path) -> None:
        store = JobStore(database)
        job = store.add(stored(tmp_path))
        running = store.update(job.job_id, (JobState.QUEUED,), state=JobState.RUNNING)
        assert running is not None and (running.state, running.revision) == (JobState.RUNNING, 1)
        assert store.update(job.job_id, (JobState.QUEUED,), state=JobState.CANCELLED) is None
        assert store.get(job.job_id).state is JobState.RUNNING
        store.close()


class TestImportCommand:
    def test_a_name_never_becomes_a_flag(self, tmp_path: Path) -> None:
        command = import_command(StoredJob("dance", "b", "-rf", "p", force=True, force_reason="--x", user="-u"))
        assert command[-2:] == ["--", "-rf"] and "--reason=--x" in command and "--user=-u" in command
        assert "--resume" not in command

    def test_only_its_own_journal_is_resumed(self, tmp_path: Path) -> None:
        job = stored(tmp_path, start_time_ms=now_ms())
        folder = Path(job.bundle) / "imports" / "dance-0001"
        (folder / "work").mkdir(parents=True)
        raw = {
            "scenario": "dance",
            "pack": job.pack,
            "status": "running",
            "version": 4,
            "started": "2099-01-01T00:00:00Z",
        }
        for other in ({"pack": "another"}, {"started": "2001-01-01T00:00:00Z"}, {"scenario": "sport"}):
            (folder / "journal.json").write_text(json.dumps(raw | other))
            assert "--resume" not in import_command(job)
        (folder / "journal.json").write_text(json.dumps(raw))
        assert "--resume" in import_command(job) and published_unsaid(job) is None
        (folder / "journal.json").write_text(json.dumps(raw | {"status": "published"}))
        found = published_unsaid(job)
        assert found is not None and (found.state, found.expert) == (JobState.SUCCEEDED, "dance@4")

    def test_lines_are_read_as_they_come_and_rubbish_does_no_harm(self, tmp_path: Path) -> None:
        output, errors = tmp_path / "out", tmp_path / "err"
        follower = Follower(output, errors)
        assert not follower.read()
        output.write_bytes(b'{"step": "train", "done": 7, "eta_s": 2}\n{"step": "tr')
        errors.write_bytes(b"10%\r90%\n\xff\n")
        assert follower.read() and follower.progress == {"step": "train", "progress": 1.0, "eta_s": 2.0}
        assert list(follower.log) == ["90%", "\ufffd"]
        with output.open("ab") as stream:
            stream.write(b'ain", "done": NaN, "eta_s": -1}\n[1]\n{"result": "unheard of"}\nplain\n')
        assert follower.read() and follower.outcome is None and follower.progress["eta_s"] == 2.0
        assert follower.log[-1] == "plain"


class TestPriority:
    @linux
    def test_imports_run_aside_with_what_nobody_else_wants(self, tmp_path: Path) -> None:
        output = tmp_path / "out"
        code = "import os; print(os.nice(0), os.sched_getscheduler(0), os.environ['OMP_NUM_THREADS'], os.getsid(0))"
        worker = process.start([sys.executable, "-c", code], output, tmp_path / "err", idle=True)
        wait_for(lambda: not worker.running, 60)
        nice, scheduler, threads, session = map(int, output.read_text().split())
        assert (nice >= 15, scheduler, threads, session) == (True, os.SCHED_IDLE, 1, worker.pid)

    @pytest.mark.skipif(not Path("/proc/self/autogroup").is_file(), reason="this system shares no time by session")
    def test_its_session_counts_least(self, tmp_path: Path) -> None:
        output = tmp_path / "out"
        code = "from pathlib import Path; print(Path('/proc/self/autogroup').read_text())"
        worker = process.start([sys.executable, "-c", code], output, tmp_path / "err", idle=True)
        wait_for(lambda: not worker.running, 60)
        assert output.read_text().split()[-1] == "19"
        assert worker.code == 0

    @linux
    def test_a_process_number_that_comes_again_is_another_process(self) -> None:
        own = process.identity(os.getpid())
        assert process.is_alive(os.getpid(), own) and not process.is_alive(os.getpid(), own + "1")
        assert not process.is_alive(0, "") and process.identity(2**22 + 7) == ""
        assert not process.owner_is_gone(process.owner_name("x"))
        assert process.owner_is_gone(f"{process.HOST}|{os.getpid()}|other|x")
        assert not process.owner_is_gone(f"elsewhere|{os.getpid()}|other|x")


async def test_a_job_that_kills_its_process_again_and_again_is_given_up(database: str, tmp_path: Path) -> None:
    killer = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    runner = JobRunner(lambda: JobStore(database), tmp_path / "bundle", tmp_path / "files", command=killer, idle=False)
    job = await runner.submit(stored(tmp_path))
    found = [item async for item in runner.watch(job.job_id)][-1]
    await runner.stop()
    assert (found.state, found.reason, found.attempts) == (JobState.FAILED, "CRASHED", MAX_CRASHES)
