"""Figures of a conversion: for programs as JSON, for people as a table that names the worst frames."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from animoe.conversion.naming import make_folder
from animoe.conversion.results import FileResult, Written
from animoe.errors import InvalidRequest
from animoe.formats.writing import write_atomically

FORMAT = 1
_HEAD = ("measure", "unit", "median", "worst", "limit kept", "source", "worst at")

_NOTHING = 0.05
"""Figures below this are printed as 0.0; no frame is to blame for them."""


def figures_file(report: Path) -> Path:
    """Where the figures of `--report` go: the .json file itself, or report.json in the folder."""
    return report if report.suffix.lower() == ".json" else report / "report.json"


def write_figures(
    report: Path, results: Sequence[FileResult], seconds: float, untouchable: Collection[Path] = frozenset()
) -> Path:
    """Writes the figures of all clips as JSON and returns the file.

    Raises:
        InvalidRequest: it is an input.
        FileError: it cannot be written.
    """
    path = figures_file(report)
    if path.resolve() in untouchable:
        raise InvalidRequest(f"{path} is an input and is not overwritten; give --report another name")
    make_folder(path.parent)
    document = {
        "animoe_conversion_report": FORMAT,
        "seconds": round(seconds, 3),
        "clips": [clip_json(clip) for result in results for clip in result.written],
        "failed": failures_json(results),
        "summary": summarise(results),
    }
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
    return path


def clip_json(clip: Written) -> dict[str, Any]:
    """A written clip for programs."""
    return {
        "source": clip.source,
        "clip": clip.clip,
        "path": str(clip.path),
        "frames": clip.frame_count,
        "frame_rate_hz": round(clip.frame_rate_hz, 4),
        "joints": clip.joint_count,
    } | ({} if clip.quality is None else {"quality": clip.quality})


def failures_json(results: Sequence[FileResult]) -> list[dict[str, str]]:
    """What was not written, for programs."""
    return [{"source": str(result.job.source), "problem": problem} for result in results for problem in result.problems]


def summarise(results: Sequence[FileResult]) -> dict[str, dict[str, Any]]:
    """Measure -> its figures over all clips: median of medians, worst of worsts and where, how many keep the limit."""
    measured = [clip for result in results for clip in result.written if clip.quality]
    names = list(dict.fromkeys(name for clip in measured for name in _measures(clip)))
    return {name: _summary([clip for clip in measured if name in _measures(clip)], name) for name in names}


def table(results: Sequence[FileResult]) -> list[str]:
    """Lines of a table of `summarise`; empty when nothing was measured."""
    rows = [
        (
            str(row["title"]),
            str(row["unit"]),
            _number(row["median"]),
            _number(row["worst"]),
            f"{row['passed']} of {row['judged']}" if row["judged"] else "-",
            _number(row["source_median"]),
            row["worst_at"],
        )
        for row in summarise(results).values()
    ]
    if not rows:
        return []
    widths = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(len(_HEAD))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [_HEAD, *rows]
    ]


def _summary(clips: Sequence[Written], name: str) -> dict[str, Any]:
    figures = [_measures(clip)[name] for clip in clips]
    known = [
        (figure["worst"], clip, figure)
        for clip, figure in zip(clips, figures, strict=True)
        if figure["worst"] is not None
    ]
    worst = max(known, key=lambda item: item[0], default=None)
    judged = [figure["passed"] for figure in figures if figure["passed"] is not None]
    return {
        "title": figures[0]["title"],
        "unit": figures[0]["unit"],
        "clips": len(known),
        "median": _median([figure["median"] for figure in figures]),
        "worst": None if worst is None else worst[0],
        "worst_at": "" if worst is None or worst[0] < _NOTHING else _place(worst[1], worst[2]),
        "limit": figures[0]["limit"],
        "judged": len(judged),
        "passed": sum(judged),
        "source_median": _median([figure.get("source", {}).get("median") for figure in figures]),
    }


def _measures(clip: Written) -> dict[str, Any]:
    measures: dict[str, Any] = (clip.quality or {}).get("measures", {})
    return measures


def _place(clip: Written, figure: dict[str, Any]) -> str:
    name = clip.source if clip.clip == Path(clip.source).stem else f"{clip.source}, {clip.clip!r}"
    return f"{name}, frame {figure['worst_frame']} ({figure['worst_s']:.2f} s), {figure['worst_part']}"


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _is_file(report: Path) -> bool:
    return report.suffix.lower() == ".json"
