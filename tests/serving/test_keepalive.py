"""Callers who ping a silent stream are not thrown out: a queued job may have nothing to say for minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from animoe.client.client import _OPTIONS as CLIENT
from animoe.serving import server as serving

INTERVAL = "grpc.http2.min_ping_interval_without_data_ms"
PINGS = 5
"""gRPC forgives two that come too early."""


def test_pings_at_a_client_s_usual_pace_leave_a_silent_stream_alone(
    start_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = dict(CLIENT)["grpc.keepalive_time_ms"]
    allowed = dict(serving._OPTIONS)[INTERVAL]
    assert allowed <= every / 2
    faster = tuple((name, 500 if name == INTERVAL else value) for name, value in serving._OPTIONS)
    monkeypatch.setattr(serving, "_OPTIONS", faster)  # the same proportion, in seconds instead of minutes
    options = (("grpc.keepalive_time_ms", 1000), ("grpc.http2.max_pings_without_data", 0))
    with grpc.insecure_channel(start_server().target, options=options) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        time.sleep(PINGS + 0.5)
        assert watch.is_active(), watch
        watch.cancel()
