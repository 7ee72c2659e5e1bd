"""protobuf <-> the server's status."""

from __future__ import annotations

import math

from animoe import __version__
from animoe.errors import InvalidRequest
from animoe.serving.convert_jobs import job_state_to_proto
from animoe.serving.monitoring.series import Latency
from animoe.serving.monitoring.status import ServerState, Status
from animoe.v1 import monitoring_service_pb2 as pb

_STATES: dict[ServerState, pb.ServerState] = {
    ServerState.LOADING: pb.SERVER_STATE_LOADING,
    ServerState.SERVING: pb.SERVER_STATE_SERVING,
    ServerState.STOPPING: pb.SERVER_STATE_STOPPING,
}
_MIN_INTERVAL_S, _DEFAULT_INTERVAL_S, _MAX_INTERVAL_S = 0.1, 1.0, 60.0


def interval_from_proto(interval_s: float) -> float:
    """Raises InvalidRequest when it is out of range."""
    if interval_s == 0:
        return _DEFAULT_INTERVAL_S
    if not (math.isfinite(interval_s) and _MIN_INTERVAL_S <= interval_s <= _MAX_INTERVAL_S):
        raise InvalidRequest(
            f"interval_s must be between {_MIN_INTERVAL_S:g} and {_MAX_INTERVAL_S:g}, got {interval_s:g}"
        )
    return interval_s


def status_to_proto(status: Status) -> pb.ServerStatus:
    return pb.ServerStatus(
        server_version=__version__,
        state=_STATES[status.state],
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
        first_frame=_latency_to_proto(status.first_frame),
        step=_latency_to_proto(status.step),
        batch_mean=status.batch_mean,
        batch_max=status.batch_max,
        margin_p50_s=status.margin_p50_s,
        margin_p1_s=status.margin_p1_s,
        deadlines_missed=status.deadlines_missed,
        deadlines_missed_recently=status.deadlines_missed_recently,
        queue_depth=status.queue_depth,
        experts=[pb.ExpertUse(expert=name, characters=count) for name, count in status.experts.items()],
        refusals=[pb.Refusal(reason=reason, count=count) for reason, count in status.refusals.items()],
        cuts=[pb.Refusal(reason=reason, count=count) for reason, count in status.cuts.items()],
        jobs=[pb.JobCount(state=job_state_to_proto(state), count=count) for state, count in status.jobs.items()],
        rss_bytes=status.rss_bytes,
        cpu_share=status.cpu_share,
    )


def _latency_to_proto(latency: Latency) -> pb.Latency:
    return pb.Latency(count=latency.count, p50_s=latency.p50, p99_s=latency.p99, max_s=latency.max)
