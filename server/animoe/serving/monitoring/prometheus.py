"""Metrics for Prometheus, on an HTTP port of their own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable, Iterator
from itertools import accumulate
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from animoe import __version__
from animoe.serving.jobs.job import JobState
from animoe.serving.monitoring.monitor import Monitor
from animoe.serving.monitoring.series import Series
from animoe.serving.monitoring.status import Status
from animoe.serving.monitoring.tally import Tally

_SILENCE_S = 10.0
log = logging.getLogger(__name__)


class MetricsEndpoint:
    """Answers scrapes in threads of its own, each with what is true at that moment.

    Args:
        port: 0 lets the system choose.

    Attributes:
        port: listened on.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(self, monitor: Monitor, host: str, port: int) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_MonitorCollector(monitor))
        ProcessCollector(registry=registry)  # memory, file descriptors, processor time, under their usual names
        kind = _ServerV6 if ":" in host else _Server
        self._server = make_server(host, port, make_wsgi_app(registry), kind, handler_class=_Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="animoe-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(WSGIRequestHandler):
    timeout = _SILENCE_S  # nobody holds a thread by saying nothing

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a scrape broke off", exc_info=True)


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _MonitorCollector(Collector):
    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        status = self._monitor.status()
        yield from _gauges(status)
        with self._monitor.tally() as tally:
            counted = [*_histograms(tally), *_counters(tally)]
        yield from counted


def _gauges(status: Status) -> Iterator[Metric]:
    labels = {"version": __version__, "bundle": status.bundle_name, "digest": status.bundle_digest}
    yield InfoMetricFamily("animoe_server", "Version of the server, bundle in use.", labels)
    plain: tuple[tuple[str, str, float], ...] = (
        ("sessions", "Live characters.", status.session_count),
        ("streams", "Streams: live sessions and clips.", status.stream_count),
        ("streams_limit", "Most streams at one time.", status.max_stream_count),
        ("queue_depth", "Characters that wait for a step.", status.queue_depth),
        ("generation", "Generation of the bundle's experts in use.", status.generation),
    )
    for name, text, value in plain:
        yield GaugeMetricFamily(f"animoe_{name}", text, value)
    experts = GaugeMetricFamily(
        "animoe_expert_characters", "Sum over the live characters of each expert's share.", labels=["expert"]
    )
    for expert, characters in status.experts.items():
        experts.add_metric([expert], characters)
    yield experts
    jobs = GaugeMetricFamily("animoe_jobs", "Jobs of the bundle by state.", labels=["state"])
    for state in JobState:
        jobs.add_metric([state.value], status.jobs.get(state, 0))
    yield jobs


def _counters(tally: Tally) -> Iterator[Metric]:
    yield CounterMetricFamily("animoe_frames", "Frames sent.", tally.frames)
    yield CounterMetricFamily("animoe_sessions_opened", "Live sessions opened.", tally.opened)
    yield CounterMetricFamily("animoe_deadline_misses", "Blocks that were late, stalls of callers.", tally.missed)
    refusals = CounterMetricFamily("animoe_refusals", "Streams that were refused, by reason.", labels=["reason"])
    for reason, count in tally.refusals.items():
        refusals.add_metric([reason], count)
    yield refusals
    cuts = CounterMetricFamily(
        "animoe_cuts", "Streams ended by an error after they began, by reason.", labels=["reason"]
    )
    for reason, count in tally.cuts.items():
        cuts.add_metric([reason], count)
    yield cuts
    calls = CounterMetricFamily("animoe_calls", "Calls that ended.", labels=["method", "code"])
    for (method, code), count in tally.calls.items():
        calls.add_metric([method, code], count)
    yield calls


def _histograms(tally: Tally) -> Iterator[Metric]:
    yield _histogram("first_frame_seconds", "From a stream's request to its first frames.", tally.first_frames)
    yield _histogram("step_seconds", "One step of the engine.", tally.steps)
    yield _histogram("step_batch_size", "Characters in one step.", tally.batches)
    yield _histogram("block_margin_seconds", "How long before it was due a block was ready.", tally.margins)


def _histogram(name: str, text: str, series: Series) -> Metric:
    bounds = [*(str(float(bound)) for bound in series.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(series.counts), strict=True))
    return HistogramMetricFamily(f"animoe_{name}", text, buckets, series.total)
