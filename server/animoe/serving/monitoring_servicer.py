"""MonitoringService: how the server does, once or again and again."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from animoe.errors import Overloaded, Unavailable
from animoe.serving.convert_status import interval_from_proto, status_to_proto
from animoe.serving.monitoring.monitor import Monitor
from animoe.v1 import monitoring_service_pb2 as pb
from animoe.v1 import monitoring_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
MAX_WATCHERS = 64


class MonitoringServicer(monitoring_service_pb2_grpc.MonitoringServiceServicer):
    """Answers with what a monitor knows."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._watchers = 0
        self._leaving = asyncio.Event()

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        return pb.GetStatusResponse(status=status_to_proto(self._monitor.status()))

    async def WatchStatus(self, request: pb.WatchStatusRequest, context: Context) -> None:
        interval_s = interval_from_proto(request.interval_s)
        if self._watchers >= MAX_WATCHERS:
            raise Overloaded(f"{self._watchers} callers watch the server already, the limit; use GetStatus instead")
        self._watchers += 1
        try:
            while not self._leaving.is_set():
                await context.write(pb.WatchStatusResponse(status=status_to_proto(self._monitor.status())))
                await self._wait(interval_s)
            raise Unavailable("the server is stopping")
        finally:
            self._watchers -= 1

    def end_watches(self) -> None:
        """Lets everybody who watches go, so that the server can leave at once."""
        self._leaving.set()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._leaving.wait(), seconds)
        except TimeoutError:
            pass
