"""The server: all services, health and reflection on one port; starts, reports ready, leaves cleanly."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from animoe import __version__
from animoe.bundle.manifest import default_bundle
from animoe.engine import Engine
from animoe.errors import InvalidRequest
from animoe.serving.addresses import address, bind_problem, check_address, warn_of_network
from animoe.serving.animation_servicer import AnimationServicer
from animoe.serving.compute import Compute
from animoe.serving.interceptors import CallInterceptor
from animoe.serving.learning import Learning, LearningConfig
from animoe.serving.limits import DEFAULT_MAX_STREAMS, MAX_MESSAGE_BYTES, Limits, StreamSlots
from animoe.serving.logs import PLAIN, set_up_logs
from animoe.serving.monitoring.monitor import Monitor
from animoe.serving.monitoring_servicer import MonitoringServicer
from animoe.serving.recordings import Recorder
from animoe.serving.reload import BundleWatcher
from animoe.serving.retargeters import prepare
from animoe.serving.unlearning import NoJobs, NoScenarios
from animoe.v1 import (
    animation_service_pb2,
    animation_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    monitoring_service_pb2,
    monitoring_service_pb2_grpc,
    scenario_service_pb2,
    scenario_service_pb2_grpc,
)

if TYPE_CHECKING:
    from animoe.serving.monitoring.prometheus import MetricsEndpoint

DEFAULT_PORT = 50151
SERVICE = animation_service_pb2.DESCRIPTOR.services_by_name["AnimationService"].full_name
SERVICES = (
    SERVICE,
    scenario_service_pb2.DESCRIPTOR.services_by_name["ScenarioService"].full_name,
    job_service_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
    monitoring_service_pb2.DESCRIPTOR.services_by_name["MonitoringService"].full_name,
)
LOOPBACK = "127.0.0.1"
CLIP_WORKERS = 2
"""Clips that make a block at one time: they share what live characters leave, they do not queue up before them."""
_GRACE_S = 3.0
_GARBAGE_THRESHOLD = 20_000
"""Objects that may be added before Python looks for cycles among them: a step with 64 characters adds 3,000."""
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # two servers on one port would share its calls at random
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),  # finds dead clients behind live streams
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # Unity clients ping every 30 s
)


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerConfig:
    """How to serve.

    Attributes:
        host: address to listen on; anything but loopback is open to the network.
        port: 0 to 65535; 0 lets the system choose.
        bundle: model bundle folder; None is the one that comes with AniMoE.
        max_streams: most clips and live sessions at one time, >= 1.
        learning: where and how packs are learnt; None for a server that only performs.
        metrics_port: HTTP port for Prometheus, 0 to 65535 as `port`; None for none.
        metrics_host: address that it listens on.
        limits: what one caller may do.
        record: folder for recordings of live sessions; None records none.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    bundle: Path | None = None
    max_streams: int = DEFAULT_MAX_STREAMS
    learning: LearningConfig | None = None
    metrics_port: int | None = None
    metrics_host: str = LOOPBACK
    limits: Limits = Limits()
    record: Path | None = None

    def __post_init__(self) -> None:
        for flag, port in (("--port", self.port), ("--metrics-port", self.metrics_port)):
            if port is not None and not 0 <= port <= 65535:
                raise InvalidRequest(f"{flag} must be between 0 and 65535, got {port}")
        if self.metrics_port and self.metrics_port == self.port:
            raise InvalidRequest(f"--metrics-port and --port are both {self.port}; choose two different ports")
        if self.max_streams < 1:
            raise InvalidRequest(f"--max-streams must be 1 or more, got {self.max_streams}")


