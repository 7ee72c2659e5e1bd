"""Motion files in and out. The only package that knows degrees, centimetres and the axes of a file.

Inside, everything follows `animoe.rig`: right-handed, Y up, metres, seconds, radians, quaternions xyzw.
A file may differ:

| format | unit | axes | rotations | time |
|---|---|---|---|---|
| glTF (.glb, .gltf) | metres | right-handed, Y up (ours) | quaternions xyzw | keys at any time, seconds |
| BVH (.bvh) | not said, mostly cm | not said, mostly Y up | degrees, order per joint | fixed rate |

glTF is read straight into our convention at 30 fps. BVH is read as its plain numbers, and `formats.normalise`
finds the unit and the up axis from the skeleton. What we write: glTF in metres; BVH in centimetres, Y up,
identity rest rotations. Files are hostile input: whatever is in them, only `FileError` comes out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from animoe.errors import FileError

if TYPE_CHECKING:
    from animoe.motion.clip import Clip

READABLE: tuple[str, ...] = (".bvh", ".glb", ".gltf")
WRITABLE: tuple[str, ...] = (".bvh", ".glb")

__all__ = ["READABLE", "WRITABLE", "read_clips", "write_clip"]

# The readers are imported when a file needs them: `animoe --help` should not wait for numpy.


def read_clips(path: str | Path) -> list[Clip]:
    """Reads every animation of a motion file: one clip from a BVH, one per animation from a glTF.

    Clips come in metres: a BVH's unit is found from its skeleton (`formats.normalise`), its axes stay as they are and
    are set upright by `retarget.canonicalise`; glTF clips come at 30 fps.

    Raises:
        FileError: missing, unsupported or damaged file.
    """
    path = Path(path)
    suffix = _checked_suffix(path, READABLE, "read")
    if not path.is_file():
        raise FileError(path, "no such file", remedy="Check the path; it must be a file, not a folder.")
    try:
        if suffix == ".bvh":
            from animoe.formats.bvh import read_bvh
            from animoe.formats.normalise import to_metres

            return [to_metres(read_bvh(path))]
        from animoe.formats.gltf import read_gltf

        return read_gltf(path)
    except OSError as error:
        raise FileError(path, f"cannot be opened ({error.strerror or error})") from error


def write_clip(path: str | Path, clip: Clip) -> None:
    """Writes one clip as .glb or .bvh, chosen by the extension; an existing file is replaced in one step.

    Raises:
        FileError: unsupported extension, or the file cannot be written.
        InvalidRequest: the clip has no frames or holds NaN.
    """
    path = Path(path)
    if _checked_suffix(path, WRITABLE, "written") == ".bvh":
        from animoe.formats.bvh_writer import write_bvh

        write_bvh(path, clip)
    else:
        from animoe.formats.gltf_writer import write_glb

        write_glb(path, [clip])


def _checked_suffix(path: Path, supported: tuple[str, ...], verb: str) -> str:
    suffix = path.suffix.lower()
    if suffix not in supported:
        problem = f"{suffix or 'a file without extension'} cannot be {verb}"
        raise FileError(path, problem, remedy=f"Supported: {', '.join(supported)}.")
    return suffix
