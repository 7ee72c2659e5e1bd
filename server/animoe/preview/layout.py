"""What sheets and animations share: colours, fonts, text that fits, saving."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import Image, ImageFont

from animoe.errors import FileError

PAPER = (18, 21, 30)
INK = (236, 238, 244)
FAINT = (150, 160, 182)
RULE = (96, 196, 208)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font, so that pictures are the same on every machine."""
    return ImageFont.load_default(size)


def fitted(
    text: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int, *, lines: int
) -> list[str]:
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


def save(picture: Image.Image, path: str | Path) -> None:
    """Writes a picture; the suffix picks the format.

    Raises:
        FileError: unknown suffix, or the place cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise FileError(target, "not a picture format", remedy="Use a name that ends in .png or .jpg.")
    try:
        picture.save(target)
    except OSError as error:
        problem = f"cannot write the picture ({error.strerror or error})"
        raise FileError(target, problem, remedy="Choose a folder that exists and is writable.") from error
