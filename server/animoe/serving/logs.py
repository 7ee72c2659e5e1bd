"""Logs: one line per record, as text or JSON; lines of a call carry its request id and, of a stream, its session id.

Whatever strangers send is escaped, so that a line is a line and its ids are those that this server gave or checked.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from animoe.printable import printable

FORMATS = ("text", "json")
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_BARE = re.compile(r"[A-Za-z0-9_.:/+@%\[\]-]+")
_MAX_CHARS = 8000
"""Of one value: what strangers send must not fill a disk line by line."""
_FIELDS, _PLAIN = "animoe_fields", "animoe_plain"


@dataclass
class Ids:
    """Of the call that the present task, and what it runs in the compute pool, works for."""

    request: str
    session: str = ""


current_ids: ContextVar[Ids | None] = ContextVar("animoe_ids", default=None)


def new_id() -> str:
    """16 hexadecimal digits."""
    return secrets.token_hex(8)


def request_id(sent: str | bytes | None) -> str:
    """The caller's own id of a request when it is sane (64 characters that cannot be mistaken), else a new one."""
    return sent if isinstance(sent, str) and _REQUEST_ID.fullmatch(sent) else new_id()


def fields(**values: Any) -> dict[str, Any]:
    """`extra` of a log call: named values that follow the message; None is left out."""
    return {_FIELDS: {name: value for name, value in values.items() if value is not None}}


PLAIN: Mapping[str, Any] = {_PLAIN: True}
"""`extra` of a line that people wait for: as text it is printed bare."""


def set_up_logs(kind: str) -> None:
    """Sends all logs to stdout, one line each; as text, warnings and errors go to stderr.

    Args:
        kind: one of FORMATS.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    out = logging.StreamHandler(sys.stdout)
    out.setFormatter(formatter(kind))
    root.addHandler(out)
    if kind != "json":
        out.addFilter(lambda record: record.levelno < logging.WARNING)
        errors = logging.StreamHandler(sys.stderr)
        errors.setFormatter(formatter(kind))
        errors.setLevel(logging.WARNING)
        root.addHandler(errors)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def formatter(kind: str) -> logging.Formatter:
    """Makes the lines of one of FORMATS."""
    return _JsonLines() if kind == "json" else _TextLines()


class _Lines(logging.Formatter):
    def _ids(self) -> dict[str, str]:
        ids = current_ids.get()
        if ids is None:
            return {}
        return {"request": ids.request} | ({"session": ids.session} if ids.session else {})

    def _trace(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class _TextLines(_Lines):
    """`2026-11-21T08:30:00.123Z INFO request=... session=... message name=value`; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        message = printable(record.getMessage(), _MAX_CHARS)
        if getattr(record, _PLAIN, False):
            return message
        parts = [_time(record), record.levelname, *(f"{name}={value}" for name, value in self._ids().items()), message]
        parts += [f"{name}={_text(value)}" for name, value in getattr(record, _FIELDS, {}).items()]
        trace = [f"    {printable(line)}" for line in self._trace(record).splitlines()]
        return "\n".join([" ".join(parts), *trace])


class _JsonLines(_Lines):
    """One object per line: time, level, logger, message; request and session; what else there is, by name."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        line |= self._ids() | {"message": record.getMessage()}
        line |= {name: value for name, value in getattr(record, _FIELDS, {}).items() if name not in line}
        if trace := self._trace(record):
            line["exception"] = trace
        return json.dumps({name: _short(value) for name, value in line.items()}, default=str)


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _short(value: Any) -> Any:
    return f"{value[:_MAX_CHARS]}..." if isinstance(value, str) and len(value) > _MAX_CHARS else value


def _text(value: Any) -> str:
    """A value that ends where it seems to end."""
    text = f"{value:.6g}" if isinstance(value, float) else str(_short(value))
    return text if _BARE.fullmatch(text) else '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
