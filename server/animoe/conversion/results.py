"""What became of files: clips that were written, and why others were not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animoe.conversion.naming import Job


@dataclass(frozen=True)
class Written:
    """A clip that was written.

    Attributes:
        source: the file it came from, as `Job.label`.
        clip: its name.
        path: the file it is in.
        frame_count, frame_rate_hz, joint_count: of the clip as written.
        quality: figures of `retarget.quality`, None when they were not asked for or there is no body to measure.
    """

    source: str
    clip: str
    path: Path
    frame_count: int
    frame_rate_hz: float
    joint_count: int
    quality: dict[str, Any] | None = None


@dataclass(frozen=True)
class FileResult:
    """What became of one file.

    Attributes:
        job: what was to be done.
        written: clips that are in files now.
        problems: one sentence for each thing that is not.
        seconds: that it took.
    """

    job: Job
    written: tuple[Written, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
