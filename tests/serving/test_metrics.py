"""What a real server says about itself: to Prometheus over HTTP, and over gRPC."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from animoe.client import Client, ClientError, FrameBlock
from animoe.errors import InvalidRequest
from animoe.serving.calls import Playhead
from animoe.serving.limits import StreamSlots
from animoe.serving.monitoring.monitor import Monitor
from animoe.serving.monitoring.series import Series, quantile
from animoe.serving.server import AnimationServer, ServerConfig

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
ANIMATE = "/animoe.v1.AnimationService/Animate"


def scrape(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"animoe_{name}", tuple(sorted(labels.items()))]


def play(live: Any, blocks: int) -> int:
    """Plays so many blocks, stops, and returns the frames that came."""
    frames = sum(event.frame_count for event in islice(live, blocks) if isinstance(event, FrameBlock))
    live.stop()
    return frames + sum(event.frame_count for event in live if isinstance(event, FrameBlock))


def until(fact: Callable[[], bool]) -> None:
    """The server learns of an end a moment after its client."""
    deadline = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def server(start_server: Callable[..., Any]) -> Any:
    return start_server(metrics_port=0, max_streams=2)


@pytest.fixture
def own(server: Any) -> Iterator[Client]:
    with Client(server.target) as connection:
        yield connection


class TestEndpoint:
    def test_a_session_is_seen_while_it_lives_and_counted_when_it_ended(self, server: Any, own: Client) -> None:
        port = server.server.metrics_port
        before = scrape(port)
        assert value(before, "sessions") == value(before, "frames_total") == 0
        with own.animate("a person walks forward") as live:
            next(live)
            during = scrape(port)
            assert value(during, "sessions") == value(during, "streams") == 1
            shares = [count for (name, _), count in during.items() if name == "animoe_expert_characters"]
            assert sum(shares) == pytest.approx(1)
            frames = 4 + play(live, 3)
        until(lambda: value(scrape(port), "sessions") == 0)
        after = scrape(port)
        assert value(after, "frames_total") == frames == live.frame_count
        assert value(after, "sessions_opened_total") == value(after, "first_frame_seconds_count") == 1
        assert 0 < value(after, "first_frame_seconds_sum") < 10
        assert value(after, "first_frame_seconds_bucket", le="+Inf") == 1
        assert value(after, "calls_total", method=ANIMATE, code="OK") == 1
        assert value(after, "block_margin_seconds_count") == frames / 4 - 1, "every block but the first was due"
        assert value(after, "block_margin_seconds_bucket", le="0.0") == value(after, "deadline_misses_total")
        assert [name for name, _ in after if name == "animoe_expert_characters"] == []

    def test_the_engine_tells_of_its_steps(self, server: Any, own: Client) -> None:
        with ThreadPoolExecutor(4) as pool:
            motions = list(pool.map(lambda i: own.generate("a person walks", seconds=2, seed=i).read_all(), range(2)))
        assert [motion.frame_count for motion in motions] == [60, 60]
        # Every token of every clip is in some step; the last one is told after its frames are out.
        until(lambda: value(scrape(server.server.metrics_port), "step_batch_size_sum") == 2 * 15)
        found = scrape(server.server.metrics_port)
        steps = value(found, "step_seconds_count")
        assert 15 <= steps <= 30 and value(found, "step_batch_size_count") == steps
        assert value(found, "step_seconds_sum") > 0
        until(lambda: value(scrape(server.server.metrics_port), "queue_depth") == 0)

    def test_clips_count_as_streams_not_as_sessions(self, server: Any, own: Client) -> None:
        motion = own.generate("a person waves", seconds=1).read_all()
        until(lambda: own.status().stream_count == 0)
        found = scrape(server.server.metrics_port)
        assert value(found, "frames_total") == motion.frame_count == 30
        assert value(found, "sessions_opened_total") == 0 and value(found, "first_frame_seconds_count") == 1

    def test_refused_streams_are_counted_by_reason(self, server: Any, own: Client) -> None:
        def refused(*calls: Callable[[], Any]) -> None:
            for call in calls:
                with pytest.raises(ClientError):
                    call()

        refused(lambda: own.animate(" "), lambda: own.generate("walk", rig="no_such_rig"))
        with own.animate("walk"), own.animate("wave"):
            refused(*[lambda: own.animate("sit")] * 3)
        found = scrape(server.server.metrics_port)
        reasons = {
            labels[0][1]: count for (name, labels), count in found.items() if name == "animoe_refusals_total" and labels
        }
        assert reasons == {"INVALID_REQUEST": 1, "NOT_FOUND": 1, "OVERLOADED": 3}
        assert value(found, "calls_total", method=ANIMATE, code="RESOURCE_EXHAUSTED") == 3
        assert value(found, "sessions_opened_total") == 2

    def test_memory_and_bundle(self, server: Any, own: Client) -> None:
        found = scrape(server.server.metrics_port)
        info = next(dict(labels) for name, labels in found if name == "animoe_server_info")
        known = own.capabilities()
        assert info["digest"] == known.bundle_digest
        assert value(found, "generation") == known.generation and value(found, "streams_limit") == 2
        if sys.platform == "linux":
            assert found["process_resident_memory_bytes", ()] > 50e6 and found["process_open_fds", ()] > 5

    def test_it_goes_with_the_server(self, server: Any) -> None:
        port = server.server.metrics_port
        assert scrape(port)
        server.stop()
        with pytest.raises(urllib.error.URLError):
            scrape(port)

    def test_it_answers_while_somebody_else_says_nothing(self, server: Any) -> None:
        with socket.create_connection(("127.0.0.1", server.server.metrics_port)):
            assert scrape(server.server.metrics_port)

    def test_without_the_flag_there_is_none(self, start_server: Callable[..., Any]) -> None:
        assert start_server().server.metrics_port is None

    def test_a_port_in_use_is_one_sentence(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            command = [sys.executable, "-m", "animoe.cli", "serve", "--port", "0", "--metrics-port", str(port)]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 2
        remedy = "end the other server or choose another port with --metrics-port"
        assert ended.stderr == f"animoe: port {port} is in use; {remedy}\n"

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({"metrics_port": 65536}, "--metrics-port must be between 0 and 65535, got 65536"),
            ({"port": 7000, "metrics_port": 7000}, "--metrics-port and --port are both 7000"),
        ],
    )
    def test_impossible_ports_are_refused(self, config: dict[str, int], said: str) -> None:
        with pytest.raises(InvalidRequest, match=said):
            ServerConfig(**config)  # type: ignore[arg-type]

    async def test_an_address_of_another_machine_is_refused(self, engine: Any) -> None:
        server = AnimationServer(ServerConfig(port=0, metrics_port=0, metrics_host="192.0.2.1"), lambda: engine)
        with pytest.raises(InvalidRequest, match="cannot listen on 192.0.2.1.*--metrics-host"):
            await server.listen()
        await server.stop()


class TestStatus:
    def test_it_agrees_with_the_metrics(self, server: Any, own: Client) -> None:
        with own.animate("a person walks forward") as live:
            next(live)
            status = own.status()
            assert (status.state, status.session_count, status.max_stream_count) == ("serving", 1, 2)
            assert sum(status.experts.values()) == pytest.approx(1)
            assert status.experts.keys() == dict(live.header.experts).keys()
            assert status.first_frame.count == 1 and 0 < status.first_frame.p50_s <= status.first_frame.max_s
            assert status.bundle_digest == own.capabilities().bundle_digest
            assert status.window_s > 0 and status.frames_per_second > 0
        assert own.status().frames_sent == value(scrape(server.server.metrics_port), "frames_total")

    def test_watching_shows_a_session_come_and_go(self, own: Client) -> None:
        watch = own.watch_status(0.1)
        assert next(watch).session_count == 0
        with own.animate("walk") as live:
            next(live)
            until(lambda: next(watch).session_count == 1)
        until(lambda: next(watch).session_count == 0)

    @pytest.mark.parametrize("interval_s", [0.01, -1, 61, float("nan"), float("inf")])
    def test_an_interval_out_of_range_is_refused(self, client: Client, interval_s: float) -> None:
        with pytest.raises(ClientError, match="interval_s must be between 0.1 and 60"):
            next(client.watch_status(interval_s))

    def test_too_many_watchers_are_refused(self, own: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("animoe.serving.monitoring_servicer.MAX_WATCHERS", 1)
        watch = own.watch_status(0.1)
        next(watch)
        with pytest.raises(ClientError) as caught:
            next(own.watch_status())
        assert caught.value.code == "RESOURCE_EXHAUSTED"

    def test_watchers_do_not_hold_up_the_end(self, server: Any, own: Client) -> None:
        watch = own.watch_status(60)
        next(watch)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 2
        with pytest.raises(ClientError, match="the server is stopping"):
            next(watch)

    async def test_it_answers_while_the_model_loads(self, engine: Any) -> None:
        import asyncio

        go = threading.Event()
        server = AnimationServer(ServerConfig(port=0), lambda: (go.wait(10), engine)[1])
        target = f"127.0.0.1:{await server.listen()}"

        def state() -> str:
            with Client(target) as client:
                return client.status().state

        loading = asyncio.create_task(server.load())
        assert await asyncio.to_thread(state) == "loading"
        go.set()
        await loading
        assert await asyncio.to_thread(state) == "serving"
        await server.stop()

    def test_jobs_by_state(self, learner: Any, learner_client: Client, tmp_path: Any) -> None:
        assert learner_client.status().jobs == {}
        (learner.packs / "mine").mkdir()
        for scenario in ("dance", "fight"):
            learner_client.jobs.wait(learner_client.scenarios.import_pack(scenario, path="mine").job_id)
        until(lambda: learner_client.status().jobs == {"succeeded": 2})


class TestMonitor:
    def test_telling_it_needs_no_lock(self) -> None:
        """Whoever makes frames must never wait for a scrape."""
        monitor = Monitor(StreamSlots())
        with monitor.tally():
            monitor.step(3, 0.004)
            monitor.queue(2)
            monitor.sent(4, -0.1)
        status = monitor.status()
        assert (status.step.count, status.batch_max, status.queue_depth, status.deadlines_missed) == (1, 3, 2, 1)

    def test_nothing_is_lost_between_threads(self) -> None:
        monitor = Monitor(StreamSlots())

        def tell() -> None:
            for _ in range(2000):
                monitor.sent(4, -0.1)

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(tell) for _ in range(4)]
            while not all(task.done() for task in running):
                monitor.status()
        status = monitor.status()
        assert (status.frames_sent, status.deadlines_missed) == (32_000, 8_000)

    def test_experts_of_the_living_only(self) -> None:
        monitor = Monitor(StreamSlots())
        for session in ("a", "b"):
            monitor.live_began(session)
            monitor.performs(session, {"walk@1": 0.75, "base": 0.25})
        monitor.performs("b", {"dance@1": 1.0})
        assert monitor.status().experts == {"dance@1": 1.0, "walk@1": 0.75, "base": 0.25}
        monitor.live_ended("b")
        monitor.performs("b", {"dance@1": 1.0})  # late
        assert monitor.status().experts == {"walk@1": 0.75, "base": 0.25}

    def test_late_blocks_show_in_margins(self) -> None:
        monitor = Monitor(StreamSlots())
        for margin_s in (*[0.2] * 98, -0.1, -0.05):
            monitor.sent(4, margin_s)
        monitor.sent(4)  # of a clip: never late
        status = monitor.status()
        assert (status.margin_p50_s, status.margin_p1_s) == (0.2, -0.1)
        assert (status.deadlines_missed, status.deadlines_missed_recently) == (2, 2)


class TestPlayhead:
    def test_it_begins_with_the_first_block(self) -> None:
        playhead = Playhead(30.0)
        assert playhead.margin_s(0, 100.0) is None
        assert playhead.margin_s(30, 100.75) == pytest.approx(0.25)

    def test_it_waits_for_a_late_block_so_that_one_stall_is_one_miss(self) -> None:
        playhead = Playhead(30.0)
        playhead.margin_s(0, 100.0)
        assert playhead.margin_s(30, 101.5) == pytest.approx(-0.5)
        assert playhead.margin_s(60, 102.0) == pytest.approx(0.5)

    def test_frames_that_are_replaced_are_due_when_they_were(self) -> None:
        playhead = Playhead(30.0)
        playhead.margin_s(0, 100.0)
        assert playhead.margin_s(60, 101.0) == pytest.approx(1.0)
        assert playhead.margin_s(45, 101.0) == pytest.approx(0.5)


class TestSeries:
    def test_a_value_on_a_bound_belongs_below_it(self) -> None:
        series = Series((1.0, 2.0))
        for item in (0.5, 1.0, 1.5, 9.0):
            series.add(100.0, item)
        assert (series.counts, series.total) == ([2, 1, 1], 12.0)

    def test_old_values_leave_the_window_but_stay_in_the_histogram(self) -> None:
        series = Series((1.0,))
        series.add(100.2, 5.0)
        series.add(109.9, 0.5)
        assert series.recent.values(110.1) == [0.5, 5.0]
        assert series.recent.values(111.0) == [0.5]
        assert series.latency(130.0).count == 0
        assert series.counts == [1, 1]

    def test_quantiles_by_hand(self) -> None:
        values = [float(i) for i in range(1, 101)]
        assert [quantile(values, share) for share in (0.0, 0.01, 0.5, 0.99, 1.0)] == [1, 1, 50, 99, 100]
        assert quantile([], 0.5) == 0 and quantile([7.0], 0.99) == 7
