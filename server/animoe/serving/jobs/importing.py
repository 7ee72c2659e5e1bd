"""What `animoe pack import --json` is told and what it says: the one place that knows that command.

stdout: JSON lines {"step": ..., "done": 0 to 1, "eta_s": seconds or -1, "message": ...}, the last one {"result":
"published" | "refused" | "failed", "message": ..., "reason": ..., "expert": NAME@VERSION}. stderr: lines for people.
Exit code 130 (or a signal): stopped in the middle, `--resume` goes on.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from animoe.serving.jobs.job import Job, JobState

IMPORT = (sys.executable, "-m", "animoe.cli", "pack", "import")
INTERRUPTED = (130, 143)
LOG_LINES = 40
THREADS = max(1, (os.cpu_count() or 2) - 1)
"""Of one import: idle priority or not, a core stays free for live characters."""
_LINE_CHARS, _MAX_TEXT = 500, 2000
_CHUNK = 1 << 20
_MAX_LINE = 8 << 20
_STATES = {"published": JobState.SUCCEEDED, "refused": JobState.REFUSED, "failed": JobState.FAILED}


@dataclass(frozen=True)
class Outcome:
    """How an import ended. report: JSON text of everything it found. reason: of a failure."""

    state: JobState
    message: str
    reason: str = ""
    expert: str = ""
    report: str = ""


def import_command(job: Job, prefix: tuple[str, ...] = IMPORT) -> list[str]:
    """The command of a job; it goes on where an earlier attempt was stopped."""
    command = [*prefix, f"--scenario={job.scenario}", f"--bundle={job.bundle}", "--json", f"--threads={THREADS}"]
    command += ["--draft"] if job.draft else []
    command += [f"--minutes={job.minutes:g}"] if job.minutes else []
    command += ["--force", f"--user={job.user}", f"--reason={job.force_reason}"] if job.force else []
    journal = _journal(job)
    command += ["--resume"] if journal is not None and (journal[0] / "work").is_dir() else []
    return [*command, "--", job.pack]


def published_unsaid(job: Job) -> Outcome | None:
    """The outcome of an import that was killed between publishing and saying so."""
    journal = _journal(job)
    if journal is None or journal[1].get("status") != "published":
        return None
    expert = f"{job.scenario}@{journal[1].get('version')}"
    return Outcome(JobState.SUCCEEDED, f"published {expert}", expert=expert)


def _journal(job: Job) -> tuple[Path, dict[str, Any]] | None:
    """Folder and journal of the import that this job began."""
    since = datetime.fromtimestamp(job.start_time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = []
    for path in (Path(job.bundle) / "imports").glob(f"{job.scenario}-[0-9]*/journal.json"):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        mine = isinstance(raw, dict) and (raw.get("scenario"), raw.get("pack")) == (job.scenario, job.pack)
        if mine and job.start_time_ms and str(raw.get("started", "")) >= since:
            found.append((str(raw["started"]), path.parent, raw))
    return max(found, key=lambda item: item[:2])[1:] if found else None


class Follower:
    """Reads what one attempt of an import writes while it writes.

    Attributes:
        progress: fields of the job as the import last told them; empty before.
        outcome: how it ended, None until it says so.
        log: newest lines for people.
    """

    def __init__(self, output: Path, errors: Path) -> None:
        self._output, self._errors = _Tail(output), _Tail(errors)
        self.progress: dict[str, Any] = {}
        self.outcome: Outcome | None = None
        self.log: deque[str] = deque(maxlen=LOG_LINES)

    def read(self) -> bool:
        """Takes in what is new; whether there was anything."""
        reports, lines = self._output.lines(), self._errors.lines()
        for report in reports:
            self._take(report)
        for line in lines:
            self._note(line)
        return bool(reports or lines)

    def _take(self, line: str) -> None:
        try:
            raw = json.loads(line)
        except ValueError:
            return self._note(line)
        if not isinstance(raw, dict):
            return None
        if "result" in raw:
            self.outcome = _outcome(raw)
        elif "step" in raw:
            self.progress |= dict(_progress(raw))
            self._note(_text(raw.get("message")))

    def _note(self, line: str) -> None:
        said = line.rpartition("\r")[2].strip()  # a progress bar rewrites its line: only what it said last counts
        if said:
            self.log.append(said[:_LINE_CHARS])


class _Tail:
    """Complete lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._rest = path, 0, b""

    def lines(self) -> list[str]:
        """What came since the last call."""
        found: list[bytes] = []
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                while fresh := stream.read(_CHUNK):
                    self._offset += len(fresh)
                    *complete, self._rest = (self._rest + fresh).split(b"\n")
                    self._rest = self._rest[-_MAX_LINE:]
                    found += complete
        except FileNotFoundError:
            pass
        return [line.decode("utf-8", "replace").rstrip("\r") for line in found]


def _outcome(raw: dict[str, Any]) -> Outcome | None:
    state = _STATES.get(str(raw["result"]))
    if state is None:
        return None
    reason = _text(raw.get("reason")) or "IMPORT_FAILED" if state is JobState.FAILED else ""
    expert = _text(raw.get("expert")) if state is JobState.SUCCEEDED else ""
    return Outcome(state, _text(raw.get("message")), reason, expert, json.dumps(raw))


def _progress(raw: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "step", _text(raw.get("step"))
    done, left = _number(raw.get("done")), _number(raw.get("eta_s"))
    if done is not None:
        yield "progress", min(max(done, 0.0), 1.0)
    if left is not None and left >= 0:  # a line without a guess leaves the last one
        yield "eta_s", left
    if message := _text(raw.get("message")):
        yield "message", message


def _text(value: Any) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None
