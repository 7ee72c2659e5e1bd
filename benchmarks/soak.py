"""Whether a server stays as it is: characters that play on while others join, leave, cancel, get stuck and are killed.

    python benchmarks/soak.py [--minutes 30] [--survivors 24] [--seed 1] [--short] [--json]

A crowd of survivors plays from one process without a pause. Beside it, processes of bad clients (see chaos.py) are
killed and replaced, and connections fall silent. In the end the bad ones are gone and the server must be what it was:
memory, file descriptors, threads and asyncio tasks as after the warm-up with the same survivors, tasks and descriptors
as before the first client once the survivors have left too; survivors have missed no frame and no deadline, no call has
ended otherwise than it may, and the log holds no error. `--short` is the same in about ten seconds, without a judgement
on deadlines; the tests run it. Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chaos import Gang, HalfOpen, Mischief, Report
from characters import Cast, Crowd, Window, underruns
from served import Served, Usage, machine, serving

from animoe.bundle import default_bundle

LINE_S = 60.0


@dataclass(frozen=True)
class Plan:
    """How long and how hard.

    Attributes:
        warm_s, soak_s: bad clients play for so long before and after the first look at what the server holds.
        settle_s: most that the server may take to be rid of them. silent_s: a silent connection stays between so long;
            the server's keepalive finds it after 40 s.
        rss_mb, threads: by how much memory and threads may differ; there is no allowance for anything else.
        deadlines: whether a late frame of a survivor is a failure.
    """

    warm_s: float
    soak_s: float
    settle_s: float
    survivors: int
    processes: int
    actors: int
    play_s: tuple[float, float]
    life_s: tuple[float, float]
    silent: int
    silent_s: tuple[float, float]
    rss_mb: float
    threads: int
    deadlines: bool


def plan(options: argparse.Namespace) -> Plan:
    """The plan that the flags ask for."""
    if options.short:
        return Plan(2.0, 4.0, 15.0, 3, 2, 3, (0.2, 1.0), (0.7, 1.5), 3, (0.5, 1.5), 80.0, 8, deadlines=False)
    soak_s = 60 * options.minutes
    warm_s = min(120.0, soak_s / 5)
    return Plan(
        warm_s, soak_s, 90.0, options.survivors, 3, 5, (0.5, 8.0), (3.0, 15.0), 6, (5.0, 120.0), 24.0, 4, deadlines=True
    )


@dataclass
class Verdict:
    """What was found; `wrong` says in sentences what should not be."""

    plan: Plan
    seed: int
    idle: Usage
    warm: Usage
    after: Usage
    left: Usage
    streams_left: int
    frames: int
    gaps: int
    underruns: int
    worst_ms: float
    done: dict[str, int]
    killed: int
    silent: int
    refused: dict[str, int]
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--survivors", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="about ten seconds, a small crowd")
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--json", action="store_true", help="the verdict as JSON on stdout, the lines on stderr")
    options = parser.parse_args()
    out = sys.stderr if options.json else sys.stdout
    print(machine(), file=out, flush=True)
    with tempfile.TemporaryDirectory(prefix="animoe-soak-") as scratch:
        verdict = soak(plan(options), options.bundle, options.seed, Path(scratch), out)
    if options.json:
        print(json.dumps(asdict(verdict)))
    for sentence in verdict.wrong:
        print(f"WRONG: {sentence}", file=out)
    print(f"verdict: {'FAILED' if verdict.wrong else 'passed'}", file=out)
    return 1 if verdict.wrong else 0


def soak(plan: Plan, bundle: Path, seed: int, scratch: Path, out: Any) -> Verdict:
    """Runs a plan on a fresh server."""
    room = (plan.processes * plan.actors + plan.silent) // 2  # so that it is full now and then
    flags = ("--max-streams", str(plan.survivors + room), "--log-format", "json")
    with serving(bundle, *flags, counted=True) as server:
        idle = _least(server)
        cast = Cast(server.target, bundle, plan.survivors, plan.survivors / 5, seed=seed, plain=True)
        with Crowd(cast) as crowd:
            run = _Run(plan, server, crowd, out)
            mischief = Mischief(server.target, bundle, plan.actors, plan.play_s)
            gang = Gang(mischief, plan.processes, plan.life_s, scratch, seed)
            silent = HalfOpen(server.target, seed)
            run.torment(gang, silent, plan.warm_s)
            run.settle()
            warm = _least(server)
            run.torment(gang, silent, plan.soak_s)
            run.settle()
            after, report = _least(server), gang.report()
            run.take()
        streams_left, left = _empty(server, plan.settle_s), _least(server)
        refused = {refusal.reason: refusal.count for refusal in server.status().refusals}
        log = server.log.read_text(encoding="utf-8")
    late = run.late
    verdict = Verdict(
        plan,
        seed,
        idle,
        warm,
        after,
        left,
        streams_left,
        run.frames,
        run.gaps,
        underruns(late),
        1000 * max((late_s for _, late_s in late), default=0.0),
        dict(report.done),
        gang.killed,
        silent.opened,
        refused,
    )
    verdict.wrong = judge(verdict, report, run.errors, log)
    return verdict


class _Run:
    """Plays the parts of a plan and keeps what the survivors saw."""

    def __init__(self, plan: Plan, server: Served, crowd: Crowd, out: Any) -> None:
        self._plan, self._server, self._crowd, self._out = plan, server, crowd, out
        self._began = self._said = time.monotonic()
        self.frames = self.gaps = 0
        self.late: list[tuple[float, float]] = []
        self.errors: list[str] = []
        self._add(crowd.joining)

    def torment(self, gang: Gang, silent: HalfOpen, seconds: float) -> None:
        """Lets the bad clients play for so long; then they are killed."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            gang.act()
            silent.act(self._plan.silent, self._plan.silent_s)
            if now - self._said > LINE_S:
                self._said += LINE_S
                self._line(gang.report().done, gang.killed, silent.opened)
            time.sleep(0.1)
        gang.end()
        silent.end()
        self._line(gang.report().done, gang.killed, silent.opened)

    def settle(self) -> None:
        """Until only the survivors are there, or for as long as that may take."""
        deadline = time.monotonic() + self._plan.settle_s
        while self._server.status().stream_count > self._plan.survivors and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)  # handlers have ended, sockets and threads follow

    def take(self) -> None:
        """Adds what the survivors saw up to now."""
        self._add(self._crowd.window())

    def _add(self, window: Window) -> None:
        self.frames += window.frames
        self.gaps += window.gaps
        self.late += window.late
        self.errors += window.errors
        self._live = window.live

    def _line(self, done: Counter[str], killed: int, silent: int) -> None:
        self.take()
        usage, status = self._server.usage(), self._server.status()
        parts = [
            f"{(time.monotonic() - self._began) / 60:5.1f} min: {self._live} survivors",
            f"{status.stream_count} streams, {status.sessions_opened} opened",
            *(f"{count} {what}" for what, count in sorted(done.items())),
            f"{killed} killed, {silent} silent; RSS {usage.rss_mb:.0f} MB",
            f"{usage.fds} descriptors, {usage.threads} threads, {usage.task_count} tasks",
            f"underruns {underruns(self.late)}, gaps {self.gaps}",
        ]
        print(", ".join(parts), file=self._out, flush=True)


