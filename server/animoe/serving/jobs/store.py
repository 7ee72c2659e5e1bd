"""JobStore: jobs in any database that SQLAlchemy knows; SQLite in the bundle's folder unless told otherwise.

Several servers may share one database. A lease per bundle says which of them runs that bundle's jobs: one writer at a
time, and the jobs of a server that died are taken over by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from animoe.errors import InvalidRequest, NotFound, Unavailable
from animoe.serving.jobs.job import Job, JobState, now_ms

LEASE_MS = 15_000
"""A lease that was not renewed for so long belongs to nobody."""

_META = sa.MetaData()
_JOBS = sa.Table(
    "animoe_jobs",
    _META,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.String(16), unique=True, nullable=False),
    sa.Column("request_key", sa.String(100), unique=True),  # the caller's request id, or NULL
    sa.Column("scenario", sa.String(40), nullable=False),
    sa.Column("bundle", sa.String(1000), nullable=False, index=True),
    sa.Column("pack", sa.Text, nullable=False),
    sa.Column("pack_name", sa.Text, nullable=False),
    sa.Column("uploaded", sa.Boolean, nullable=False),
    sa.Column("force", sa.Boolean, nullable=False),
    sa.Column("force_reason", sa.Text, nullable=False),
    sa.Column("user", sa.String(100), nullable=False),
    sa.Column("draft", sa.Boolean, nullable=False),
    sa.Column("minutes", sa.Float, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("eta_s", sa.Float, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("expert", sa.Text, nullable=False),
    sa.Column("report", sa.Text, nullable=False),
    sa.Column("log", sa.Text, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("create_time_ms", sa.BigInteger, nullable=False),
    sa.Column("start_time_ms", sa.BigInteger, nullable=False),
    sa.Column("end_time_ms", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("crashes", sa.Integer, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
)
_LEASES = sa.Table(
    "animoe_leases",
    _META,
    sa.Column("bundle", sa.String(1000), primary_key=True),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("renewed_ms", sa.BigInteger, nullable=False),
)
_NAMES = tuple(item.name for item in fields(Job))


class JobStore:
    """The jobs of one or more servers. Every method is one short transaction; safe to use from several threads.

    Args:
        url: of SQLAlchemy, for example sqlite:////var/lib/animoe/jobs.sqlite or postgresql+psycopg://host/animoe.

    Raises (every method):
        InvalidRequest: the URL is wrong, or its driver is not installed (constructor).
        Unavailable: the database does not answer.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", _prepare_sqlite)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            raise InvalidRequest(
                f"--jobs cannot be used: {error}; give an SQLAlchemy URL and install its driver"
            ) from (error)
        self._transact(lambda link: _META.create_all(link))

    def close(self) -> None:
        self._engine.dispose()

    def add(self, job: Job) -> Job:
        """Stores a new job; the same `request_id` once more gives the job that it made the first time."""
        row = _to_row(job) | {"request_key": job.request_id or None}
        try:
            self._transact(lambda link: link.execute(_JOBS.insert().values(row)), refuse=(IntegrityError,))
        except IntegrityError:
            known = self._first(_JOBS.c.request_key == job.request_id) if job.request_id else None
            if known is None:
                raise
            return known
        return job

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        found = self._first(_JOBS.c.job_id == job_id)
        if found is None:
            raise NotFound(f"no job {job_id[:40]!r}; ListJobs or `animoe jobs list` shows all")
        return found

    def by_request(self, request_id: str) -> Job | None:
        """The job that a caller's request made before."""
        return self._first(_JOBS.c.request_key == request_id) if request_id else None

    def page(
        self, size: int, before: int | None = None, *, state: JobState | None = None, scenario: str = ""
    ) -> tuple[list[Job], int | None]:
        """Newest jobs first, and where the next page begins (None: there is none)."""
        query = sa.select(_JOBS).order_by(_JOBS.c.sequence.desc()).limit(size + 1)
        query = query if before is None else query.where(_JOBS.c.sequence < before)
        query = query if state is None else query.where(_JOBS.c.state == state.value)
        query = query.where(_JOBS.c.scenario == scenario) if scenario else query
        rows = self._transact(lambda link: link.execute(query).mappings().all())
        following = rows[size - 1]["sequence"] if len(rows) > size else None
        return [_from_row(row) for row in rows[:size]], following

    def open_jobs(self, bundle: str) -> list[Job]:
        """What is left to do for a bundle: running jobs first, then queued ones, oldest first."""
        wanted = sa.select(_JOBS).where(
            _JOBS.c.bundle == bundle, _JOBS.c.state.in_((JobState.QUEUED.value, JobState.RUNNING.value))
        )
        rows = self._transact(lambda link: link.execute(wanted.order_by(_JOBS.c.sequence)).mappings().all())
        return sorted((_from_row(row) for row in rows), key=lambda job: job.state is JobState.QUEUED)

    def count(self, bundle: str) -> dict[JobState, int]:
        """Jobs of a bundle by state."""
        query = sa.select(_JOBS.c.state, sa.func.count()).where(_JOBS.c.bundle == bundle).group_by(_JOBS.c.state)
        rows = self._transact(lambda link: link.execute(query).all())
        return {JobState(state): count for state, count in rows}

    def update(self, job_id: str, expected: Sequence[JobState], **changes: Any) -> Job | None:
        """Changes fields of a job that is in one of the `expected` states; None when it is not any more."""
        values: dict[str, Any] = {**changes, "revision": _JOBS.c.revision + 1}
        if "log" in values:
            values["log"] = "\n".join(changes["log"])
        if "state" in values:
            values["state"] = changes["state"].value
        where = sa.and_(_JOBS.c.job_id == job_id, _JOBS.c.state.in_([state.value for state in expected]))
        statement = _JOBS.update().where(where).values(values)

        def change(link: sa.Connection) -> Any:
            if link.execute(statement).rowcount == 0:
                return None
            return link.execute(sa.select(_JOBS).where(_JOBS.c.job_id == job_id)).mappings().first()

        row = self._transact(change)
        return None if row is None else _from_row(row)

    def lease(self, bundle: str, owner: str, is_gone: Callable[[str], bool]) -> bool:
        """Takes or renews the right to run a bundle's jobs; False while another server has it.

        Args:
            is_gone: whether an owner is known to be dead, so that its lease need not run out first.
        """

        def take(link: sa.Connection) -> bool:
            now = now_ms()
            row = link.execute(sa.select(_LEASES).where(_LEASES.c.bundle == bundle)).mappings().first()
            if row is None:
                link.execute(_LEASES.insert().values(bundle=bundle, owner=owner, renewed_ms=now))
                return True
            free = row["owner"] == owner or now - row["renewed_ms"] > LEASE_MS or is_gone(row["owner"])
            unchanged = sa.and_(
                _LEASES.c.bundle == bundle,
                _LEASES.c.owner == row["owner"],
                _LEASES.c.renewed_ms == row["renewed_ms"],
            )
            statement = _LEASES.update().where(unchanged).values(owner=owner, renewed_ms=now)
            return bool(free and link.execute(statement).rowcount)

        try:
            return bool(self._transact(take, refuse=(IntegrityError,)))
        except IntegrityError:  # another server was faster
            return False

    def release(self, bundle: str, owner: str) -> None:
        """Gives the lease back."""
        mine = sa.and_(_LEASES.c.bundle == bundle, _LEASES.c.owner == owner)
        self._transact(lambda link: link.execute(_LEASES.delete().where(mine)))

    def _first(self, where: sa.ColumnElement[bool]) -> Job | None:
        row = self._transact(lambda link: link.execute(sa.select(_JOBS).where(where)).mappings().first())
        return None if row is None else _from_row(row)

    def _transact(self, work: Callable[[sa.Connection], Any], refuse: tuple[type[Exception], ...] = ()) -> Any:
        try:
            with self._engine.begin() as link:
                return work(link)
        except refuse:
            raise
        except (DBAPIError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            where = self._engine.url.render_as_string(hide_password=True)
            raise Unavailable(f"the job database {where} does not answer: {cause}; check --jobs") from error


def sqlite_url(path: str) -> str:
    """URL of an SQLite file."""
    return sa.URL.create("sqlite", database=path).render_as_string()


def _prepare_sqlite(link: Any, record: Any) -> None:
    """Readers and one writer side by side, and a wait instead of an error when two write."""
    cursor = link.cursor()
    cursor.execute("PRAGMA busy_timeout = 5000")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _to_row(job: Job) -> dict[str, Any]:
    row = asdict(job) | {"log": "\n".join(job.log), "state": job.state.value}
    del row["request_id"]
    return row


def _from_row(row: Any) -> Job:
    values = {name: row[name] for name in _NAMES if name != "request_id"}
    log = tuple(values.pop("log").splitlines())
    state = JobState(values.pop("state"))
    return replace(Job(**values, request_id=row["request_key"] or ""), log=log, state=state)
