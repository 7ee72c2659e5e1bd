"""What a server has learnt, and how it is given more: animation packs, by path or by upload."""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import grpc

from animoe.client.errors import plain_errors, refused
from animoe.client.jobs import Job, read_job
from animoe.v1 import scenario_service_pb2 as pb
from animoe.v1 import scenario_service_pb2_grpc

_DEADLINE_S = 30.0
_PAGE = 100
_CHUNK_BYTES = 256 << 10


@dataclass(frozen=True)
class Scenario:
    """Something that the server has learnt.

    Attributes:
        version: in force, None when none is. versions: all of them, oldest first.
        clips: that the version in force was learnt from, 0 unknown. created: UTC, ISO 8601. forced: published although
            an older scenario became worse.
        info: version -> what its import found out; only from `get`.
    """

    name: str
    version: int | None
    versions: tuple[int, ...]
    clips: int
    emotions: tuple[str, ...]
    created: str
    forced: bool
    info: dict[int, dict[str, Any]]


class ScenarioClient:
    """`Client.scenarios`. Every method raises ClientError."""

    def __init__(self, channel: grpc.Channel, target: str) -> None:
        self._stub = scenario_service_pb2_grpc.ScenarioServiceStub(channel)
        self._target = target

    def import_pack(
        self,
        scenario: str,
        *,
        path: str = "",
        upload: Path | None = None,
        force: bool = False,
        reason: str = "",
        user: str = "",
        draft: bool = False,
        minutes: float = 0.0,
        request_id: str = "",
    ) -> Job:
        """Queues the import of a pack; follow it with `Client.jobs.watch`.

        Args:
            scenario: its name; a known one gets a new version.
            path: a folder or zip that the server sees, below its folder of packs.
            upload: a folder or zip on this machine, instead of `path`.
            force, reason, user: publish even if something gets worse, why, and who says so.
            draft: take the table drafted from file names when there is no pack.csv.
            minutes: shorten the training to end in about this time, 0 = as long as it takes.
            request_id: the same one again gives the same job; "" makes one, so that a call is never queued twice.
        """
        if bool(path) == (upload is not None):
            raise refused("name a pack: either path (on the server) or upload (on this machine)")
        start = pb.ImportPackStart(
            scenario=scenario,
            path=path,
            force=force,
            reason=reason,
            user=user,
            draft=draft,
            minutes=minutes,
            request_id=request_id or secrets.token_hex(16),
        )
        if upload is None:
            return self._send(iter([pb.ImportPackRequest(start=start)]))
        with _as_zip(upload) as stream:
            digest = _sha256(stream)
            start.upload.CopyFrom(pb.PackUpload(name=upload.name[:200], size_bytes=stream.tell(), sha256=digest))
            stream.seek(0)
            return self._send(_messages(start, stream))

    def list(self) -> Iterator[Scenario]:
        """All scenarios, oldest first, fetched page by page."""
        request = pb.ListScenariosRequest(page_size=_PAGE)
        while True:
            with plain_errors(self._target):
                answer = self._stub.ListScenarios(request, timeout=_DEADLINE_S)
            yield from map(_read_scenario, answer.scenarios)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    def get(self, name: str) -> Scenario:
        """One scenario with everything that its imports found out."""
        with plain_errors(self._target):
            answer = self._stub.GetScenario(pb.GetScenarioRequest(name=name), timeout=_DEADLINE_S)
        return _read_scenario(answer.scenario)

    def report(self, name: str, version: int = 0) -> bytes:
        """The HTML page, pictures inside, of a version's import; 0 is the one in force, or the newest."""
        return self._report(pb.GetReportRequest(scenario=name, version=version))

    def job_report(self, job_id: str) -> bytes:
        """The HTML page of a job's import, published or refused."""
        return self._report(pb.GetReportRequest(job_id=job_id))

    def _report(self, request: pb.GetReportRequest) -> bytes:
        with plain_errors(self._target):
            return b"".join(piece.chunk for piece in self._stub.GetReport(request, timeout=_DEADLINE_S))

    def rollback(self, name: str) -> Scenario:
        """Puts the version before in force."""
        with plain_errors(self._target):
            answer = self._stub.RollbackScenario(pb.RollbackScenarioRequest(name=name), timeout=_DEADLINE_S)
        return _read_scenario(answer.scenario)

    def delete(self, name: str) -> None:
        """Takes every version out of use; the files stay."""
        with plain_errors(self._target):
            self._stub.DeleteScenario(pb.DeleteScenarioRequest(name=name), timeout=_DEADLINE_S)

    def _send(self, requests: Iterator[pb.ImportPackRequest]) -> Job:
        with plain_errors(self._target):
            return read_job(self._stub.ImportPack(requests).job)


def _messages(start: pb.ImportPackStart, stream: IO[bytes]) -> Iterator[pb.ImportPackRequest]:
    yield pb.ImportPackRequest(start=start)
    # A call that was refused closes the file while gRPC's thread still reads here.
    while not stream.closed and (chunk := stream.read(_CHUNK_BYTES)):
        yield pb.ImportPackRequest(chunk=chunk)


def _sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _as_zip(pack: Path) -> Iterator[IO[bytes]]:
    """A zip as it is; a folder zipped into a temporary file."""
    try:
        if pack.is_file():
            with pack.open("rb") as stream:
                yield stream
            return
        if not pack.is_dir():
            raise refused(f"{pack} does not exist; name a folder or zip of this machine")
        with tempfile.TemporaryFile() as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
                for path in sorted(pack.rglob("*")):
                    if path.is_file():
                        archive.write(path, path.relative_to(pack).as_posix())
            stream.seek(0)
            yield stream
    except OSError as error:
        raise refused(f"{pack} cannot be read: {error.strerror or error}") from error


def _read_scenario(scenario: pb.Scenario) -> Scenario:
    return Scenario(
        name=scenario.name,
        version=scenario.version or None,
        versions=tuple(item.version for item in scenario.versions),
        clips=scenario.clip_count,
        emotions=tuple(scenario.emotions),
        created=scenario.created,
        forced=scenario.forced,
        info={item.version: json.loads(item.info_json) for item in scenario.versions if item.info_json},
    )
