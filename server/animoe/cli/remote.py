"""`animoe pack import --server` and `animoe scenario ... --server`: the same commands, done by a running server."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from animoe.client import Client, Job, Scenario
from animoe.errors import InvalidRequest, WriteError

REFUSED, FAILED = 3, 2
_LOCAL = ("bundle", "parent", "resume", "steps", "threads", "device")
_RESULTS = {"succeeded": "published", "refused": "refused"}


def import_pack(arguments: argparse.Namespace) -> int:
    """Queues an import and follows it; returns the exit code of `animoe pack import`."""
    refuse_local(arguments, *_LOCAL)
    where = {"path": str(arguments.pack)} if arguments.on_server else {"upload": arguments.pack}
    with Client(arguments.server) as client:
        job = client.scenarios.import_pack(
            arguments.scenario,
            **where,
            force=arguments.force,
            reason=arguments.reason,
            user=arguments.user,
            draft=arguments.draft,
            minutes=arguments.minutes or 0.0,
        )
        if arguments.detach:
            print(json.dumps({"job": job.job_id}) if arguments.json else f"queued as job {job.job_id}")
            return 0
        return follow(client, job.job_id, as_json=arguments.json)


def follow(client: Client, job_id: str, *, as_json: bool) -> int:
    """Shows a job until it has ended: lines as `animoe pack import` prints them."""
    screen = _Line()
    job = None
    try:
        for job in client.jobs.watch(job_id):
            if as_json and not job.ended:
                eta = -1.0 if job.eta_s is None else job.eta_s
                line = {"step": job.step or job.state, "done": job.progress, "eta_s": eta, "message": job.message}
                print(json.dumps(line), flush=True)
            elif not job.ended:
                screen.show(describe(job))
    except KeyboardInterrupt:
        screen.clear()
        print(f"job {job_id} goes on; `animoe jobs cancel {job_id}` ends it", file=sys.stderr)
        raise
    finally:
        screen.clear()
    assert job is not None, "a watched job is sent at least once"
    if as_json:
        result = _RESULTS.get(job.state, job.state)
        last = {"result": result, "message": job.message, "reason": job.reason, "expert": job.expert}
        print(json.dumps(job.report | last), flush=True)
    else:
        print(f"{job.state}: {job.message}", file=sys.stdout if job.state in _RESULTS else sys.stderr)
    return {"succeeded": 0, "refused": REFUSED}.get(job.state, FAILED)


def describe(job: Job) -> str:
    """One line on how far a job is."""
    if job.state == "queued":
        return f"queued: {job.message}" if job.message else "queued"
    left = "" if job.eta_s is None else f", about {_time(job.eta_s)} left"
    return f"{job.step or 'starting'} {job.progress:.0%}{left}" + (f": {job.message}" if job.message else "")


def scenario(arguments: argparse.Namespace) -> None:
    """`animoe scenario` against a server."""
    refuse_local(arguments, "bundle")
    with Client(arguments.server) as client:
        if arguments.action == "list":
            found = list(client.scenarios.list())
            _print_list(found) if not arguments.json else print(json.dumps([_plain(item) for item in found], indent=1))
        elif arguments.action == "show" and arguments.report:
            write_report(arguments.report, client.scenarios.report(arguments.name))
        elif arguments.action == "show":
            print(json.dumps(_plain(client.scenarios.get(arguments.name)), indent=1))
        elif arguments.action == "rollback":
            version = client.scenarios.rollback(arguments.name).version
            _say_version(arguments, version)
        else:
            client.scenarios.delete(arguments.name)
            _say_version(arguments, None)


def write_report(path: Path, page: bytes) -> None:
    """Writes a report where the user wants it.

    Raises:
        WriteError: that cannot be.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(page)
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror or error}; name another file") from error
    print(f"report written to {path}")


def refuse_local(arguments: argparse.Namespace, *names: str) -> None:
    """Raises InvalidRequest for flags that mean nothing to a server."""
    for name in names:
        if getattr(arguments, name, None):
            raise InvalidRequest(f"--{name} and --server cannot go together: the server decides about its own bundle")


def _print_list(found: list[Scenario]) -> None:
    if not found:
        print(
            "the server has learnt no scenario yet; `animoe pack import PATH --scenario NAME --server ...` teaches it"
        )
    for item in found:
        version = f"@{item.version}" if item.version else "not in use"
        notes = [f"{item.clips} clips" if item.clips else "", item.created, ", ".join(item.emotions)]
        notes += ["FORCED"] if item.forced else []
        print(f"{item.name:<20}  {version:<10}  " + "; ".join(note for note in notes if note))


def _say_version(arguments: argparse.Namespace, version: int | None) -> None:
    name = arguments.name
    if arguments.json:
        print(json.dumps({"scenario": name, "version": version}))
    else:
        print(f"{name}@{version} is in use" if version else f"{name} is not in use any more")


def _plain(item: Scenario) -> dict[str, Any]:
    return {key: value for key, value in asdict(item).items() if key != "info" or value}


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class _Line:
    """One line on a terminal that is written again and again; silent where nobody looks."""

    def __init__(self) -> None:
        self._width = 0

    def show(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r" + text[:150].ljust(self._width))
            sys.stderr.flush()
            self._width = min(len(text), 150)

    def clear(self) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0
