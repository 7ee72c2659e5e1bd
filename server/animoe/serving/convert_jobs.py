"""protobuf <-> jobs and scenarios, and the page tokens of their lists."""

from __future__ import annotations

import json
from typing import Any

from animoe.errors import InvalidRequest
from animoe.serving.jobs.job import Job, JobState
from animoe.v1 import job_service_pb2, scenario_service_pb2

_STATES: dict[JobState, job_service_pb2.JobState] = {
    JobState.QUEUED: job_service_pb2.JOB_STATE_QUEUED,
    JobState.RUNNING: job_service_pb2.JOB_STATE_RUNNING,
    JobState.SUCCEEDED: job_service_pb2.JOB_STATE_SUCCEEDED,
    JobState.REFUSED: job_service_pb2.JOB_STATE_REFUSED,
    JobState.FAILED: job_service_pb2.JOB_STATE_FAILED,
    JobState.CANCELLED: job_service_pb2.JOB_STATE_CANCELLED,
}
_STATES_BACK = {value: state for state, value in _STATES.items()}
_DEFAULT_PAGE, _MAX_PAGE, _MAX_ASKED = 20, 100, 1000
_MAX_REPORT_CHARS = 2 << 20
"""Messages of more than 4 MB are refused by clients."""


def job_to_proto(job: Job, *, brief: bool = False) -> job_service_pb2.Job:
    """`brief` leaves out the report and the log, as in lists."""
    report = "" if brief or len(job.report) > _MAX_REPORT_CHARS else job.report
    return job_service_pb2.Job(
        job_id=job.job_id,
        kind=job_service_pb2.JOB_KIND_IMPORT_PACK,
        state=job_state_to_proto(job.state),
        scenario=job.scenario,
        pack=job.pack_name,
        step=job.step,
        progress=job.progress,
        eta_s=job.eta_s,
        message=job.message,
        reason=job.reason,
        expert=job.expert,
        report_json=report,
        log_tail=() if brief else job.log,
        cancel_requested=job.cancel_requested,
        create_time_ms=job.create_time_ms,
        start_time_ms=job.start_time_ms,
        end_time_ms=job.end_time_ms,
        attempts=job.attempts,
    )


def job_state_to_proto(state: JobState) -> job_service_pb2.JobState:
    return _STATES[state]


def job_state_from_proto(state: job_service_pb2.JobState) -> JobState | None:
    """None when the caller left it open. Raises InvalidRequest for a number that is no state."""
    if state == job_service_pb2.JOB_STATE_UNSPECIFIED:
        return None
    if state not in _STATES_BACK:
        names = ", ".join(job_service_pb2.JobState.Name(value) for value in _STATES_BACK)
        raise InvalidRequest(f"job state {state} is unknown to this server; choose from {names}")
    return _STATES_BACK[state]


def page_size_from_proto(size: int) -> int:
    """Raises InvalidRequest when it is out of range."""
    if not 0 <= size <= _MAX_ASKED:
        raise InvalidRequest(f"page_size must be between 0 and {_MAX_ASKED}, got {size}")
    return min(size or _DEFAULT_PAGE, _MAX_PAGE)


def page_token_from_proto(token: str) -> int | None:
    """Where a page begins; None for the first. Raises InvalidRequest for what is no token."""
    if not token:
        return None
    if not (token.isascii() and token.isdigit() and len(token) <= 15):
        raise InvalidRequest(f"page_token {token[:40]!r} is none of this server's; take next_page_token of an answer")
    return int(token)


def page_token_to_proto(following: int | None) -> str:
    return "" if following is None else str(following)


def scenario_to_proto(listed: dict[str, Any], shown: dict[str, Any] | None = None) -> scenario_service_pb2.Scenario:
    """A scenario of `bundle.catalogue`.

    Args:
        listed: of `list_scenarios`. shown: of `show_scenario`, for everything that is known about each version.
    """
    infos = {item["version"]: json.dumps(item) for item in shown["versions"]} if shown is not None else {}
    versions = [
        scenario_service_pb2.ScenarioVersion(
            version=version, active=version == listed["version"], info_json=infos.get(version, "")
        )
        for version in listed["versions"]
    ]
    return scenario_service_pb2.Scenario(
        name=listed["scenario"],
        version=listed["version"] or 0,
        versions=versions,
        clip_count=listed["clips"] if isinstance(listed["clips"], int) else 0,
        emotions=[str(emotion) for emotion in listed["emotions"]],
        created=str(listed["created"]),
        forced=listed["forced"],
    )
