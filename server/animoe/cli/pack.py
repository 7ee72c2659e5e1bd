"""`animoe pack check` and `animoe pack import`: the front of `animoe_trainer.importing`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from animoe.bundle.child import current_bundle, own_bundle
from animoe.errors import AniMoEError

if TYPE_CHECKING:
    from animoe_trainer.importing.progress import Event

REFUSED = 3
PROBLEMS = 1
_TRAINER = ("animoe_trainer", "torch", "transformers", "peft", "tqdm", "matplotlib", "onnx")
_EVERY_S = 0.5
_LISTED = 20


def run(arguments: argparse.Namespace) -> int:
    os.environ.setdefault("TQDM_DISABLE", "1")  # before tqdm is imported: the import shows its own progress
    try:
        return _check(arguments) if arguments.action == "check" else _import(arguments)
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name not in _TRAINER:
            raise
        raise AniMoEError(f"{name} is not installed and learning needs it; run: pip install 'animoe[train]'") from error


def _check(arguments: argparse.Namespace) -> int:
    from animoe_trainer.importing.check import check_pack

    found = check_pack(arguments.pack, arguments.bundle or current_bundle())
    print(json.dumps(found, indent=1)) if arguments.json else _print_check(found)
    return 0 if found["ok"] else PROBLEMS


def _print_check(found: dict[str, Any]) -> None:
    for row in found["refused"][:_LISTED]:
        print(f"refused, line {row['line']}: {row['reason']}" if row["line"] else f"refused: {row['reason']}")
    if len(found["refused"]) > _LISTED:
        print(f"... and {len(found['refused']) - _LISTED} more; --json lists all")
    print(f"{found['clips']} clips ({found['seconds']:.1f} s) can be used, {len(found['refused'])} rows are refused")
    print("emotions: " + ", ".join(f"{name} {count}" for name, count in found["emotions"].items()))
    print(f"{found['held_out']} clips will be held out to judge by")
    tokenizer = found["tokenizer"]
    print(tokenizer["sentence"])
    if tokenizer["outside"]:
        for row in tokenizer["rows"][:5]:
            print(f"  line {row['line']}: {row['error_mm']:.0f} mm, {row['text']}")
    if found["drafted"]:
        print(f"there is no pack.csv; a draft is at {found['drafted']}: edit it and rename it to pack.csv")


def _import(arguments: argparse.Namespace) -> int:
    from animoe_trainer.importing.request import ImportRequest
    from animoe_trainer.importing.run import import_pack

    _be_modest()
    signal.signal(signal.SIGTERM, _stop)
    names = ("pack", "scenario", "parent", "resume", "force", "reason", "minutes", "steps", "batch", "draft", "threads")
    request = ImportRequest(
        **{name: getattr(arguments, name) for name in names},
        wait=arguments.wait,
        seed=arguments.seed,
        bundle=arguments.bundle or own_bundle(),
    )
    screen = _Screen(arguments.json)
    try:
        result = import_pack(request, screen.event, screen.say)
    except KeyboardInterrupt:
        screen.say("stopped; the bundle is as before, --resume goes on")
        raise
    finally:
        screen.clear()
    if arguments.json:
        plain = {"status": result.status, "report": str(result.report), "journal": result.journal}
        print(json.dumps(plain | result.summary, indent=1))
    else:
        _print_result(result.summary, result.status, result.report)
    return 0 if result.published else REFUSED


def _print_result(summary: dict[str, Any], status: str, report: Path) -> None:
    figures = summary["figures"]
    print(f"{'':<16}" + "".join(f"{head:>12}" for head in ("before", "after", "real")))
    for kind in ("quality", "emotion"):
        for name, after in figures["after"][kind].items():
            if after is not None:
                cells = (figures[when][kind][name] for when in ("before", "after", "real"))
                print(f"{name:<16}" + "".join(f"{_cell(value):>12}" for value in cells))
    for verdict in summary.get("verdicts", []):
        for change in verdict["changes"]:
            mark = "WORSE" if change["worse"] else "holds"
            band = f"{_cell(change['low'])} to {_cell(change['high'])}"
            print(f"{mark} {verdict['scenario']} {change['measure']}: gain {_cell(change['gain'])} ({band})")
    name = f"{summary['scenario']}@{summary['version']}"
    if status == "published":
        print(f"published {name}; report: {report}")
    else:
        worse = ", ".join(summary["got_worse"])
        print(f"not published: {worse} got worse beyond the noise; report: {report}")
        print("publish it all the same with --resume --force --reason TEXT")


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _be_modest() -> None:
    """Live characters come first."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(10)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Screen:
    """Progress on stderr: one line for people, JSON lines for programs."""

    def __init__(self, plain: bool) -> None:
        self._plain, self._shown, self._width = plain, -_EVERY_S, 0

    def event(self, event: Event) -> None:
        now = time.monotonic()
        if event.done not in (0, event.total) and now - self._shown < _EVERY_S:
            return
        self._shown = now
        if self._plain:
            print(json.dumps({"event": "progress", **vars(event)}), file=sys.stderr, flush=True)
            return
        if event.message:
            self.say(event.message)
        if sys.stderr.isatty():
            left = "" if event.seconds_left is None else f", about {_time(event.seconds_left)} left"
            self._show(f"{event.step} {event.done}/{event.total} ({event.share:.0%}{left})")

    def say(self, sentence: str) -> None:
        self.clear()
        line = json.dumps({"event": "message", "message": sentence}) if self._plain else sentence
        print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._width:
            self._show("")
            sys.stderr.write("\r")
            self._width = 0

    def _show(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
