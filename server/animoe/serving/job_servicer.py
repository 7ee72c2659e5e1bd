"""JobService: what is queued, what runs, how it goes."""

from __future__ import annotations

from typing import Any

import grpc

from animoe.errors import Overloaded
from animoe.serving.convert_jobs import (
    job_state_from_proto,
    job_to_proto,
    page_size_from_proto,
    page_token_from_proto,
    page_token_to_proto,
)
from animoe.serving.jobs.runner import JobRunner
from animoe.v1 import job_service_pb2 as pb
from animoe.v1 import job_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
MAX_WATCHERS = 64


class JobServicer(job_service_pb2_grpc.JobServiceServicer):
    """Answers for the jobs of one runner."""

    def __init__(self, jobs: JobRunner) -> None:
        self._jobs = jobs
        self._watchers = 0

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=job_to_proto(await self._jobs.get(request.job_id)))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        size, token = page_size_from_proto(request.page_size), page_token_from_proto(request.page_token)
        jobs, following = await self._jobs.page(size, token, job_state_from_proto(request.state), request.scenario)
        return pb.ListJobsResponse(
            jobs=[job_to_proto(job, brief=True) for job in jobs], next_page_token=page_token_to_proto(following)
        )

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> None:
        if self._watchers >= MAX_WATCHERS:
            raise Overloaded(f"{self._watchers} callers watch jobs already, the limit; use GetJob, or try again later")
        self._watchers += 1
        try:
            async for job in self._jobs.watch(request.job_id):
                await context.write(pb.WatchJobResponse(job=job_to_proto(job)))
        finally:
            self._watchers -= 1

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        return pb.CancelJobResponse(job=job_to_proto(await self._jobs.cancel(request.job_id)))
