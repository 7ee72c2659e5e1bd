"""Learning: what a server needs to import packs, put together: jobs, uploads, the services that offer them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from animoe.bundle.files import refused_writes
from animoe.errors import InvalidRequest
from animoe.serving.job_servicer import JobServicer
from animoe.serving.jobs.importing import IMPORT
from animoe.serving.jobs.job import JobState
from animoe.serving.jobs.runner import JobRunner
from animoe.serving.scenario_servicer import ScenarioServicer
from animoe.serving.uploads import DEFAULT_MAX_UPLOAD_MB, Uploads

if TYPE_CHECKING:
    from animoe.serving.jobs.store import JobStore

FOLDER = ".jobs"
"""Inside the bundle: job database, logs, uploads."""
_MAX_MB = 1 << 20


@dataclass(frozen=True)
class LearningConfig:
    """How a server learns.

    Attributes:
        bundle: what imports write: the server's own bundle or a child of it, made when the first pack comes.
        packs: folder below which callers may name packs by path; None allows uploads only.
        jobs: SQLAlchemy URL of the job database; "" is an SQLite file in the bundle.
        max_upload_mb: largest upload, 1 to 1048576.
        command: what imports a pack, before its arguments.
        idle: train only when the machine has nothing else to do; otherwise merely at low priority.
    """

    bundle: Path
    packs: Path | None = None
    jobs: str = ""
    max_upload_mb: int = DEFAULT_MAX_UPLOAD_MB
    command: tuple[str, ...] = IMPORT
    idle: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.max_upload_mb <= _MAX_MB:
            raise InvalidRequest(f"--max-upload-mb must be between 1 and {_MAX_MB}, got {self.max_upload_mb}")
        if self.packs is not None and not self.packs.is_dir():
            raise InvalidRequest(f"--packs {self.packs} is no folder; name the one that packs lie in")

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb << 20

    @property
    def folder(self) -> Path:
        """Where jobs keep their files."""
        return self.bundle.resolve() / FOLDER


class Learning:
    """The learning half of a server.

    Args:
        config: how to learn. parent: bundle that the server performs from.
    """

    def __init__(self, config: LearningConfig, parent: Path) -> None:
        self.config, self._parent = config, parent
        self._jobs = JobRunner(
            self._open_store, config.bundle.resolve(), config.folder, command=config.command, idle=config.idle
        )

    def servicers(self) -> tuple[ScenarioServicer, JobServicer]:
        """What answers for ScenarioService and JobService."""
        config = self.config
        uploads = Uploads(config.folder / "uploads", config.max_upload_bytes)
        scenarios = ScenarioServicer(self._jobs, uploads, config.packs, config.bundle.resolve(), self._parent)
        return scenarios, JobServicer(self._jobs)

    async def start(self) -> None:
        """Goes on with jobs that wait. A server that never learnt anything opens no database before its first job."""
        if self.config.jobs or self._database.is_file():
            await self._jobs.open()

    async def stop(self) -> None:
        """Interrupts the running job; it goes on where it was when a server starts again."""
        await self._jobs.stop()

    async def count_jobs(self) -> dict[JobState, int]:
        """Jobs of the bundle by state; none before the first job. Raises Unavailable."""
        return await self._jobs.count()

    @property
    def _database(self) -> Path:
        return self.config.folder / "jobs.sqlite"

    def _open_store(self) -> JobStore:
        from animoe.serving.jobs.store import JobStore, sqlite_url  # SQLAlchemy takes a third of a second to import

        if self.config.jobs:
            return JobStore(self.config.jobs)
        with refused_writes(self.config.folder):
            self.config.folder.mkdir(parents=True, exist_ok=True)
        return JobStore(sqlite_url(str(self._database)))
