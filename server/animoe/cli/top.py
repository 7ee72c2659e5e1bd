"""`animoe top`: how a server does, as a live view, line by line, or for programs."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

from animoe.client import Client, ClientError, Latency, Status
from animoe.errors import InvalidRequest
from animoe.printable import printable

_MIN_INTERVAL_S, _MAX_INTERVAL_S = 0.1, 60.0
_RETRY_S = 1.0
_EXPERTS, _BAR = 8, 24
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_BOLD, _RED, _NORMAL = "\x1b[1m", "\x1b[31m", "\x1b[0m"

Show = Callable[[list[str]], None]


def run(arguments: argparse.Namespace) -> None:
    if not _MIN_INTERVAL_S <= arguments.interval <= _MAX_INTERVAL_S:
        raise InvalidRequest(
            f"--interval must be between {_MIN_INTERVAL_S:g} and {_MAX_INTERVAL_S:g}, got {arguments.interval:g}"
        )
    if arguments.once:
        with Client(arguments.server) as client:
            _print(client.status(), arguments)
        return
    try:
        if sys.stdout.isatty() and not arguments.json:
            _watch_on_screen(arguments.server, arguments.interval)
        else:
            with Client(arguments.server) as client:
                for status in client.watch_status(arguments.interval):
                    _print(status, arguments)
    except KeyboardInterrupt:  # the way to leave
        pass


def _print(status: Status, arguments: argparse.Namespace) -> None:
    text = json.dumps(asdict(status)) if arguments.json else "\n".join([*describe(status, arguments.server), ""])
    print(text, flush=True)


def _watch_on_screen(target: str, interval_s: float) -> None:
    """Goes on when the server comes back; a server that never answered is an error."""
    seen: list[str] = []
    with _screen() as show:
        while True:
            try:
                with Client(target) as client:
                    for status in client.watch_status(interval_s):
                        seen = describe(status, target)
                        show(seen)
            except ClientError as error:
                if not seen or error.code != "UNAVAILABLE":
                    raise
                show([*seen, "", f"{printable(str(error))} (trying again)"])
            time.sleep(_RETRY_S)


@contextmanager
def _screen() -> Iterator[Show]:
    """The whole terminal, given back as it was."""

    def show(lines: list[str]) -> None:
        width, height = shutil.get_terminal_size()
        fitting = [_coloured(line[: width - 1]) for line in lines[: height - 1]]
        sys.stdout.write(_HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in fitting) + _REST_OF_SCREEN)
        sys.stdout.flush()

    sys.stdout.write(_ENTER)
    try:
        yield show
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _coloured(line: str) -> str:
    if line.startswith("AniMoE"):
        return f"{_BOLD}{line}{_NORMAL}"
    wrong = line.startswith("deadlines") and "(0 lately)" not in line
    return f"{_RED}{line}{_NORMAL}" if wrong else line


def describe(status: Status, target: str) -> list[str]:
    """The view, line by line, for people."""
    bundle = f"bundle {status.bundle_name} {status.bundle_digest[:20]}, generation {status.generation}"
    lines = [
        f"AniMoE {status.server_version} at {target}: {status.state}, up {_time(status.uptime_s)}",
        bundle if status.bundle_name else "no bundle yet",
        "",
        f"characters   {status.session_count} live, {status.sessions_opened} opened; "
        f"streams {status.stream_count} of {status.max_stream_count}; queue {status.queue_depth}",
        f"frames       {status.frames_per_second:.0f} per second, {status.frames_sent} in all",
        f"first frame  {_latency(status.first_frame)}",
        f"step         {_latency(status.step)}{_batch(status)}",
        f"deadlines    {_deadlines(status)}",
        f"server       {_memory(status.rss_bytes)}, {status.cpu_share:.2f} processors busy",
    ]
    lines += [f"refused      {_counts(status.refusals)}"] if status.refusals else []
    lines += [f"cut          {_counts(status.cuts)}"] if status.cuts else []
    lines += [f"jobs         {_counts(status.jobs)}"] if status.jobs else []
    return [printable(line) for line in [*lines, *_experts(status)]]


def _latency(latency: Latency) -> str:
    if not latency.count:
        return "none lately"
    times = (f"{name} {value * 1000:.1f} ms" for name, value in (("p50", latency.p50_s), ("p99", latency.p99_s)))
    return ", ".join([*times, f"max {latency.max_s * 1000:.1f} ms", f"{latency.count} lately"])


def _batch(status: Status) -> str:
    return f"; batch {status.batch_mean:.1f} on average, {status.batch_max} at most" if status.step.count else ""


def _deadlines(status: Status) -> str:
    missed = f"{status.deadlines_missed} missed ({status.deadlines_missed_recently} lately)"
    if not (status.margin_p50_s or status.margin_p1_s):
        return missed
    return (
        f"{missed}; blocks are ready {status.margin_p50_s * 1000:.0f} ms before they are due, "
        f"the latest 1 % {status.margin_p1_s * 1000:.0f} ms"
    )


def _experts(status: Status) -> list[str]:
    if not status.experts:
        return []
    total = sum(status.experts.values()) or 1.0
    shown = list(status.experts.items())
    lines = ["", "experts in use, characters that they perform:"]
    for name, characters in shown[:_EXPERTS]:
        bar = "#" * round(_BAR * characters / total)
        lines.append(f"  {name[:32]:<32} {characters:8.2f} {characters / total:5.0%} {bar}")
    if rest := shown[_EXPERTS:]:
        lines.append(f"  {len(rest)} more{'':<26} {sum(count for _, count in rest):8.2f}")
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _memory(rss_bytes: int) -> str:
    return f"{rss_bytes / 1e6:.0f} MB of memory" if rss_bytes else "memory unknown"


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
