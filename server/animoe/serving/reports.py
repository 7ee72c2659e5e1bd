"""Reports of imports, found in the bundle and sent in pieces: one HTML page each, with its pictures inside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from animoe.bundle.publishing import current_column
from animoe.bundle.scenarios import expert_folder, read_state
from animoe.errors import NotFound, Overloaded
from animoe.serving.jobs.job import Job

PAGE = "report.html"
CHUNK_BYTES = 256 << 10
MAX_REPORT_BYTES = 32 << 20


def scenario_report(bundle: Path, scenario: str, version: int = 0) -> Path:
    """The page of a published version; of the one in force, or else the newest, when `version` is 0.

    Raises:
        NotFound: no such scenario or version, or it carries no page.
    """
    state = read_state(bundle)
    mine = [column for column in state.columns if column.scenario == scenario]
    if not mine:
        raise NotFound(f"there is no scenario {scenario[:40]!r}; ListScenarios says which there are")
    wanted = (
        next((c for c in mine if c.version == version), None)
        if version
        else current_column(state, scenario) or mine[-1]
    )
    if wanted is None:
        raise NotFound(f"{scenario} has no version {version}; it has {', '.join(str(c.version) for c in mine)}")
    path = expert_folder(bundle, wanted) / PAGE
    if not path.is_file():
        raise NotFound(f"no report of {wanted.name} was kept")
    return path


def job_report(bundle: Path, job: Job) -> Path:
    """The page that a job's import wrote, published or refused.

    Raises:
        NotFound: it has written none (yet), or none in this bundle.
    """
    said = json.loads(job.report).get("report") if job.report else None
    path = Path(said).resolve() if isinstance(said, str) else None
    # The path was told by the import's own output: only a report of this bundle is ever sent.
    if path is None or path.name != PAGE or not path.is_relative_to(bundle.resolve()) or not path.is_file():
        raise NotFound(f"job {job.job_id} has no report: imports write one when they publish or refuse")
    return path


def report_chunks(path: Path) -> Iterator[bytes]:
    """The page in pieces.

    Raises:
        Overloaded: it is larger than reports may be.
    """
    size = path.stat().st_size
    if size > MAX_REPORT_BYTES:
        raise Overloaded(
            f"the report has {size / 2**20:.0f} MB, at most {MAX_REPORT_BYTES >> 20} are sent; it is at {path}"
        )
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
