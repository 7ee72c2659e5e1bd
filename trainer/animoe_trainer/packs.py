"""Reading an animation pack: `pack.csv` and its motion files, row by row; a bad row never spoils the rest."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from animoe.errors import AniMoEError, FileError, NotFound
from animoe.formats import read_clips
from animoe.motion.clip import Clip
from animoe.motion.emotion import EMOTIONS
from animoe.retarget.canonicalise import canonicalise

COLUMNS = ("file", "clip", "start", "end", "text", "emotion", "style", "content", "split")
SPLITS = ("train", "val", "test")
MIN_FRAMES = 4


@dataclass(frozen=True)
class PackRow:
    """One line of `pack.csv`.

    `start_s`, `end_s`: seconds from the file's first frame, None = whole file. `texts`: one or more descriptions.
    """

    pack: str
    line: int
    file: Path
    clip: str
    start_s: float | None
    end_s: float | None
    texts: tuple[str, ...]
    emotion: str
    style: str
    content: str
    split: str


@dataclass(frozen=True)
class RowResult:
    """A row with its canonical clip, or with the reason why it cannot be used."""

    row: PackRow
    clip: Clip | None
    reason: str = ""


def read_pack_rows(pack: Path) -> list[PackRow]:
    """Reads `pack.csv`.

    Raises:
        NotFound: no such folder or no pack.csv in it.
        FileError: a column is missing or a line is malformed.
    """
    table = Path(pack) / "pack.csv"
    if not table.is_file():
        raise NotFound(f"{pack} is not an animation pack: there is no pack.csv in it")
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
        if missing:
            raise FileError(table, f"missing column(s) {', '.join(missing)}", place="line 1")
        return [_row(Path(pack), table, reader.line_num, values) for values in reader]


def _row(pack: Path, table: Path, line: int, values: dict[str, str]) -> PackRow:
    place = f"line {line}"
    file = (pack / values["file"]).resolve()
    if not file.is_relative_to(pack.resolve()):
        raise FileError(table, f"file {values['file']!r} lies outside the pack", place=place)
    emotion, split = values["emotion"] or "neutral", values["split"] or "train"
    if emotion not in EMOTIONS:
        raise FileError(table, f"unknown emotion {emotion!r}", place=place, remedy=f"Use {', '.join(EMOTIONS)}.")
    if split not in SPLITS:
        raise FileError(table, f"unknown split {split!r}", place=place, remedy="Use train, val or test.")
    texts = tuple(t.strip() for t in values["text"].split("|") if t.strip())
    if not texts:
        raise FileError(table, "no text", place=place, remedy="Describe the motion in a few words.")
    try:
        start, end = (float(values[c]) if values[c] else None for c in ("start", "end"))
    except ValueError as error:
        raise FileError(table, "start and end must be seconds or empty", place=place) from error
    fields = (values["style"], values["content"])
    return PackRow(pack.resolve().name, line, file, values["clip"], start, end, texts, emotion, *fields, split)


def canonical_rows(pack: Path) -> Iterator[RowResult]:
    """Every row of a pack on the canonical skeleton, file by file; unusable rows come with the reason."""
    rows = read_pack_rows(pack)
    for file in dict.fromkeys(row.file for row in rows):
        mine = [row for row in rows if row.file == file]
        try:
            clips = {clip.name: clip for clip in read_clips(file)}
        except (AniMoEError, OSError) as error:
            yield from (RowResult(row, None, str(error)) for row in mine)
            continue
        done: dict[str, Clip | str] = {}
        for row in mine:
            name = row.clip or next(iter(clips), "")
            if name not in done:
                done[name] = _canonical(clips, name, file)
            found = done[name]
            yield _cut(row, found) if isinstance(found, Clip) else RowResult(row, None, found)


def _canonical(clips: dict[str, Clip], name: str, file: Path) -> Clip | str:
    if name not in clips:
        return f"{file}: no clip {name!r}; it holds {', '.join(list(clips)[:5])}"
    try:
        return canonicalise(clips[name])
    except AniMoEError as error:
        return f"{file}: {error}"


def _cut(row: PackRow, clip: Clip) -> RowResult:
    part = clip.trimmed(row.start_s, row.end_s)
    if part.frame_count < MIN_FRAMES:
        return RowResult(row, None, f"{row.file}: only {part.frame_count} frames; at least {MIN_FRAMES} are needed")
    return RowResult(row, part)
