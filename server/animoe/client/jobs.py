"""Jobs of a server: long work that was queued, runs or has ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import grpc

from animoe.client.errors import plain_errors, refused
from animoe.v1 import job_service_pb2 as pb
from animoe.v1 import job_service_pb2_grpc

_DEADLINE_S = 10.0
_PREFIX = "JOB_STATE_"
_PAGE = 100
_FINAL = ("succeeded", "refused", "failed", "cancelled")


@dataclass(frozen=True)
class Job:
    """One piece of long work.

    Attributes:
        state: "queued", "running", "succeeded", "refused" (learnt, but an older scenario would have become worse),
            "failed" or "cancelled".
        scenario: what it learns. pack: from what. step, progress (0 to 1), message: what it does now, or how it ended.
        eta_s: seconds left, None while nobody knows. reason: of a failure, stable. expert: NAME@VERSION once published.
        report: what the import found out. log: its newest lines. Both are left out in lists.
        create_time_ms, start_time_ms, end_time_ms: since 1970 UTC, 0 = not yet. attempts: how often it was started.
    """

    job_id: str
    state: str
    scenario: str
    pack: str
    step: str
    progress: float
    eta_s: float | None
    message: str
    reason: str
    expert: str
    report: dict[str, Any]
    log: tuple[str, ...]
    cancel_requested: bool
    create_time_ms: int
    start_time_ms: int
    end_time_ms: int
    attempts: int

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in _FINAL


class JobClient:
    """`Client.jobs`. Every method raises ClientError."""

    def __init__(self, channel: grpc.Channel, target: str) -> None:
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)
        self._target = target

    def get(self, job_id: str) -> Job:
        """The job as it is now."""
        with plain_errors(self._target):
            return read_job(self._stub.GetJob(pb.GetJobRequest(job_id=job_id), timeout=_DEADLINE_S).job)

    def list(self, *, state: str = "", scenario: str = "") -> Iterator[Job]:
        """All jobs, newest first, fetched page by page; only those in a state or of a scenario if wanted."""
        request = pb.ListJobsRequest(page_size=_PAGE, state=_state_value(state), scenario=scenario)
        while True:
            with plain_errors(self._target):
                answer = self._stub.ListJobs(request, timeout=_DEADLINE_S)
            yield from map(read_job, answer.jobs)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    def watch(self, job_id: str) -> Iterator[Job]:
        """The job now and after every change, until it has ended."""
        call = self._stub.WatchJob(pb.WatchJobRequest(job_id=job_id))
        try:
            with plain_errors(self._target):
                for response in call:
                    yield read_job(response.job)
        finally:
            call.cancel()

    def wait(self, job_id: str) -> Job:
        """The job once it has ended."""
        for _ in self.watch(job_id):
            pass
        return self.get(job_id)

    def cancel(self, job_id: str) -> Job:
        """Ends a job; a running one takes a few seconds to end, one that has ended stays as it is."""
        with plain_errors(self._target):
            return read_job(self._stub.CancelJob(pb.CancelJobRequest(job_id=job_id), timeout=_DEADLINE_S).job)


def read_job(job: pb.Job) -> Job:
    return Job(
        job_id=job.job_id,
        state=pb.JobState.Name(job.state).removeprefix(_PREFIX).lower(),
        scenario=job.scenario,
        pack=job.pack,
        step=job.step,
        progress=job.progress,
        eta_s=job.eta_s if job.eta_s >= 0 else None,
        message=job.message,
        reason=job.reason,
        expert=job.expert,
        report=json.loads(job.report_json) if job.report_json else {},
        log=tuple(job.log_tail),
        cancel_requested=job.cancel_requested,
        create_time_ms=job.create_time_ms,
        start_time_ms=job.start_time_ms,
        end_time_ms=job.end_time_ms,
        attempts=job.attempts,
    )


def _state_value(name: str) -> pb.JobState:
    if not name:
        return pb.JOB_STATE_UNSPECIFIED
    known = {key.removeprefix(_PREFIX).lower(): value for key, value in pb.JobState.items() if value}
    if name.lower() not in known:
        raise refused(f"unknown job state {name!r}; choose from {', '.join(known)}")
    return cast(pb.JobState, known[name.lower()])
