"""Which file becomes which: mirrored folders, one name for one clip, and no name that leads elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from animoe.errors import FileError, InvalidRequest
from animoe.formats import READABLE, WRITABLE

_LONGEST = 100
_ALLOWED = frozenset(" .()+,=-_'&#!")
_RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)))
)
"""Names that Windows keeps for devices, whatever the extension."""


@dataclass(frozen=True)
class Job:
    """One file to convert.

    Attributes:
        source: the file.
        folder: where its clips go.
        stem: what they are called; a file of several clips writes `stem@clip`, as Unity names animations.
        suffix: the format.
        label: the source as shown and as reports name it, relative to the folder that was given.
        whole: the user named one file: all clips go into it.
    """

    source: Path
    folder: Path
    stem: str
    suffix: str
    label: str
    whole: bool = False

    def output(self, clip: str | None = None) -> Path:
        """The file for a clip of a safe name; None stands for all there is in the source."""
        return self.folder / f"{self.stem if clip is None else f'{self.stem}@{clip}'}{self.suffix}"


def plan_jobs(source: Path, out: Path, to: str | None = None) -> list[Job]:
    """Jobs for a file or for every motion file below a folder.

    Args:
        source: what to convert.
        out: a file (its extension is the format) or a folder.
        to: the format of files in a folder, "glb" when None.

    Raises:
        InvalidRequest: nothing to convert, or an `out` that does not fit.
    """
    if source.is_dir():
        return _folder_jobs(source, out, to)
    if not source.exists():
        raise InvalidRequest(f"{source}: no such file or folder; check the path")
    if out.is_dir() or not out.suffix:
        return [Job(source, out, source.stem, f".{to or 'glb'}", source.name)]
    suffix = out.suffix.lower()
    if suffix not in WRITABLE:
        raise InvalidRequest(f"{out} must be a folder or end in {', '.join(WRITABLE)}")
    if to is not None and suffix != f".{to}":
        raise InvalidRequest(f"--to {to} contradicts {out.name}; leave --to out, or name a folder")
    if not out.absolute().parent.is_dir():
        raise InvalidRequest(f"there is no folder {out.absolute().parent}; make it first")
    return [Job(source, out.parent, out.stem, out.suffix, source.name, whole=True)]


def safe_names(names: Sequence[str]) -> list[str]:
    """One file name part per clip: printable, short, in its folder, and all different also where case means nothing."""
    found: list[str] = []
    taken: set[str] = set()
    for index, name in enumerate(names):
        base = _safe(name) or f"clip_{index}"
        unique, copy = base, 2
        while unique.casefold() in taken:
            unique, copy = f"{base}_{copy}", copy + 1
        taken.add(unique.casefold())
        found.append(unique)
    return found


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it. Raises FileError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(folder, f"cannot be used as a folder ({error.strerror})") from error


def _safe(name: str) -> str:
    kept = "".join(c if (c.isalnum() and c.isprintable()) or c in _ALLOWED else "_" for c in name)
    # 100 characters may be 400 bytes; file systems take 255 for the whole name.
    short = kept.strip(" .")[:_LONGEST].encode()[:_LONGEST].decode("utf-8", "ignore").strip(" .")
    return f"_{short}" if short.split(".")[0].lower() in _RESERVED else short


def _folder_jobs(source: Path, out: Path, to: str | None) -> list[Job]:
    if out.suffix.lower() in WRITABLE or out.is_file():
        raise InvalidRequest(f"{source} is a folder, so {out} must be one too")
    if out.resolve() == source.resolve():
        raise InvalidRequest(f"{out} is the folder that is read; name another one for what is written")
    files = _motion_files(source, out.resolve())
    if not files:
        raise InvalidRequest(f"{source} holds no motion file ({', '.join(READABLE)})")
    jobs: list[Job] = []
    for folder, inside in _by_folder(files).items():
        stems = _stems(inside)
        below = folder.relative_to(source)
        jobs += [
            Job(file, out / below, stem, f".{to or 'glb'}", (below / file.name).as_posix())
            for file, stem in zip(inside, stems, strict=True)
        ]
    return jobs


def _motion_files(source: Path, out: Path) -> list[Path]:
    """Every readable file below `source`, sorted; an output folder in it is passed over, links to folders are too."""
    found: list[Path] = []
    for folder, below, names in os.walk(source):
        here = Path(folder)
        below[:] = sorted(name for name in below if (here / name).resolve() != out)
        found += [here / name for name in sorted(names) if Path(name).suffix.lower() in READABLE]
    return found


def _by_folder(files: Iterable[Path]) -> dict[Path, list[Path]]:
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    return folders


def _stems(files: Sequence[Path]) -> list[str]:
    """Different names for the files of one folder: walk.bvh and walk.glb become walk_bvh and walk_glb.

    No stem may look like a clip of another one (`stem@clip`), so that no output is written twice.
    """
    twice = Counter(file.stem.casefold() for file in files)
    plain = [f.stem if twice[f.stem.casefold()] == 1 else f"{f.stem}_{f.suffix[1:].lower()}" for f in files]
    known = {stem.casefold() for stem in plain}
    stems: list[str] = []
    taken: set[str] = set()
    for stem in plain:
        if any(stem[:at].casefold() in known for at, c in enumerate(stem) if c == "@"):
            stem = stem.replace("@", "_")
        unique, copy = stem, 2
        while unique.casefold() in taken or (unique != stem and unique.casefold() in known):
            unique, copy = f"{stem}_{copy}", copy + 1
        taken.add(unique.casefold())
        stems.append(unique)
    return stems
