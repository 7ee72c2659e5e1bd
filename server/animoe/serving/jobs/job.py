"""Job: one piece of long work, as it is stored."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands; see protos/animoe/v1/job_service.proto."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class Job:
    """As it is stored.

    Attributes:
        bundle: folder that it writes. pack: folder or zip that it reads. pack_name: what people call it.
        uploaded: the pack came by upload and goes with the job.
        force, force_reason, user: publish even if something gets worse, why, who says so.
        draft, minutes: as `animoe pack import` takes them.
        request_id: of the caller, "" for none.
        progress: 0 to 1. eta_s: seconds left, -1 unknown. report: JSON text. log: newest lines.
        attempts: how many times its process was started. crashes: how many of them ended without a word.
        host, pid, started: the process (see `process.identity`); pid 0 = none.
        revision: one more with every change.
    """

    scenario: str
    bundle: str
    pack: str
    pack_name: str
    job_id: str = field(default_factory=lambda: secrets.token_hex(8))
    request_id: str = ""
    uploaded: bool = False
    force: bool = False
    force_reason: str = ""
    user: str = ""
    draft: bool = False
    minutes: float = 0.0
    state: JobState = JobState.QUEUED
    step: str = ""
    progress: float = 0.0
    eta_s: float = -1.0
    message: str = ""
    reason: str = ""
    expert: str = ""
    report: str = ""
    log: tuple[str, ...] = ()
    cancel_requested: bool = False
    create_time_ms: int = field(default_factory=lambda: now_ms())
    start_time_ms: int = 0
    end_time_ms: int = 0
    attempts: int = 0
    crashes: int = 0
    host: str = ""
    pid: int = 0
    started: str = ""
    revision: int = 0


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
