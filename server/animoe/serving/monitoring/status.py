"""Status: how a server does at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from animoe.serving.jobs.job import JobState
from animoe.serving.monitoring.series import Latency


class ServerState(StrEnum):
    """Whether a server performs; see protos/animoe/v1/monitoring_service.proto."""

    LOADING = "loading"
    SERVING = "serving"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Status:
    """Fields as in ServerStatus of protos/animoe/v1/monitoring_service.proto."""

    state: ServerState
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
    experts: Mapping[str, float]
    refusals: Mapping[str, int]
    cuts: Mapping[str, int]
    jobs: Mapping[JobState, int]
    rss_bytes: int
    cpu_share: float
