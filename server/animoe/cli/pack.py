"""`animoe pack check` and `animoe pack import`: the front of `animoe_trainer.importing`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from animoe.bundle.child import current_bundle, own_bundle
from animoe.errors import AniMoEError, InvalidRequest

if TYPE_CHECKING:
    from animoe_trainer.importing.progress import Event

REFUSED = 3
PROBLEMS = 1
_TRAINER = ("animoe_trainer", "torch", "transformers", "peft", "tqdm", "matplotlib", "onnx")
_EVERY_S = 0.5
_LISTED = 20
_REQUEST = (
    "pack scenario parent resume force reason user minutes steps batch draft threads wait seed".split()
)  # fields of ImportRequest that are flags of the same name


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "import" and (arguments.server or arguments.on_server or arguments.detach):
        return _import_at_server(arguments)
    os.environ.setdefault("TQDM_DISABLE", "1")  # before tqdm is imported: the import shows its own progress
    try:
        return _check(arguments) if arguments.action == "check" else _import(arguments)
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name not in _TRAINER:
            raise
        raise AniMoEError(f"{name} is not installed and learning needs it; run: pip install 'animoe[train]'") from error


def _import_at_server(arguments: argparse.Namespace) -> int:
    if not arguments.server:
        raise InvalidRequest("--on-server and --detach need --server HOST:PORT")
    if arguments.more:
        raise InvalidRequest("a server takes one pack at a time; put the folders into one, with one pack.csv")
    from animoe.cli.remote import import_pack

    return import_pack(arguments)


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
    from animoe_trainer.devices import AUTO
    from animoe_trainer.importing.request import ImportRequest
    from animoe_trainer.importing.run import import_pack

    _be_modest()
    signal.signal(signal.SIGTERM, _stop)
    screen = _Screen(arguments.json)
    try:
        request = ImportRequest(
            **{name: getattr(arguments, name) for name in _REQUEST},
            device=arguments.device or AUTO,
            bundle=arguments.bundle or own_bundle(),
            more=tuple(arguments.more),
        )
        result = import_pack(request, screen.event, screen.say)
    except KeyboardInterrupt:
        screen.say("stopped; the bundle is as before, --resume goes on")
        raise
    except AniMoEError as error:
        screen.result({"result": "failed", "message": str(error), "reason": error.reason})
        raise
    finally:
        screen.clear()
    summary, expert = result.summary, f"{result.scenario}@{result.version}"
    said = _outcome(summary, result.published, expert)
    plain = {"result": result.status, "message": said, "expert": expert if result.published else ""}
    screen.result(plain | {"report": str(result.report)} | _short(summary))
    if not arguments.json:
        _print_result(summary)
        print(f"{said}; report: {result.report}")
    return 0 if result.published else REFUSED


def _outcome(summary: dict[str, Any], published: bool, expert: str) -> str:
    worse = ", ".join(summary["got_worse"])
    if not published:
        how = "publish it all the same with --resume --force --reason TEXT"
        return f"not published: {worse} got worse beyond the noise ({how})"
    return f"published {expert}" + (f" by force although {worse} got worse" if worse else "")


def _short(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without the losses of every step."""
    return summary | {"training": {k: v for k, v in summary["training"].items() if k != "history"}}


def _print_result(summary: dict[str, Any]) -> None:
    print(f"{'':<16}" + "".join(f"{head:>12}" for head in ("before", "after", "real")))
    for kind in ("quality", "emotion"):
        for name, after in summary["figures"]["after"][kind].items():
            if after is not None:
                cells = (summary["figures"][when][kind][name] for when in ("before", "after", "real"))
                print(f"{name:<16}" + "".join(f"{_cell(value):>12}" for value in cells))
    for verdict in summary["verdicts"]:
        for look, change in [("", c) for c in verdict["changes"]] + [(" again", c) for c in verdict["again"]]:
            mark = "WORSE" if change["worse"] else "holds"
            band = f"{_cell(change['low'])} to {_cell(change['high'])}"
            print(f"{mark}{look} {verdict['scenario']} {change['measure']}: gain {_cell(change['gain'])} ({band})")


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
    """Progress: one line on stderr for people, or JSON lines on stdout for programs (the server's jobs read them)."""

    def __init__(self, plain: bool) -> None:
        self._plain, self._shown, self._width = plain, -_EVERY_S, 0
        self._step, self._share = "validate", 0.0

    def event(self, event: Event) -> None:
        now = time.monotonic()
        self._step, self._share = event.step, event.share
        if event.done not in (0, event.total) and now - self._shown < _EVERY_S:
            return
        self._shown = now
        left = event.seconds_left
        if self._plain:
            self._line(event.message, -1.0 if left is None else round(left, 1))
            return
        if event.message:
            self.say(event.message)
        if sys.stderr.isatty():
            about = "" if left is None else f", about {_time(left)} left"
            self._show(f"{event.step} {event.done}/{event.total} ({event.share:.0%}{about})")

    def say(self, sentence: str) -> None:
        self.clear()
        self._line(sentence, -1.0) if self._plain else print(sentence, file=sys.stderr, flush=True)

    def result(self, plain: dict[str, Any]) -> None:
        if self._plain:
            print(json.dumps(plain), flush=True)

    def _line(self, message: str, eta_s: float) -> None:
        print(
            json.dumps({"step": self._step, "done": round(self._share, 4), "eta_s": eta_s, "message": message}),
            flush=True,
        )

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