class AnimationServer:
    """One server in the running event loop: `listen`, `load`, then `stop`.

    Args:
        config: how to serve.
        load_engine: makes the engine, in the compute pool; None loads the bundle of the config.

    Raises:
        InvalidRequest: recordings cannot be written.

    Attributes:
        port: listened on, 0 before `listen`. metrics_port: the same of the metrics, None without them.
        slots: streams that run now and their limit. monitor: how the server does.
    """

    def __init__(self, config: ServerConfig, load_engine: Callable[[], Engine] | None = None) -> None:
        self._config = config
        self._load_engine = load_engine or (lambda: Engine.load(config.bundle))
        self._compute = Compute()
        self.slots = StreamSlots(config.max_streams)
        self.monitor = Monitor(self.slots)
        self._clips = Compute(CLIP_WORKERS)
        self._recorder = None if config.record is None else Recorder(config.record)
        self._servicer = AnimationServicer(self._compute, self._clips, self.slots, config.limits, self._recorder)
        self._monitoring = MonitoringServicer(self.monitor)
        self._metrics: MetricsEndpoint | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        self._learning = Learning(config.learning, config.bundle or default_bundle()) if config.learning else None
        self._tasks: list[asyncio.Task[None]] = []
        self._server = grpc.aio.server(interceptors=[CallInterceptor(self.monitor)], options=_OPTIONS)
        self.port = 0
        self.metrics_port: int | None = None

    async def listen(self) -> int:
        """Opens the ports and returns the one of gRPC. Calls are answered UNAVAILABLE until `load` is done.

        Raises:
            InvalidRequest: the address cannot be listened on.
        """
        check_address(self._config.host, self._config.port)
        animation_service_pb2_grpc.add_AnimationServiceServicer_to_server(self._servicer, self._server)
        scenarios, jobs = self._learning.servicers() if self._learning else (NoScenarios(), NoJobs())
        scenario_service_pb2_grpc.add_ScenarioServiceServicer_to_server(scenarios, self._server)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(jobs, self._server)
        monitoring_service_pb2_grpc.add_MonitoringServiceServicer_to_server(self._monitoring, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME),
            self._server,
        )
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._open_metrics()
        self._tasks.append(asyncio.create_task(self.monitor.run()))
        self.port = self._server.add_insecure_port(address(self._config.host, self._config.port))
        await self._server.start()
        return self.port

    async def load(self) -> Engine:
        """Loads the engine, then reports SERVING, follows what is published, and goes on with jobs that wait.

        Raises:
            BundleError: unusable bundle. InvalidRequest, Unavailable: unusable job database.
        """
        engine = await self._compute.run(self._load_engine)
        await self._compute.run(prepare)
        engine.observer = self.monitor
        self._servicer.engine = self.monitor.engine = engine
        if self._learning is not None:
            self._servicer.max_upload_bytes = self._learning.config.max_upload_bytes
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        if self._config.bundle is not None or self._learning is not None:
            learnt = self._learning.config.bundle if self._learning is not None else None
            self._tasks.append(asyncio.create_task(BundleWatcher(engine, self._compute, learnt).run()))
        if self._learning is not None:
            await self._learning.start()
            self._tasks.append(asyncio.create_task(self.monitor.follow_jobs(self._learning.count_jobs)))
        return engine

    async def stop(self, grace_s: float = _GRACE_S) -> None:
        """Refuses new calls, ends live sessions, lets clips finish for `grace_s` seconds."""
        self.monitor.stopping = True
        await self._health.enter_graceful_shutdown()
        stopped = asyncio.create_task(self._server.stop(grace_s))
        await asyncio.sleep(0)  # new calls are refused from here on
        self._servicer.end_live_streams()
        self._monitoring.end_watches()
        for task in self._tasks:
            task.cancel()
        if self._learning is not None:
            await self._learning.stop()
        await stopped
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)
        self._compute.close()
        self._clips.close()

    async def _open_metrics(self) -> None:
        host, port = self._config.metrics_host, self._config.metrics_port
        if port is None:
            return
        from animoe.serving.monitoring.prometheus import MetricsEndpoint  # 40 ms that most servers can do without

        check_address(host, port, "--metrics-")
        try:
            self._metrics = await asyncio.to_thread(MetricsEndpoint, self.monitor, host, port)
        except OSError as error:  # somebody took it in between
            raise InvalidRequest(bind_problem(host, port, "--metrics-", error)) from error
        self.metrics_port = self._metrics.port

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", *SERVICES):
            await self._health.set(service, status)


def serve(config: ServerConfig) -> None:
    """Serves until Ctrl-C or SIGTERM; what it says is printed unless the caller has set logs up otherwise."""
    if not logging.getLogger().handlers:
        set_up_logs("text")
    asyncio.run(_serve(config))


async def _serve(config: ServerConfig) -> None:
    leaving = asyncio.Event()
    _on_signals(leaving.set)
    server = AnimationServer(config)
    started = time.monotonic()
    try:
        port = await server.listen()
        _say(f"AniMoE {__version__} is listening on {address(config.host, port)}")
        if server.metrics_port is not None:
            _say(f"metrics are at http://{address(config.metrics_host, server.metrics_port)}/metrics")
        if config.record is not None:
            _say(f"live sessions are recorded in {config.record}; nothing there is ever deleted")
        for host in {config.host, config.metrics_host if server.metrics_port is not None else config.host}:
            warn_of_network(host)
        loading = asyncio.ensure_future(server.load())
        leave = asyncio.ensure_future(leaving.wait())
        await asyncio.wait((loading, leave), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            _rarely_collect()
            info, took_s = loading.result().info, time.monotonic() - started
            _say(f"ready in {took_s:.1f} s with bundle {info.bundle_name} ({info.bundle_digest})")
            await leave
        _say("leaving")
    finally:
        await server.stop()


def _rarely_collect() -> None:
    """Python's search for cycles holds up every thread, up to 75 ms with 200 characters, and finds nothing: what a
    stream leaves behind goes by counting references (`make bench-soak` would show else). So it looks at models and
    modules never again, and at the rest only where much was added."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD, 10, 10)


def _on_signals(leave: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, leave)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(leave))


def _say(text: str) -> None:
    log.info("%s", text, extra=PLAIN)
