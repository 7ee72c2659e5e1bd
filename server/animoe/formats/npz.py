"""NPZ reading: AniMoE's own plain arrays for any rig, or motion of the SMPL family; their names tell which."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from animoe.errors import InvalidRequest
from animoe.formats.npz_archive import NpzArchive
from animoe.formats.smplx import FRAME_RATES_HZ, MAX_FRAMES, read_smpl
from animoe.motion.clip import Clip
from animoe.rig.rotations import Array, normalize
from animoe.rig.skeleton import Skeleton

MAX_JOINTS = 4096
_LIMIT = 1e9
_OWN = "joint_names"


def read_npz(path: Path, body_models: str | Path | None = None) -> Clip:
    """Reads the one clip of an .npz.

    Args:
        path: AMASS, SMPL-X, SMPL or written by `npz_writer.write_npz`.
        body_models: see `smplx.read_smpl`.

    Returns:
        Metres, Y up. The SMPL family comes at 30 fps, our own arrays at their own rate.

    Raises:
        FileError: not an .npz, damaged, too large, object arrays, wrong shapes, NaN.
    """
    archive = NpzArchive(Path(path))
    return _read_plain(archive) if _OWN in archive and "local_rotations" in archive else read_smpl(archive, body_models)


def _read_plain(archive: NpzArchive) -> Clip:
    names = archive.array(_OWN)
    if names.ndim != 1 or names.dtype.kind != "U" or not 0 < len(names) <= MAX_JOINTS:
        raise archive.error(
            f"expected 1 to {MAX_JOINTS} texts, found {names.shape} of {names.dtype}", f"array {_OWN!r}"
        )
    joints = len(names)
    rotations, translations = _numbers(archive, "local_rotations", 4), _numbers(archive, "local_translations", 3)
    rate = _numbers(archive, "fps").ravel()
    if len(rate) != 1 or not FRAME_RATES_HZ[0] <= rate[0] <= FRAME_RATES_HZ[1]:
        raise archive.error("one number of frames per second is needed", "array 'fps'")
    if not 0 < len(rotations) <= MAX_FRAMES:
        raise archive.error(f"{len(rotations)} frames, 1 to {MAX_FRAMES} are read", "array 'local_rotations'")
    rest = _numbers(archive, "rest_translations", 3), normalize(_numbers(archive, "rest_rotations", 4))
    parents = _numbers(archive, "parents")
    if parents.shape != (joints,) or (parents != np.round(parents)).any() or (np.abs(parents) > joints).any():
        raise archive.error(f"expected {joints} joint indices", "array 'parents'")
    name = archive.text("name") if "name" in archive else archive.path.stem
    try:
        skeleton = Skeleton.build([str(n) for n in names], parents.astype(np.int64), *rest)
        return Clip(skeleton, float(rate[0]), normalize(rotations), translations, name)
    except InvalidRequest as error:
        raise archive.error(f"its arrays do not fit together ({error})") from error


def _numbers(archive: NpzArchive, name: str, width: int | None = None) -> Array:
    """The array `name`; with a width, one of that many numbers in each last row."""
    if name not in archive:
        raise archive.error(f"it lacks the array {name!r}")
    values = archive.numbers(name)
    if width is not None and (values.ndim < 2 or values.shape[-1] != width):
        raise archive.error(f"its shape is {values.shape}, the last number must be {width}", f"array {name!r}")
    if np.abs(values).max(initial=0.0) > _LIMIT:
        raise archive.error("absurdly large numbers", f"array {name!r}")
    return values
