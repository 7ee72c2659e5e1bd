"""ScenarioService: packs come in and become jobs; what was learnt is listed, rolled back, removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc

from animoe.bundle.catalogue import list_scenarios, show_scenario
from animoe.bundle.child import ensure_child
from animoe.bundle.lock import bundle_lock
from animoe.bundle.manifest import MANIFEST
from animoe.bundle.publishing import check_name, remove, rollback
from animoe.bundle.scenarios import ScenarioState, read_state
from animoe.errors import FailedPrecondition, InvalidRequest, Overloaded
from animoe.serving.convert_jobs import (
    job_to_proto,
    page_size_from_proto,
    page_token_from_proto,
    page_token_to_proto,
    scenario_to_proto,
)
from animoe.serving.jobs.job import Job
from animoe.serving.jobs.runner import JobRunner
from animoe.serving.reports import job_report, report_chunks, scenario_report
from animoe.serving.uploads import Uploads, discard, pack_path
from animoe.v1 import scenario_service_pb2 as pb
from animoe.v1 import scenario_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_LIMITS = {"reason": 500, "user": 100, "request_id": 64}
_MINUTES = (0.5, 10_000.0)
_MAX_NAME_CHARS = 200
_BUSY_SAYS = "; wait until it is done (JobService.ListJobs), or cancel it"


class ScenarioServicer(scenario_service_pb2_grpc.ScenarioServiceServicer):
    """Changes one bundle.

    Args:
        jobs: runs the imports. uploads: takes packs in.
        packs: folder below which callers may name packs by path; None allows none.
        learnt: bundle that is written. parent: bundle that it is made from, when it does not exist yet.
    """

    def __init__(self, jobs: JobRunner, uploads: Uploads, packs: Path | None, learnt: Path, parent: Path) -> None:
        self._jobs, self._uploads, self._packs = jobs, uploads, packs
        self._learnt, self._parent = learnt, parent

    async def ImportPack(
        self, requests: AsyncIterator[pb.ImportPackRequest], context: Context
    ) -> pb.ImportPackResponse:
        start = await _first_start(requests)
        _check_start(start)
        if (known := await self._jobs.by_request(start.request_id)) is not None:
            return pb.ImportPackResponse(job=job_to_proto(known))
        await asyncio.to_thread(ensure_child, self._learnt, self._parent)
        uploaded = start.WhichOneof("source") == "upload"
        if uploaded:
            pack = await self._receive(start.upload, requests)
        else:
            pack = await asyncio.to_thread(pack_path, start.path, self._packs)
        job = Job(
            scenario=start.scenario,
            bundle=str(self._learnt),
            pack=str(pack),
            pack_name=(start.upload.name or pack.name) if uploaded else str(pack),
            request_id=start.request_id,
            uploaded=uploaded,
            force=start.force,
            force_reason=start.reason,
            user=start.user or "gRPC client",
            draft=start.draft,
            minutes=start.minutes,
        )
        try:
            found = await self._jobs.submit(job)
        except BaseException:
            _drop(uploaded, pack)
            raise
        if found.job_id != job.job_id:  # the same request came twice at once
            _drop(uploaded, pack)
        return pb.ImportPackResponse(job=job_to_proto(found))

    async def ListScenarios(self, request: pb.ListScenariosRequest, context: Context) -> pb.ListScenariosResponse:
        size, first = page_size_from_proto(request.page_size), page_token_from_proto(request.page_token) or 0
        folder = self._folder()
        listed = await asyncio.to_thread(list_scenarios, folder)
        state = await asyncio.to_thread(read_state, folder)
        following = first + size if len(listed) > first + size else None
        return pb.ListScenariosResponse(
            scenarios=[scenario_to_proto(item) for item in listed[first : first + size]],
            next_page_token=page_token_to_proto(following),
            generation=state.generation,
        )

    async def GetScenario(self, request: pb.GetScenarioRequest, context: Context) -> pb.GetScenarioResponse:
        return pb.GetScenarioResponse(scenario=await asyncio.to_thread(self._scenario, request.name))

    async def GetReport(self, request: pb.GetReportRequest, context: Context) -> None:
        if request.version < 0:
            raise InvalidRequest(f"version must be 1 or more, or 0 for the one in force, got {request.version}")
        kind = request.WhichOneof("import")
        if kind is None:
            raise InvalidRequest("no report was named; set scenario or job_id")
        if kind == "job_id":
            path = await asyncio.to_thread(job_report, self._learnt, await self._jobs.get(request.job_id))
        else:
            path = await asyncio.to_thread(scenario_report, self._folder(), request.scenario, request.version)
        for chunk in report_chunks(path):
            await context.write(pb.GetReportResponse(chunk=chunk))

    async def RollbackScenario(
        self, request: pb.RollbackScenarioRequest, context: Context
    ) -> pb.RollbackScenarioResponse:
        state = await asyncio.to_thread(self._change, rollback, request.name)
        # Rolling back the first thing learnt leaves a bundle that knows no such scenario.
        known = any(column.scenario == request.name for column in state.columns)
        scenario = await asyncio.to_thread(self._scenario, request.name) if known else pb.Scenario(name=request.name)
        return pb.RollbackScenarioResponse(scenario=scenario, generation=state.generation)

    async def DeleteScenario(self, request: pb.DeleteScenarioRequest, context: Context) -> pb.DeleteScenarioResponse:
        state = await asyncio.to_thread(self._change, remove, request.name)
        return pb.DeleteScenarioResponse(generation=state.generation)

    def _folder(self) -> Path:
        """Of the bundle that says what was learnt: until something is, the one that it would be a child of."""
        return self._learnt if (self._learnt / MANIFEST).is_file() else self._parent

    def _scenario(self, name: str) -> pb.Scenario:
        folder = self._folder()
        shown = show_scenario(folder, name)
        listed = next(item for item in list_scenarios(folder) if item["scenario"] == name)
        return scenario_to_proto(listed, shown)

    def _change(self, action: Callable[[Path, str], ScenarioState], name: str) -> ScenarioState:
        check_name(name)
        ensure_child(self._learnt, self._parent)
        try:
            with bundle_lock(self._learnt, f"{action.__name__} of {name!r}", wait=False):
                return action(self._learnt, name)
        except Overloaded as error:
            raise Overloaded(str(error).partition(";")[0] + _BUSY_SAYS) from error

    async def _receive(self, upload: pb.PackUpload, requests: AsyncIterator[pb.ImportPackRequest]) -> Path:
        if len(upload.name) > _MAX_NAME_CHARS:
            raise InvalidRequest(
                f"upload.name has {len(upload.name)} characters; at most {_MAX_NAME_CHARS} are allowed"
            )
        return await self._uploads.receive(upload.name, upload.size_bytes, upload.sha256, _chunks(requests))


def _drop(uploaded: bool, pack: Path) -> None:
    if uploaded:
        discard(pack)


async def _first_start(requests: AsyncIterator[pb.ImportPackRequest]) -> pb.ImportPackStart:
    async for request in requests:
        if request.WhichOneof("request") == "start":
            return request.start
        kind = request.WhichOneof("request") or "empty"
        raise FailedPrecondition(f"the first message of an import was `{kind}`; send `start` first")
    raise FailedPrecondition("the import ended before its first message; send `start` first")


def _check_start(start: pb.ImportPackStart) -> None:
    check_name(start.scenario)
    if start.WhichOneof("source") is None:
        raise InvalidRequest("no pack was named; set start.path, or start.upload and send chunks")
    if start.minutes and not _MINUTES[0] <= start.minutes <= _MINUTES[1]:
        raise InvalidRequest(f"minutes must be 0.5 to 10000, or 0 for as long as it takes, got {start.minutes:g}")
    for name, limit in _LIMITS.items():
        value = getattr(start, name)
        if len(value) > limit or not value.isprintable():
            raise InvalidRequest(f"{name} must be at most {limit} printable characters, got {value[:40]!r}")


async def _chunks(requests: AsyncIterator[pb.ImportPackRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("request") != "chunk":
            raise InvalidRequest("only chunks may follow `start`; send every pack in a call of its own")
        if not request.chunk:
            raise InvalidRequest("a chunk is empty; send 1 byte to 1 MB")
        yield request.chunk
