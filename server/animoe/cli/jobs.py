"""`animoe jobs list | show | watch | cancel`: the long work of a server."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from itertools import islice

from animoe.cli.remote import describe, follow, write_report
from animoe.client import Client, Job


def run(arguments: argparse.Namespace) -> int:
    with Client(arguments.server) as client:
        if arguments.action == "watch":
            return follow(client, arguments.job, as_json=arguments.json)
        if arguments.action == "list":
            found = list(islice(client.jobs.list(state=arguments.state, scenario=arguments.scenario), arguments.limit))
            print(json.dumps([asdict(job) for job in found], indent=1)) if arguments.json else _print_list(found)
        elif arguments.action == "show" and arguments.report:
            write_report(arguments.report, client.scenarios.job_report(arguments.job))
        else:
            act = client.jobs.cancel if arguments.action == "cancel" else client.jobs.get
            job = act(arguments.job)
            print(json.dumps(asdict(job), indent=1)) if arguments.json else _print_job(job)
    return 0


def _print_list(found: list[Job]) -> None:
    if not found:
        print("no jobs")
    for job in found:
        print(f"{job.job_id}  {_when(job.create_time_ms)}  {job.state:<9}  {job.scenario:<20}  {_now(job)}")


def _print_job(job: Job) -> None:
    print(f"{job.job_id}: {job.state}, import of {job.scenario} from {job.pack}")
    print(f"  asked for at {_when(job.create_time_ms)}, started {job.attempts} times")
    print(f"  {_now(job)}")
    for line in job.log:
        print(f"  | {line}")


def _now(job: Job) -> str:
    if job.cancel_requested and not job.ended:
        return "is being cancelled"
    return job.message if job.ended else describe(job)


def _when(time_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ms / 1000))
