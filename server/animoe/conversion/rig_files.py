"""Rigs from files: the skeleton of a character or motion file, read as a rig."""

from __future__ import annotations

from pathlib import Path

from animoe.errors import IncompatibleSkeleton, NoAnimation
from animoe.formats import read_clips, read_skeleton
from animoe.motion.clip import Clip
from animoe.retarget.mapping import RigMapping, load_mapping
from animoe.retarget.reading import RigReading, inspect_skeleton
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.rig.skeleton import Skeleton


def rig_from_file(path: str | Path, mapping: str | Path | RigMapping | None = None) -> Rig:
    """The rig of a file, ready to be driven.

    Args:
        path: any file that `formats` reads; a GLB or FBX needs no animation.
        mapping: the user's mapping file or what was read from it; wins over all guesses.

    Raises:
        FileError: the file or the mapping file cannot be read.
        IncompatibleSkeleton: no body is found, or the rest pose does not stand; the text begins with the file.
    """
    skeleton, clips = read_rig_file(path)
    try:
        return rig_from_skeleton(skeleton, mapping=_loaded(mapping), motion=clips, name=Path(path).stem)
    except IncompatibleSkeleton as error:
        raise IncompatibleSkeleton(f"{path}: {error}") from error


def inspect_file(path: str | Path, mapping: str | Path | RigMapping | None = None) -> RigReading:
    """Which joint of a file's skeleton plays which role. Arguments and errors as `rig_from_file`."""
    skeleton, clips = read_rig_file(path)
    try:
        return inspect_skeleton(skeleton, mapping=_loaded(mapping), motion=clips)
    except IncompatibleSkeleton as error:
        raise IncompatibleSkeleton(f"{path}: {error}") from error


def read_rig_file(path: str | Path) -> tuple[Skeleton, list[Clip]]:
    """Skeleton and clips of a file; the clips are empty for a character without animation.

    Raises:
        FileError: the file cannot be read or holds no skeleton.
    """
    try:
        clips = read_clips(path)
    except NoAnimation:
        return read_skeleton(path), []
    return clips[0].skeleton, clips


def _loaded(mapping: str | Path | RigMapping | None) -> RigMapping | None:
    return load_mapping(mapping) if isinstance(mapping, str | Path) else mapping
