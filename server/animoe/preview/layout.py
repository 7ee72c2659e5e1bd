"""What sheets and animations share: colours, fonts, text that fits, where a picture may go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import ImageFont

from animoe.errors import FileError

PAPER = (18, 21, 30)
INK = (236, 238, 244)
FAINT = (150, 160, 182)
RULE = (96, 196, 208)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font, so that pictures are the same on every machine."""
    return ImageFont.load_default(size)


def fitted(text: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int, *, lines: int) -> list[str]:
    """Breaks `text` into at most `lines` lines of `width_px`; what does not fit ends in an ellipsis."""
    rows: list[str] = []
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split()).split(" ")
    current = ""
    for word in words:
        joined = f"{current} {word}".strip()
        if current and face.getlength(joined) > width_px:
            rows.append(current)
            current = word
        else:
            current = joined
    rows.append(current)
    kept = rows[:lines]
    if len(rows) > lines:
        kept[-1] += "..."
    return [_clipped(row, face, width_px) for row in kept]


def _clipped(row: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> str:
    if face.getlength(row) <= width_px:
        return row
    row = row.removesuffix("...")
    while row and face.getlength(row + "...") > width_px:
        row = row[:-1]
    return row + "..."


def writable(path: str | Path, suffixes: tuple[str, ...]) -> Path:
    """Checks, before any drawing, that a picture can go there.

    Raises:
        FileError: another suffix than one of `suffixes`, or the folder does not exist.
    """
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        raise FileError(target, "not a picture format", remedy=f"Use a name that ends in {' or '.join(suffixes)}.")
    if not target.parent.is_dir():
        raise FileError(target, "the folder is missing", remedy="Choose a folder that exists and is writable.")
    return target


@contextmanager
def saving(target: Path) -> Iterator[None]:
    """Turns what goes wrong while writing `target` into one sentence."""
    try:
        yield
    except OSError as error:
        problem = f"cannot write the picture ({error.strerror or error})"
        raise FileError(target, problem, remedy="Choose a folder that exists and is writable.") from error
