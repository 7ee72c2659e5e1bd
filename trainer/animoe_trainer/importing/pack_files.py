"""The files of a pack, from a folder or a zip. Both are hostile: nothing is written outside the scratch folder."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from animoe.bundle.files import refused_writes
from animoe.errors import FileError, InvalidRequest, NotFound
from animoe.formats import READABLE

MAX_FILES = 20_000
MAX_BYTES = 8 * 2**30
MAX_RATIO = 200
"""Times that a file may grow when it is unpacked, above a size that cannot hurt."""
_HARMLESS = 16 * 2**20
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".bz2", ".xz")
_CHUNK = 2**20


def open_pack(path: Path, scratch: Path) -> Path:
    """Folder of a pack: `path` itself, or what a zip holds, unpacked into `scratch`.

    Raises:
        NotFound: nothing there. FileError: neither folder nor zip, or a zip that is not safe to unpack.
    """
    if path.is_dir():
        _check_count(path)
        return path
    if not path.is_file():
        raise NotFound(f"there is no pack at {path}; name a folder or a .zip of motion files")
    if path.suffix.lower() != ".zip":
        raise FileError(path, "it is not a pack", remedy="Name a folder or a .zip of motion files.")
    name = path.stem.strip(". ") or "pack"  # "...zip" must not lead out
    target = scratch / name
    if not target.is_dir():
        part = scratch / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        with refused_writes(scratch):
            _unpack(path, part)
            part.rename(target)
    return _only_folder(target)


def open_packs(paths: Sequence[Path], scratch: Path) -> list[Path]:
    """Folders of the packs that make one scenario.

    Raises:
        NotFound, FileError: as `open_pack`. InvalidRequest: two have one name; clips are known by pack and line.
    """
    found = []
    for index, path in enumerate(paths):
        place = scratch / str(index) if index else scratch
        place.mkdir(parents=True, exist_ok=True)
        found.append(open_pack(path, place))
    names = [folder.resolve().name for folder in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidRequest(f"two of the packs are called {twice!r}; rename one folder")
    return found


def pack_digest(*folders: Path) -> str:
    """Changes when a table or a motion file of the packs does: names and contents."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and is_part(p)):
            digest.update(file.relative_to(folder).as_posix().encode(errors="surrogateescape"))
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def is_part(path: Path) -> bool:
    """Whether a file is one that a pack may be made of."""
    return path.suffix.lower() in READABLE or path.name == "pack.csv"


def motion_files(folder: Path) -> list[Path]:
    """Motion files of a pack, sorted; hidden ones and links that lead outside are left out."""
    root = folder.resolve()
    found = (p for p in folder.rglob("*") if p.suffix.lower() in READABLE and p.is_file())
    inside = (p for p in found if p.resolve().is_relative_to(root))
    return sorted(p for p in inside if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _check_count(folder: Path) -> None:
    for number, _ in enumerate(folder.rglob("*"), start=1):
        if number > MAX_FILES:
            raise InvalidRequest(f"{folder} holds more than {MAX_FILES} files; import it in smaller packs")


def _unpack(path: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            _check_members(path, members)
            total = 0
            for info in members:
                total += _unpack_one(path, archive, info, target, MAX_BYTES - total)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, RuntimeError) as error:
        raise FileError(path, f"it cannot be unpacked ({error})", remedy="Pack it again.") from error
    target.mkdir(parents=True, exist_ok=True)


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Everything that the table of contents gives away, before a byte is written."""
    if len(members) > MAX_FILES:
        remedy = f"At most {MAX_FILES} are taken; import it in smaller packs."
        raise FileError(path, f"it holds {len(members)} files", remedy=remedy)
    seen: set[str] = set()
    for info in members:
        place = f"entry {info.filename[:80]!r}"
        inside = PurePosixPath(info.filename.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts or ":" in info.filename or "\0" in info.filename:
            raise FileError(path, "it leads outside the pack", place=place, remedy="Nothing was unpacked.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise FileError(path, "it is a link", place=place, remedy="Pack the file itself.")
        if info.flag_bits & 1:
            raise FileError(path, "it is encrypted", place=place, remedy="Pack it without a password.")
        if inside.suffix.lower() in _ARCHIVES:
            raise FileError(path, "it is an archive in an archive", place=place, remedy="Unpack that one first.")
        if info.file_size > max(_HARMLESS, MAX_RATIO * info.compress_size):
            raise FileError(path, f"it would grow to {info.file_size >> 20} MiB: a zip bomb", place=place)
        if inside.as_posix().lower() in seen:
            raise FileError(path, "two entries have this name", place=place, remedy="Rename one.")
        seen.add(inside.as_posix().lower())
    total = sum(info.file_size for info in members)
    if total > MAX_BYTES:
        raise FileError(path, f"it would unpack to {total >> 20} MiB; at most {MAX_BYTES >> 20} MiB are taken")


def _unpack_one(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, room: int) -> int:
    """Writes one entry and returns its size; the declared size is not believed."""
    inside = PurePosixPath(info.filename.replace("\\", "/"))
    if not is_part(Path(inside.name)) and inside.suffix.lower() not in (".bin", ".txt", ".md", ".csv"):
        return 0
    file = target.joinpath(*inside.parts)
    file.parent.mkdir(parents=True, exist_ok=True)
    limit, written = min(room, max(_HARMLESS, MAX_RATIO * info.compress_size)), 0
    with archive.open(info) as source, file.open("wb") as out:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > limit:
                raise FileError(path, "it grows without end: a zip bomb", place=f"entry {info.filename[:80]!r}")
            out.write(chunk)
    return written


def _only_folder(folder: Path) -> Path:
    """Many zips hold one folder that is the pack."""
    inside = [p for p in folder.iterdir() if p.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and not (folder / "pack.csv").is_file() else folder
