"""Stand-ins for the services of learning where a server must not write its bundle: they say why."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from animoe.errors import FailedPrecondition
from animoe.v1 import job_service_pb2_grpc, scenario_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


async def _refuse(self: object, request: object, context: Context) -> NoReturn:
    raise FailedPrecondition(
        "this server performs from a bundle that is never written; start it with --bundle DIR to let it learn"
    )


class NoScenarios(scenario_service_pb2_grpc.ScenarioServiceServicer):
    ImportPack = ListScenarios = GetScenario = GetReport = RollbackScenario = DeleteScenario = _refuse


class NoJobs(job_service_pb2_grpc.JobServiceServicer):
    GetJob = ListJobs = WatchJob = CancelJob = _refuse
