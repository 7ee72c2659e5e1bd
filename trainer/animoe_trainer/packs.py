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
from animoe.rig.canonical import FRAME_RATE_HZ

COLUMNS = ("file", "clip", "start", "end", "text", "emotion", "style", "content", "split")
TABLE = "pack.csv"
SPLITS = ("train", "val", "test")
MIN_FRAMES = 4
MAX_SECONDS = 86400.0


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
class UsableRow:
    """A row with its canonical clip; `source` holds the same frames on the file's own skeleton."""

    row: PackRow
    clip: Clip
    source: Clip


@dataclass(frozen=True)
class RefusedRow:
    """A line of `pack.csv` that cannot be used, and why; `file` is the name of its motion file."""

    pack: str
    line: int
    file: str
    reason: str


def read_pack_rows(pack: Path, name: str = TABLE) -> list[PackRow | RefusedRow]:
    """Reads the table `name` of a pack; malformed lines are refused one by one.

    Raises:
        NotFound: no such folder or no pack.csv in it.
        FileError: a column is missing, or it is not a UTF-8 table.
    """
    table = Path(pack) / name
    if not table.is_file():
        raise NotFound(f"{pack} is not an animation pack: there is no {name} in it")
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="")
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise FileError(table, f"missing column(s) {', '.join(missing)}", place="line 1")
            return [_row(Path(pack), reader.line_num, values) for values in reader]
    except UnicodeDecodeError as error:
        raise FileError(table, "it is not UTF-8 text", remedy="Save it as CSV UTF-8.") from error
    except csv.Error as error:
        raise FileError(table, f"it is not a CSV table ({error})", place=f"line {reader.line_num}") from error


def _row(pack: Path, line: int, values: dict[str, str]) -> PackRow | RefusedRow:
    name = pack.resolve().name
    problem = _problem(pack, values)
    if problem:
        return RefusedRow(name, line, Path(values["file"]).name, problem)
    texts = tuple(t.strip() for t in values["text"].split("|") if t.strip())
    start, end = _seconds(values["start"]), _seconds(values["end"])
    fields = (values["style"], values["content"], values["split"] or "train")
    file = (pack / values["file"]).resolve()
    return PackRow(name, line, file, values["clip"], start, end, texts, values["emotion"] or "neutral", *fields)


def _problem(pack: Path, values: dict[str, str]) -> str:
    """What is wrong with a line, as a sentence; empty when it can be used."""
    if not values["file"] or "\0" in values["file"]:
        return "no file; name a motion file of the pack"
    if not (pack / values["file"]).resolve().is_relative_to(pack.resolve()):
        return f"file {values['file']!r} lies outside the pack; move it into the pack"
    if values["emotion"] and values["emotion"] not in EMOTIONS:
        return f"unknown emotion {values['emotion']!r}; use one of {', '.join(EMOTIONS)}"
    if values["split"] and values["split"] not in SPLITS:
        return f"unknown split {values['split']!r}; use train, val or test"
    if not values["text"].replace("|", "").strip():
        return "no text; describe the motion in a few words"
    try:
        start, end = _seconds(values["start"]), _seconds(values["end"])
    except ValueError:
        return f"start {values['start']!r} and end {values['end']!r} must be seconds from 0 on, or empty"
    if end is not None and end <= (start or 0.0):
        return f"it ends at {end:g} s, not after its start at {start or 0.0:g} s"
    return ""


def _seconds(text: str) -> float | None:
    """Seconds of a cell, None when it is empty.

    Raises:
        ValueError: not a number of seconds from 0 on.
    """
    if not text.strip():
        return None
    value = float(text)
    if not 0 <= value < MAX_SECONDS:
        raise ValueError(text)
    return value


def canonical_rows(pack: Path, table: str = TABLE) -> Iterator[UsableRow | RefusedRow]:
    """Every row of a pack on the canonical skeleton, file by file; unusable rows come with the reason."""
    rows = read_pack_rows(pack, table)
    yield from (row for row in rows if isinstance(row, RefusedRow))
    good = [row for row in rows if isinstance(row, PackRow)]
    for file in dict.fromkeys(row.file for row in good):
        mine = [row for row in good if row.file == file]
        try:
            clips = {clip.name: clip for clip in read_clips(file)}
        except (AniMoEError, OSError) as error:
            yield from (_refused(row, str(error)) for row in mine)
            continue
        done: dict[str, tuple[Clip, Clip] | str] = {}
        for row in mine:
            name = row.clip or next(iter(clips), "")
            if name not in done:
                done[name] = _canonical(clips, name, file)
            found = done[name]
            yield _refused(row, found) if isinstance(found, str) else _cut(row, *found)


def _refused(row: PackRow, reason: str) -> RefusedRow:
    return RefusedRow(row.pack, row.line, row.file.name, reason)


def _canonical(clips: dict[str, Clip], name: str, file: Path) -> tuple[Clip, Clip] | str:
    """The canonical clip and the file's own, frame by frame, or what is wrong."""
    if name not in clips:
        return f"{file}: no clip {name!r}; it holds {', '.join(list(clips)[:5])}"
    try:
        return canonicalise(clips[name]), clips[name].resampled(FRAME_RATE_HZ)
    except AniMoEError as error:
        return f"{file}: {error}"


def _cut(row: PackRow, clip: Clip, source: Clip) -> UsableRow | RefusedRow:
    if row.start_s is not None and row.start_s >= clip.duration_s:
        return _refused(row, f"{row.file}: it starts at {row.start_s:g} s, the file ends at {clip.duration_s:.2f} s")
    part = clip.trimmed(row.start_s, row.end_s)
    if part.frame_count < MIN_FRAMES:
        return _refused(row, f"{row.file}: only {part.frame_count} frames; at least {MIN_FRAMES} are needed")
    return UsableRow(row, part, source.trimmed(row.start_s, row.end_s))
