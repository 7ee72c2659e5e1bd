"""A picture of a rig: one pose from the front and from the side, bones drawn, joints labelled with their roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from animoe.preview.layout import FAINT, INK, PAPER, fitted, font, saving, writable
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

_PANEL_PX, _HEIGHT_PX, _MARGIN_PX = 440, 760, 290
_TOP_PX, _BOTTOM_PX = 52, 44
_LINE_PX = 17
_SAMPLES = 2
_COLOURS: Mapping[str, tuple[int, int, int]] = {
    "mapping": (150, 240, 190),
    "profile": (96, 196, 208),
    "name": (136, 160, 255),
    "geometry": (244, 168, 96),
}
_HELPER, _DOUBT = (92, 100, 122), (240, 84, 84)
_WORDS = {
    "mapping": "your mapping",
    "profile": "known rig",
    "name": "name",
    "geometry": "geometry",
    "helper": "no role",
    "doubt": "check this",
}


@dataclass(frozen=True)
class JointMark:
    """What is drawn at a joint.

    Attributes:
        role: its label.
        found_by: "mapping", "profile", "name" or "geometry": the colour.
        doubtful: draws a ring around it.
    """

    role: str
    found_by: str
    doubtful: bool = False


@dataclass(frozen=True)
class _Label:
    text: str
    colour: tuple[int, int, int]
    at: tuple[float, float]


def rig_sheet(
    skeleton: Skeleton,
    positions_m: Array,
    marks: Mapping[int, JointMark],
    *,
    axes: Array,
    title: str,
    path: str | Path,
) -> None:
    """Draws a rig in one pose: from the front (its left on the right) and from its right side.

    Args:
        skeleton: J joints.
        positions_m: (J, 3) model positions of the pose.
        marks: joint -> its role; joints without one are drawn grey.
        axes: (3, 3) rows left, up and forward of the body.
        title: the line on top.
        path: picture to write, ending in .png or .jpg.

    Raises:
        FileError: the picture cannot be written there.
    """
    target = writable(path, (".png", ".jpg"))
    body = positions_m @ axes.T
    width = 2 * (_PANEL_PX + 2 * _MARGIN_PX) - _MARGIN_PX
    sheet = Image.new("RGB", (width * _SAMPLES, _HEIGHT_PX * _SAMPLES), PAPER)
    front = _project(body, body[:, 0], marks, _MARGIN_PX)
    side = _project(body, body[:, 2], marks, _PANEL_PX + 2 * _MARGIN_PX)
    for points in (front, side):
        _draw_bones(ImageDraw.Draw(sheet), skeleton, points, marks)
    sheet = sheet.resize((width, _HEIGHT_PX), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(sheet)
    _draw_labels(draw, skeleton, front, side, marks)
    draw.text((18, 14), fitted(title, font(18), width - 36, lines=1)[0], fill=INK, font=font(18))
    caption_y = _HEIGHT_PX - _BOTTOM_PX - 6
    draw.text((_MARGIN_PX, caption_y), "front (its left on the right)", fill=FAINT, font=font(12))
    draw.text((_PANEL_PX + 2 * _MARGIN_PX, caption_y), "from its right", fill=FAINT, font=font(12))
    _draw_legend(draw, marks)
    with saving(target):
        sheet.save(target)


def _project(body: Array, across: Array, marks: Mapping[int, JointMark], left_px: int) -> Array:
    """(J, 2) pixels; the joints with a role fill the panel, helpers far away are cut off."""
    seen = sorted(marks) or list(range(len(body)))
    low, high = body[seen].min(axis=0), body[seen].max(axis=0)
    room_for_fingers = 0.08 * (high - low)
    low, high = low - room_for_fingers, high + room_for_fingers
    room = (_PANEL_PX, _HEIGHT_PX - _TOP_PX - _BOTTOM_PX - 60)
    spans = np.maximum(high - low, 1e-6)
    scale = min(room[0] / max(spans[0], spans[2]), room[1] / spans[1])
    middle = (across[seen].min() + across[seen].max()) / 2
    x = left_px + _PANEL_PX / 2 + (across - middle) * scale
    y = _TOP_PX + 30 + (room[1] - spans[1] * scale) / 2 + (high[1] - body[:, 1]) * scale
    points: Array = np.clip(
        np.stack([x, y], axis=-1), [left_px - 20, _TOP_PX], [left_px + _PANEL_PX + 20, _HEIGHT_PX - 50]
    )
    return points


def _draw_bones(draw: ImageDraw.ImageDraw, skeleton: Skeleton, points: Array, marks: Mapping[int, JointMark]) -> None:
    at = points * _SAMPLES
    carrying = _carrying(skeleton, marks)
    for lit in (False, True):
        for joint, parent in enumerate(skeleton.parents):
            if parent >= 0 and (joint in carrying and parent in carrying) == lit:
                colour = (176, 184, 204) if lit else _HELPER
                draw.line([tuple(at[parent]), tuple(at[joint])], fill=colour, width=(3 if lit else 1) * _SAMPLES)
    for joint in range(skeleton.joint_count):
        if joint not in marks:
            _dot(draw, at[joint], 1.8, _HELPER)
    for joint, mark in marks.items():
        if mark.doubtful:
            _dot(draw, at[joint], 7.5, _DOUBT)
            _dot(draw, at[joint], 5.8, PAPER)
        _dot(draw, at[joint], 4.4, _COLOURS[mark.found_by])


def _carrying(skeleton: Skeleton, marks: Mapping[int, JointMark]) -> set[int]:
    """Joints with a role and those between them: what hangs below the highest joint with one and above another."""
    above: set[int] = set()
    for joint in marks:
        line = [joint]
        while skeleton.parents[line[-1]] >= 0:
            line.append(int(skeleton.parents[line[-1]]))
        last = max(i for i, j in enumerate(line) if j in marks)
        above.update(line[: last + 1])
    return above


def _dot(draw: ImageDraw.ImageDraw, at: Array, radius: float, colour: tuple[int, int, int]) -> None:
    r = radius * _SAMPLES
    draw.ellipse((at[0] - r, at[1] - r, at[0] + r, at[1] + r), fill=colour)


def _draw_labels(
    draw: ImageDraw.ImageDraw, skeleton: Skeleton, front: Array, side: Array, marks: Mapping[int, JointMark]
) -> None:
    """Limbs beside the front view, on their side; trunk and head beside the side view."""
    columns: dict[str, list[_Label]] = {"left": [], "right": [], "": []}
    for joint, mark in sorted(marks.items()):
        column = mark.role.partition("_")[0] if "_" in mark.role else ""
        points = front if column else side
        text = f"{mark.role}  {skeleton.joint_names[joint]}"
        columns[column].append(_Label(text, _COLOURS[mark.found_by], (points[joint, 0], points[joint, 1])))
    _draw_column(draw, columns["right"], 12, _MARGIN_PX - 30, ends=True)
    _draw_column(draw, columns["left"], _MARGIN_PX + _PANEL_PX + 24, _MARGIN_PX - 30, ends=False)
    _draw_column(draw, columns[""], 2 * (_PANEL_PX + _MARGIN_PX) + 24, _MARGIN_PX - 30, ends=False)


def _draw_column(draw: ImageDraw.ImageDraw, labels: Sequence[_Label], x: int, width: int, *, ends: bool) -> None:
    """One column of labels with lines to their joints; `ends`: the column is left of the joints."""
    ordered = sorted(labels, key=lambda label: label.at[1])
    for label, y in zip(ordered, _spread([label.at[1] for label in ordered]), strict=True):
        text = fitted(label.text, font(13), width, lines=1)[0]
        length = font(13).getlength(text)
        start = x + width - length if ends else x
        edge = start + length + 4 if ends else start - 4
        to = np.array(label.at)
        to -= (to - (edge, y)) / max(float(np.hypot(*(to - (edge, y)))), 1e-6) * 6
        draw.line((edge, y, *to), fill=(72, 80, 100), width=1)
        draw.text((start, y - 8), text, fill=label.colour, font=font(13))


def _spread(heights: Sequence[float]) -> list[float]:
    """Heights in rising order moved apart by a line each, as little as one sweep down and one up does."""
    low, high = _TOP_PX + 12.0, _HEIGHT_PX - _BOTTOM_PX - 22.0
    gap = min(float(_LINE_PX), (high - low) / max(len(heights) - 1, 1))
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap if placed else low))
    for number in range(len(placed) - 1, -1, -1):
        placed[number] = min(placed[number], placed[number + 1] - gap if number + 1 < len(placed) else high)
    return placed


def _draw_legend(draw: ImageDraw.ImageDraw, marks: Mapping[int, JointMark]) -> None:
    x, y = 18, _HEIGHT_PX - 26
    shown = [key for key in _COLOURS if any(mark.found_by == key for mark in marks.values())]
    entries = [(_COLOURS[key], _WORDS[key]) for key in shown] + [(_HELPER, _WORDS["helper"])]
    if any(mark.doubtful for mark in marks.values()):
        entries.append((_DOUBT, _WORDS["doubt"]))
    for colour, word in entries:
        draw.ellipse((x, y, x + 10, y + 10), fill=colour)
        draw.text((x + 16, y - 3), word, fill=FAINT, font=font(13))
        x += 34 + int(font(13).getlength(word))
