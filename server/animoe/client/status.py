"""How a server does: once, or again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from animoe.client.errors import plain_errors
from animoe.v1 import job_service_pb2, monitoring_service_pb2_grpc
from animoe.v1 import monitoring_service_pb2 as pb

_DEADLINE_S = 10.0


@dataclass(frozen=True)
class Latency:
    """Times of one kind in the window, seconds: how many, median, 99th percentile, longest; all 0 without one."""

    count: int
    p50_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True)
class Status:
    """How a server does. Rates and latencies are over the last `window_s` seconds, counters since it started.

    Attributes:
        state: "loading", "serving" or "stopping".
        session_count: live characters. stream_count: these and clips.
        first_frame: from a request to its first frames. step: one step of the engine, for `batch_mean` characters.
        margin_p50_s, margin_p1_s: how long before they were due blocks were ready; below 0 is late.
        deadlines_missed: late blocks since the start; `deadlines_missed_recently` in the window.
        queue_depth: characters that wait for a step.
        experts: NAME@VERSION or "base" -> sum of its shares over the live characters, most used first.
        refusals: reason -> streams refused. cuts: reason -> streams ended by an error after they began.
        jobs: state -> jobs.
        rss_bytes: memory of the server, 0 = unknown. cpu_share: processors that it keeps busy.
    """

    server_version: str
    state: str
    uptime_s: float
    bundle_name: str
    bundle_digest: str
    generation: int
    session_count: int
    stream_count: int
    max_stream_count: int
    sessions_opened: int
    window_s: float
    frames_per_second: float
    frames_sent: int
    first_frame: Latency
    step: Latency
    batch_mean: float
    batch_max: int
    margin_p50_s: float
    margin_p1_s: float
    deadlines_missed: int
    deadlines_missed_recently: int
    queue_depth: int
    experts: dict[str, float]
    refusals: dict[str, int]
    cuts: dict[str, int]
    jobs: dict[str, int]
    rss_bytes: int
    cpu_share: float


class StatusClient:
    """The monitoring half of `Client`. Every method raises ClientError."""

    def __init__(self, channel: grpc.Channel, target: str) -> None:
        self._stub = monitoring_service_pb2_grpc.MonitoringServiceStub(channel)
        self._target = target

    def get(self) -> Status:
        with plain_errors(self._target):
            return read_status(self._stub.GetStatus(pb.GetStatusRequest(), timeout=_DEADLINE_S).status)

    def watch(self, interval_s: float) -> Iterator[Status]:
        call = self._stub.WatchStatus(pb.WatchStatusRequest(interval_s=interval_s))
        try:
            with plain_errors(self._target):
                for response in call:
                    yield read_status(response.status)
        finally:
            call.cancel()


def read_status(status: pb.ServerStatus) -> Status:
    return Status(
        server_version=status.server_version,
        state=pb.ServerState.Name(status.state).removeprefix("SERVER_STATE_").lower(),
        uptime_s=status.uptime_s,
        bundle_name=status.bundle_name,
        bundle_digest=status.bundle_digest,
        generation=status.generation,
        session_count=status.session_count,
        stream_count=status.stream_count,
        max_stream_count=status.max_stream_count,
        sessions_opened=status.sessions_opened,
        window_s=status.window_s,
        frames_per_second=status.frames_per_second,
        frames_sent=status.frames_sent,
        first_frame=_read_latency(status.first_frame),
        step=_read_latency(status.step),
        batch_mean=status.batch_mean,
        batch_max=status.batch_max,
        margin_p50_s=status.margin_p50_s,
        margin_p1_s=status.margin_p1_s,
        deadlines_missed=status.deadlines_missed,
        deadlines_missed_recently=status.deadlines_missed_recently,
        queue_depth=status.queue_depth,
        experts={item.expert: item.characters for item in status.experts},
        refusals={item.reason: item.count for item in status.refusals},
        cuts={item.reason: item.count for item in status.cuts},
        jobs={_job_state(item.state): item.count for item in status.jobs},
        rss_bytes=status.rss_bytes,
        cpu_share=status.cpu_share,
    )


def _read_latency(latency: pb.Latency) -> Latency:
    return Latency(latency.count, latency.p50_s, latency.p99_s, latency.max_s)


def _job_state(state: job_service_pb2.JobState) -> str:
    return job_service_pb2.JobState.Name(state).removeprefix("JOB_STATE_").lower()
