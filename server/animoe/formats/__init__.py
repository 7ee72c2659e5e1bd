"""Motion files in and out. The only package that knows degrees, centimetres and the axes of a file.

Inside, everything follows `animoe.rig`: right-handed, Y up, metres, seconds, radians, quaternions xyzw.
A file may differ:

| format | unit | axes | rotations | time |
|---|---|---|---|---|
| glTF (.glb, .gltf) | metres | right-handed, Y up (ours) | quaternions xyzw | keys at any time, seconds |
| FBX (.fbx) | as declared, checked | as declared | degrees, any order, pre/post | curves, seconds |
| BVH (.bvh) | not said, mostly cm | not said, mostly Y up | degrees, order per joint | fixed rate |
| AMASS, SMPL-X (.npz) | metres | right-handed, Z up (some Y up) | axis-angle, radians | fixed rate |
| AniMoE (.npz) | metres | right-handed, Y up (ours) | quaternions xyzw | fixed rate |

glTF and FBX are read straight into our convention at 30 fps, FBX in a process of its own, where it may crash. BVH is
read as its plain numbers, and `formats.normalise` finds the unit and the up axis from the skeleton. What we write: glTF
in metres; BVH in centimetres, Y up, identity rest rotations; FBX in centimetres, Y up, by a Blender of the user's
(`formats.blender`). Files are hostile input: whatever is in them, only `FileError` comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from animoe.errors import FileError, InvalidRequest

if TYPE_CHECKING:
    from animoe.motion.clip import Clip
    from animoe.rig.rotations import Array
    from animoe.rig.skeleton import Skeleton

READABLE: tuple[str, ...] = (".bvh", ".glb", ".gltf", ".fbx", ".npz")
WRITABLE: tuple[str, ...] = (".bvh", ".glb", ".fbx", ".npz")

__all__ = ["READABLE", "WRITABLE", "read_clips", "read_skeleton", "write_clip", "write_clips"]

# The readers are imported when a file needs them: `animoe --help` should not wait for numpy.


def read_clips(path: str | Path, *, body_models: str | Path | None = None) -> list[Clip]:
    """Reads every animation of a motion file: one clip from a BVH or NPZ, one per animation from a glTF or FBX.

    Clips come in metres: a BVH's unit is found from its skeleton (`formats.normalise`), its axes stay as they are and
    are set upright by `retarget.canonicalise`; glTF and FBX clips come at 30 fps.

    Args:
        path: the file; READABLE lists the extensions.
        body_models: folder of the user's licensed SMPL, SMPL-H or SMPL-X files, from which AMASS and SMPL-X clips get
            the person's own skeleton and fingers; default: that of the environment variable ANIMOE_SMPL_MODELS.

    Raises:
        NoAnimation: a whole file in which nothing moves; it may hold a skeleton (`read_skeleton`).
        FileError: missing, unsupported or damaged file.
    """
    path = Path(path)
    try:
        suffix = _checked_contents(path)
        if suffix == ".bvh":
            from animoe.formats.bvh import read_bvh
            from animoe.formats.normalise import to_metres

            return [to_metres(read_bvh(path))]
        if suffix == ".npz":
            from animoe.formats.npz import read_npz

            return [read_npz(path, body_models)]
        if suffix == ".fbx":
            from animoe.formats.fbx import read_fbx

            return read_fbx(path)
        from animoe.formats.gltf import read_gltf

        return read_gltf(path)
    except OSError as error:
        raise _unopened(path, error) from error


def read_skeleton(path: str | Path) -> Skeleton:
    """The skeleton of a character or motion file; a glTF or FBX needs no animation.

    Raises:
        FileError: missing, unsupported or damaged file, or one without a skeleton.
    """
    path = Path(path)
    try:
        suffix = _checked_contents(path)
        if suffix == ".fbx":
            from animoe.formats.fbx import read_fbx_skeleton

            return read_fbx_skeleton(path)
        if suffix in (".glb", ".gltf"):
            from animoe.formats.gltf import read_gltf_skeleton

            return read_gltf_skeleton(path)
        return read_clips(path)[0].skeleton
    except OSError as error:
        raise _unopened(path, error) from error


def write_clip(
    path: str | Path,
    clip: Clip,
    *,
    rotation_order: str = "ZXY",
    rest_rotations: Array | None = None,
    template: str | Path | None = None,
) -> None:
    """Writes one clip, in the format of the extension; an existing file is replaced in one step.

    Args:
        path: the file to write; WRITABLE lists the extensions.
        clip: any skeleton.
        rotation_order: order of a BVH's rotation channels, one of the six of `bvh_writer.ORDERS`; other formats
            have quaternions or axis-angle and pass it over.
        rest_rotations: (J, 4) local rotations of the pose in which a BVH's channels are zero, such as the rig's
            T-pose; default: the rest pose of the clip's skeleton. Other formats hold rest rotations themselves.
        template: the user's own skinned .glb or .gltf; a .glb keeps all that is in it and gains the animation.

    Raises:
        FileError: unsupported extension, a template that cannot be read, or the file cannot be written.
        InvalidRequest: an option that does not fit, a clip without frames or with NaN.
        IncompatibleSkeleton: the template lacks joints of the clip or has another rest pose.
    """
    write_clips(path, [clip], rotation_order=rotation_order, rest_rotations=rest_rotations, template=template)


def write_clips(
    path: str | Path,
    clips: Sequence[Clip],
    *,
    rotation_order: str = "ZXY",
    rest_rotations: Array | None = None,
    template: str | Path | None = None,
) -> None:
    """Writes clips of one skeleton; a .glb holds any number of them, the other formats one. See `write_clip`."""
    path = Path(path)
    suffix = _checked_suffix(path, WRITABLE, "written")
    if template is not None and suffix != ".glb":
        raise InvalidRequest(f"a template can only be filled into a .glb, not into {path.name}")
    if suffix != ".glb" and len(clips) != 1:
        raise InvalidRequest(f"a {suffix} file holds one clip, got {len(clips)}; write one file per clip, or a .glb")
    if suffix == ".bvh":
        from animoe.formats.bvh_writer import write_bvh

        write_bvh(path, clips[0], rotation_order=rotation_order, rest_rotations=rest_rotations)
    elif suffix == ".fbx":
        from animoe.formats.fbx_writer import write_fbx

        write_fbx(path, clips[0])
    elif suffix == ".npz":
        from animoe.formats.npz_writer import write_npz

        write_npz(path, clips[0])
    elif template is not None:
        from animoe.formats.gltf_insert import write_into_glb

        write_into_glb(template, path, clips)
    else:
        from animoe.formats.gltf_writer import write_glb

        write_glb(path, clips)


def _checked_contents(path: Path) -> str:
    """The extension, in lower case, of a file that is there and is not plainly of another format."""
    from animoe.formats.contents import refuse_other_contents

    suffix = _checked_suffix(path, READABLE, "read")
    if not path.is_file():
        raise FileError(path, "no such file", remedy="Check the path; it must be a file, not a folder.")
    refuse_other_contents(path, suffix)
    return suffix


def _unopened(path: Path, error: OSError) -> FileError:
    return FileError(path, f"cannot be opened ({error.strerror or error})", remedy="Check that you may read it.")


def _checked_suffix(path: Path, supported: tuple[str, ...], verb: str) -> str:
    suffix = path.suffix.lower()
    if suffix not in supported:
        problem = f"{suffix or 'a file without extension'} cannot be {verb}"
        raise FileError(path, problem, remedy=f"Supported: {', '.join(supported)}.")
    return suffix
