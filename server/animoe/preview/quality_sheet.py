"""The picture of a quality report: every measure over time with its worst frame, and those frames of the character."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.preview.layout import FAINT, INK, PAPER, RULE, fitted, font, saving, writable
from animoe.preview.render import render_pose
from animoe.preview.shot import Shot, frame_all
from animoe.rig.rotations import Array

CELL_PX = (186, 236)
PLOT_PX = 84
_MARGIN, _NAMES_PX, _FIGURES_PX, _HEAD_PX = 14, 200, 150, 46
_PLOT = (28, 33, 46)
_BAD = (244, 108, 92)
_LIMIT = (226, 190, 96)
_BEHIND = (104, 116, 142)


class PlottedMeasure(Protocol):
    """A number per frame, as `retarget.quality.Measure` has it."""

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def limit(self) -> float | None: ...
    @property
    def limited(self) -> str: ...
    @property
    def values(self) -> Array: ...
    @property
    def median(self) -> float | None: ...
    @property
    def worst(self) -> float | None: ...
    @property
    def worst_frame(self) -> int | None: ...
    @property
    def worst_part(self) -> str: ...
    @property
    def passed(self) -> bool | None: ...


class PlottedReport(Protocol):
    """What `retarget.quality.measure` returns."""

    @property
    def clip(self) -> str: ...
    @property
    def rig(self) -> str: ...
    @property
    def frame_rate_hz(self) -> float: ...
    @property
    def frame_count(self) -> int: ...
    @property
    def measures(self) -> Mapping[str, PlottedMeasure]: ...
    @property
    def source(self) -> PlottedReport | None: ...


def write_quality_sheet(path: str | Path, report: PlottedReport, clip: Clip) -> None:
    """Writes the picture of a quality report.

    One row per measure: its figures, the plot over time (the source's in grey behind it, the limit as a line, the
    worst frame marked); below, the worst frame of each measure that found something.

    Args:
        path: picture to write, ending in .png or .jpg.
        report: from `retarget.quality.measure`.
        clip: the clip that was measured.

    Raises:
        InvalidRequest: the clip has another number of frames than the report, or NaN in it.
        FileError: the picture cannot be written there.
    """
    target = writable(path, (".png", ".jpg"))
    if clip.frame_count != report.frame_count:
        raise InvalidRequest(
            f"the report is about {report.frame_count} frames, the clip has {clip.frame_count}; "
            "draw the clip that was measured"
        )
    shot = frame_all([clip], [report.clip], CELL_PX[0] / CELL_PX[1])[0]
    worst = [(m, m.worst_frame) for m in report.measures.values() if m.worst_part]
    width = max(_NAMES_PX + 460 + _FIGURES_PX, len(report.measures) * CELL_PX[0]) + 2 * _MARGIN
    height = _HEAD_PX + len(report.measures) * PLOT_PX + 30 + CELL_PX[1] + 44 + _MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, report, width)
    for row, (name, found) in enumerate(report.measures.items()):
        behind = report.source.measures.get(name) if report.source is not None else None
        _draw_row(draw, found, behind, report.frame_rate_hz, (_MARGIN, _HEAD_PX + row * PLOT_PX, width - _MARGIN))
    top = _HEAD_PX + len(report.measures) * PLOT_PX + 8
    draw.text((_MARGIN, top), "Worst frames" if worst else "No frame stands out", fill=FAINT, font=font(13))
    for column, (found, frame) in enumerate(worst):
        if frame is not None:
            _paste_frame(sheet, shot, found, frame, (_MARGIN + column * CELL_PX[0], top + 22))
    with saving(target):
        sheet.save(target)


def _draw_head(draw: ImageDraw.ImageDraw, report: PlottedReport, width: int) -> None:
    draw.rectangle((0, 0, width, 3), fill=RULE)
    title = f"{report.clip or 'clip'} on {report.rig}"
    draw.text((_MARGIN, 12), fitted(title, font(17), width - 260, lines=1)[0], fill=INK, font=font(17))
    length = f"{report.frame_count} frames, {report.frame_count / report.frame_rate_hz:.2f} s"
    draw.text((width - _MARGIN, 15), length, fill=FAINT, font=font(13), anchor="ra")


def _draw_row(
    draw: ImageDraw.ImageDraw,
    found: PlottedMeasure,
    behind: PlottedMeasure | None,
    rate_hz: float,
    place: tuple[int, int, int],
) -> None:
    """One measure: name and unit, plot, figures. `place` is left, top, right."""
    left, top, right = place
    draw.text((left, top + 8), found.title, fill=INK, font=font(15))
    draw.text((left, top + 28), found.unit, fill=FAINT, font=font(12))
    if found.worst is None or found.worst_frame is None:
        draw.text((left, top + 46), "nothing to measure", fill=FAINT, font=font(12))
        return
    for line, text in enumerate(fitted(found.worst_part, font(12), _NAMES_PX - 16, lines=2)):
        draw.text((left, top + 44 + 15 * line), text, fill=FAINT, font=font(12))
    box = (left + _NAMES_PX, top + 6, right - _FIGURES_PX, top + PLOT_PX - 8)
    _draw_plot(draw, found, behind, box)
    at = right - _FIGURES_PX + 14
    lines = [f"median {_number(found.median)}", f"worst {_number(found.worst)} at {found.worst_frame / rate_hz:.2f} s"]
    if found.limit is not None:
        lines.append(f"limit {_number(found.limit)} ({found.limited})")
    for line, text in enumerate(lines):
        missed = found.passed is False and text.startswith(found.limited)
        draw.text((at, top + 10 + 18 * line), text, fill=_BAD if missed else INK if line < 2 else FAINT, font=font(13))


def _draw_plot(
    draw: ImageDraw.ImageDraw,
    found: PlottedMeasure,
    behind: PlottedMeasure | None,
    box: tuple[int, int, int, int],
) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, fill=_PLOT)
    limit = found.limit or 0.0
    reach = 1.08 * max(found.worst or 0.0, limit, (behind.worst or 0.0) if behind else 0.0)
    reach = reach if reach > 1e-6 else 1.08

    def y(value: float) -> float:
        return bottom - 1 - value / reach * (bottom - top - 2)

    count = len(found.values)
    x = np.linspace(left + 2, right - 2, count) if count > 1 else np.array([(left + right) / 2])
    if found.limit is not None:
        draw.line((left, y(limit), right, y(limit)), fill=_LIMIT, width=1)
    curves = [(behind.values, _BEHIND, 1)] if behind else []
    for values, colour, width in [*curves, (found.values, RULE, 2)]:
        for run in _runs(values):
            points = [(float(x[i]), y(float(values[i]))) for i in run]
            draw.line(points if len(points) > 1 else [*points, *points], fill=colour, width=width)
    if found.worst_frame is not None and found.worst and found.worst_part:
        at, high = float(x[found.worst_frame]), y(found.worst)
        draw.ellipse((at - 4, high - 4, at + 4, high + 4), outline=_BAD, width=2)
    draw.text((left + 4, top + 2), _number(reach / 1.08), fill=FAINT, font=font(10))


def _runs(values: Array) -> list[Array]:
    """Index runs of numbers without NaN between them."""
    known = np.flatnonzero(~np.isnan(values))
    return [run for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if len(run)]


def _paste_frame(sheet: Image.Image, shot: Shot, found: PlottedMeasure, frame: int, place: tuple[int, int]) -> None:
    """The character in a measure's worst frame, with a caption below it."""
    left, top = place
    camera = shot.camera(frame, CELL_PX[0] - 4, CELL_PX[1])
    sheet.paste(render_pose(shot.body, shot.positions_m[frame], camera, planted=shot.planted(frame)), (left, top))
    draw = ImageDraw.Draw(sheet)
    caption = f"{found.title} {_number(found.worst)} {found.unit}"
    room = CELL_PX[0] - 8
    draw.text((left, top + CELL_PX[1] + 4), fitted(caption, font(12), room, lines=1)[0], fill=INK, font=font(12))
    where = f"frame {frame}: {found.worst_part}"
    draw.text((left, top + CELL_PX[1] + 20), fitted(where, font(12), room, lines=1)[0], fill=FAINT, font=font(12))


def _number(value: float | None) -> str:
    """Three digits that matter; "-" for none."""
    if value is None:
        return "-"
    if abs(value) < 1e-6:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