def judge(verdict: Verdict, report: Report, errors: list[str], log: str) -> list[str]:
    """What is wrong, sentence by sentence; empty when all is well."""
    plan, idle, warm, after, left = verdict.plan, verdict.idle, verdict.warm, verdict.after, verdict.left
    found = [f"a survivor: {error}" for error in errors]
    found += [f"an unexpected end: {what}" for what in report.wrong]
    found += [f"the server's log: {line}" for line in unexpected_lines(log)]
    if not verdict.frames or not all(report.done[what] for what in ("play", "clip", "wrong")):
        found.append(f"little happened: {verdict.frames} frames, {dict(report.done)}")
    if verdict.gaps:
        found.append(f"survivors lack {verdict.gaps} frames")
    if plan.deadlines and verdict.underruns:
        found.append(f"survivors had {verdict.underruns} underruns, up to {verdict.worst_ms:.0f} ms long")
    if verdict.streams_left:
        found.append(f"{verdict.streams_left} streams are left although nobody is there")
    if after.rss_mb > warm.rss_mb + plan.rss_mb:
        found.append(f"memory grew from {warm.rss_mb:.0f} to {after.rss_mb:.0f} MB")
    for when, before, then in (("with survivors", warm, after), ("without clients", idle, left)):
        if then.fds > before.fds:
            found.append(f"{when}, file descriptors grew from {before.fds} to {then.fds}")
        if then.task_count > before.task_count:
            more = dict(Counter(then.tasks) - Counter(before.tasks))
            found.append(f"{when}, tasks grew from {before.task_count} to {then.task_count}: {more}")
    if after.threads > warm.threads + plan.threads:
        found.append(f"threads grew from {warm.threads} to {after.threads}")
    return found


def unexpected_lines(log: str) -> list[str]:
    """Lines of a server's JSON log that are errors, or that something else than the log has written."""
    found = []
    for line in log.splitlines():
        try:
            level = json.loads(line)["level"]
        except (ValueError, KeyError, TypeError):
            found.append(line)
            continue
        if str(level).lower() in ("error", "critical"):
            found.append(line)
    return found


def _least(server: Served) -> Usage:
    """Held for good: the least of several looks, so that what is just under way does not count."""
    looks = []
    for _ in range(8):
        looks.append(server.usage())
        time.sleep(0.05)
    least = min(looks, key=lambda look: look.task_count)
    return Usage(min(k.rss_mb for k in looks), min(k.fds for k in looks), min(k.threads for k in looks), least.tasks)


def _empty(server: Served, settle_s: float) -> int:
    """Streams that are left when the server has had its time to notice that everybody has gone."""
    deadline = time.monotonic() + settle_s
    while (left := server.status().stream_count) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    return int(left)


if __name__ == "__main__":
    raise SystemExit(main())
