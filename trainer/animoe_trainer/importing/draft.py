"""A first `pack.csv` from the names of files, clips and folders, for the user to edit."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from animoe.bundle.files import refused_writes, write_durable
from animoe.errors import AniMoEError, InvalidRequest, NotFound
from animoe.formats import READABLE, read_clips
from animoe_trainer.importing.pack_files import motion_files
from animoe_trainer.importing.words import guess
from animoe_trainer.packs import COLUMNS, TABLE, RefusedRow

DRAFT = "pack.draft.csv"


@dataclass(frozen=True)
class Draft:
    """rows: as in pack.csv, by column. refused: files that cannot be read."""

    rows: tuple[dict[str, str], ...]
    refused: tuple[RefusedRow, ...]


def draft_pack(folder: Path) -> Draft:
    """Guesses a row for every clip of a folder.

    Raises:
        InvalidRequest: no motion file in it, or none that can be read.
    """
    files = motion_files(folder)
    if not files:
        raise InvalidRequest(f"{folder} is empty: there is no motion file ({', '.join(READABLE)}) in it")
    rows: list[dict[str, str]] = []
    refused: list[RefusedRow] = []
    for file in files:
        try:
            names = [clip.name for clip in read_clips(file)]
        except (AniMoEError, OSError) as error:
            refused.append(RefusedRow(folder.resolve().name, 0, file.name, str(error)))
            continue
        several = len(names) > 1
        rows += [_row(folder, file, name if several else "") for name in names]
    if not rows:
        raise InvalidRequest(f"no motion file of {folder} can be read; the first: {refused[0].reason}")
    return Draft(tuple(rows), tuple(refused))


def _row(folder: Path, file: Path, clip: str) -> dict[str, str]:
    inside = file.relative_to(folder)
    found = guess([*inside.parent.parts, file.stem, *([clip] if clip else [])])
    row = dict.fromkeys(COLUMNS, "")
    row |= {"file": inside.as_posix(), "clip": clip, "text": found.text}
    return row | {"emotion": found.emotion, "content": found.content, "style": _style(found.emotion)}


def _style(emotion: str) -> str:
    return "normal" if emotion == "neutral" else emotion


def write_rows(path: Path, rows: tuple[dict[str, str], ...]) -> Path:
    """Writes a table of pack rows."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS)
    table.writeheader()
    table.writerows(rows)
    with refused_writes(path.parent):
        write_durable(path, text.getvalue().encode())
    return path


def packs_table(packs: Sequence[Path], *, draft: bool) -> str:
    """Name of the table that lists the rows of every pack.

    Raises:
        NotFound, InvalidRequest: as `pack_table`; or only some of several packs have a `pack.csv`.
    """
    tables = [pack_table(pack, draft=draft) for pack in packs]
    bare = [pack for pack, table in zip(packs, tables, strict=True) if table != tables[0]]
    if bare:
        raise InvalidRequest(f"of several packs either all need a {TABLE} or none; {bare[0]} differs from {packs[0]}")
    return tables[0]


def pack_table(pack: Path, *, draft: bool) -> str:
    """Name of the table that lists a pack's rows: its own, or the draft's where that is allowed.

    Raises:
        NotFound: it has none and `draft` is False. InvalidRequest: it has nothing to draft from.
    """
    if (pack / TABLE).is_file():
        return TABLE
    if not (pack / DRAFT).is_file():
        found = draft_pack(pack)  # an empty pack or one of broken files is told first
        if draft:
            write_rows(pack / DRAFT, found.rows)
    if not draft:
        raise NotFound(
            f"{pack} has no {TABLE}; `animoe pack check` drafts one for you to edit, or import with --draft to take "
            "the draft as it is"
        )
    return DRAFT
