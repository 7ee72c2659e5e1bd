"""Animated pictures: clips side by side as one small GIF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.preview.layout import INK, PAPER, RULE, fitted, font, saving, writable
from animoe.preview.render import render_pose
from animoe.preview.shot import Shot, frame_all
from animoe.rig.rotations import Array

_COLOURS = 127
_TRANSPARENT = 127  # index that keeps the previous frame's pixel; runs of it are what makes the file small
_GAP = 2
_MAX_CLIPS, _MAX_FRAMES = 8, 900
_DITHER = 2.5
"""Peak to peak in 8-bit steps. A fixed pattern hides bands and, unlike error diffusion, does not crawl."""
_TOLERANCE = 4
"""A pixel is kept as shown while no channel is off by more than this."""


def animated_gif(
    clips: Sequence[Clip], labels: Sequence[str], path: str | Path, *, width: int = 840, fps: int = 15
) -> None:
    """Writes an endless animation with the clips side by side; shorter clips hold their last frame.

    Args:
        clips: 1 to 8 clips, any skeletons; world frame Y up, metres, floor at y = 0.
        labels: one per clip.
        path: file to write, ending in .gif.
        width: of the whole picture, 80 to 2000 pixels.
        fps: frames per second, 1 to 50; GIF stores hundredths of a second, so 15 plays as 14.3.

    Raises:
        InvalidRequest: no clips, another number of labels, an empty clip, a value out of range.
        FileError: the file cannot be written there.
    """
    target = writable(path, (".gif",))
    if not 80 <= width <= 2000:
        raise InvalidRequest(f"an animation is 80 to 2000 pixels wide, got {width}")
    if not 1 <= fps <= 50:
        raise InvalidRequest(f"an animation has 1 to 50 frames per second, got {fps}")
    if len(clips) > _MAX_CLIPS:
        raise InvalidRequest(f"an animation shows at most {_MAX_CLIPS} clips, got {len(clips)}; make several")
    panel = max((width - _GAP * (len(clips) - 1)) // max(len(clips), 1), 16)
    height = round(min(panel * 1.15, 480))
    shots = frame_all(clips, labels, panel / height, samples=40)
    count = max(round(max(shot.clip.duration_s for shot in shots) * fps), 1)
    if count > _MAX_FRAMES:
        raise InvalidRequest(f"{count} frames are too many for a GIF (at most {_MAX_FRAMES}); trim the clips")
    _write_gif(target, [_frame(shots, i / fps, i / count, panel, height) for i in range(count)], fps)


def _frame(shots: Sequence[Shot], time_s: float, progress: float, panel: int, height: int) -> Image.Image:
    """All shots at one time, with labels and a progress line."""
    total = len(shots) * (panel + _GAP) - _GAP
    picture = Image.new("RGB", (total, height + 3), PAPER)
    draw = ImageDraw.Draw(picture)
    face = font(max(12, panel // 15))
    for column, shot in enumerate(shots):
        at = min(round(time_s * shot.clip.frame_rate_hz), shot.clip.frame_count - 1)
        left = column * (panel + _GAP)
        camera = shot.camera(at, panel, height)
        picture.paste(render_pose(shot.body, shot.positions_m[at], camera, planted=shot.planted(at)), (left, 0))
        for line in fitted(shot.label, face, panel - 24, lines=1):
            draw.text((left + 12, 10), line, fill=INK, font=face)
    draw.rectangle((0, height + 1, round(total * progress), height + 2), fill=RULE)
    return picture


def _write_gif(target: Path, frames: Sequence[Image.Image], fps: int) -> None:
    palette = _shared_palette(frames)
    first, *rest = _indexed(frames, palette)
    with saving(target):
        first.save(
            target,
            save_all=True,
            append_images=rest,
            duration=round(100 / fps) * 10,
            loop=0,
            disposal=1,
            transparency=_TRANSPARENT,
            optimize=False,
        )


def _shared_palette(frames: Sequence[Image.Image]) -> Image.Image:
    """One palette for all frames, from a few of them."""
    some = frames[:: max(len(frames) // 6, 1)]
    strip = Image.new("RGB", (some[0].width, sum(f.height for f in some)))
    for i, frame in enumerate(some):
        strip.paste(frame, (0, i * frame.height))
    strip = strip.resize((strip.width // 2, strip.height // 2), Image.Resampling.NEAREST)
    return strip.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=1)


def _indexed(frames: Sequence[Image.Image], palette: Image.Image) -> Iterator[Image.Image]:
    """Palette frames in which pixels that (nearly) keep their colour are transparent."""
    threshold = _ordered_pattern(frames[0].height, frames[0].width)
    colours = (palette.getpalette() or [])[: 3 * _COLOURS]
    colours += [0] * (3 * (_TRANSPARENT + 1) - len(colours))
    table = np.array(colours, dtype=np.int16).reshape(-1, 3)
    shown: Array | None = None  # (H, W) palette index that the viewer sees
    for frame in frames:
        dithered = np.clip(np.asarray(frame, dtype=np.float32) + threshold, 0, 255).astype(np.uint8)
        picture = Image.fromarray(dithered).quantize(palette=palette, dither=Image.Dither.NONE)
        index = np.asarray(picture)
        if shown is None:
            drawn = shown = index
        else:
            kept = np.abs(dithered.astype(np.int16) - table[shown]).max(axis=-1) <= _TOLERANCE
            kept |= index == shown
            drawn, shown = np.where(kept, np.uint8(_TRANSPARENT), index), np.where(kept, shown, index)
        out = Image.fromarray(drawn)
        out = out if out.mode == "P" else out.convert("P")
        out.putpalette(colours)
        yield out


def _ordered_pattern(height: int, width: int) -> Array:
    """(H, W, 1) Bayer pattern around zero."""
    two = np.array([[0, 2], [3, 1]])
    four = np.block([[4 * two, 4 * two + 2], [4 * two + 3, 4 * two + 1]])
    tiled = np.tile(four, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    pattern: Array = ((tiled + 0.5) / 16 - 0.5).astype(np.float32) * np.float32(_DITHER)
    return pattern
