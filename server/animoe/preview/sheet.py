"""Contact sheets: one row per clip, evenly spaced frames, and the path seen from above."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.preview.layout import FAINT, INK, PAPER, RULE, fitted, font, saving, writable
from animoe.preview.render import render_pose
from animoe.preview.shot import Shot, frame_all
from animoe.rig.rotations import Array

CELL_PX = (168, 236)
PANEL_PX = 188
_GAP = 2
_MAX_COLUMNS, _MAX_ROWS = 40, 64


def contact_sheet(clips: Sequence[Clip], labels: Sequence[str], *, columns: int = 10, path: str | Path) -> None:
    """Writes a contact sheet: one row per clip, `columns` evenly spaced frames from first to last.

    The camera follows each character at 3/4 view from its front-left; all rows have the same scale. The left
    panel shows label, length, mean speed and the root path from above (the character faces up).

    Args:
        clips: 1 to 64 clips, any skeletons; world frame Y up, metres, floor at y = 0.
        labels: one per clip.
        columns: frames per row, 1 to 40.
        path: picture to write, ending in .png or .jpg.

    Raises:
        InvalidRequest: no clips, another number of labels, an empty clip, or NaN in a pose.
        FileError: the picture cannot be written there.
    """
    target = writable(path, (".png", ".jpg"))
    if not 1 <= columns <= _MAX_COLUMNS:
        raise InvalidRequest(f"a contact sheet has 1 to {_MAX_COLUMNS} columns, got {columns}")
    if len(clips) > _MAX_ROWS:
        raise InvalidRequest(f"a contact sheet has at most {_MAX_ROWS} rows, got {len(clips)} clips; make several")
    shots = frame_all(clips, labels, CELL_PX[0] / CELL_PX[1], samples=columns)
    width, height = CELL_PX
    size = (PANEL_PX + columns * (width + _GAP), len(shots) * (height + _GAP))
    sheet = Image.new("RGB", size, PAPER)
    reach = max(path_reach(shot) / shot.view_height_m for shot in shots)
    for row, shot in enumerate(shots):
        top = row * (height + _GAP)
        sheet.paste(_panel(shot, columns, reach * shot.view_height_m), (0, top))
        for column, frame in enumerate(shot.spread(columns)):
            cell = _cell(shot, int(frame))
            sheet.paste(cell, (PANEL_PX + _GAP + column * (width + _GAP), top))
    with saving(target):
        sheet.save(target)


def _cell(shot: Shot, frame: int) -> Image.Image:
    camera = shot.camera(frame, *CELL_PX)
    picture = render_pose(shot.body, shot.positions_m[frame], camera, planted=shot.planted(frame))
    stamp = f"{frame / shot.clip.frame_rate_hz:.2f} s"
    ImageDraw.Draw(picture).text((8, CELL_PX[1] - 20), stamp, fill=FAINT, font=font(12))
    return picture


def _panel(shot: Shot, columns: int, reach: float) -> Image.Image:
    """Label, figures and the root path from above."""
    height = CELL_PX[1]
    panel = Image.new("RGB", (PANEL_PX, height), PAPER)
    draw = ImageDraw.Draw(panel)
    draw.rectangle((0, 0, 3, height), fill=RULE)
    y = 10
    for line in fitted(shot.label or shot.clip.name or "clip", font(15), PANEL_PX - 24, lines=3):
        draw.text((14, y), line, fill=INK, font=font(15))
        y += 19
    length = float(np.linalg.norm(np.diff(shot.ground_path, axis=0), axis=-1).sum())
    duration = shot.clip.duration_s
    for line in (
        f"{duration:.2f} s at {shot.clip.frame_rate_hz:.4g} fps",
        f"{length:.2f} m, {length / duration:.2f} m/s",
    ):
        draw.text((14, y + 2), line, fill=FAINT, font=font(12))
        y += 16
    _draw_path(draw, shot, columns, (14, height - 120, PANEL_PX - 14, height - 10), reach)
    return panel


def path_reach(shot: Shot) -> float:
    """Half side in metres of the square that holds the path from above."""
    path = _turned(shot)
    return max(float(np.abs(path - (path.min(axis=0) + path.max(axis=0)) / 2).max()), 0.25 * shot.body.span_m)


def _turned(shot: Shot) -> Array:
    """(T, 2) the path with the character's facing pointing up and its left to the left."""
    x, z = shot.ground_path[:, 0], shot.ground_path[:, 1]
    sin, cos = np.sin(shot.yaw), np.cos(shot.yaw)
    return np.stack([-(x * cos - z * sin), -(x * sin + z * cos)], axis=-1)


def _draw_path(
    draw: ImageDraw.ImageDraw, shot: Shot, columns: int, box: tuple[int, int, int, int], reach: float
) -> None:
    left, top, right, bottom = box
    path = _turned(shot)
    scale = (min(right - left, bottom - top) - 12) / (2 * reach)
    middle = (path.min(axis=0) + path.max(axis=0)) / 2
    at = (path - middle) * scale + [(left + right) / 2, (top + bottom) / 2]
    metre = scale
    draw.line((left, bottom, left + metre, bottom), fill=FAINT, width=1)
    draw.text((left, bottom - 15), "1 m", fill=FAINT, font=font(11))
    if len(at) > 1:
        draw.line([tuple(p) for p in at.tolist()], fill=(120, 136, 166), width=2, joint="curve")
    for i, frame in enumerate(shot.spread(columns)):
        x, y = at[frame]
        draw.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=(150, 240, 190) if i == 0 else INK)
