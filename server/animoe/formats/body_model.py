"""A person's skeleton out of a licensed SMPL, SMPL-H or SMPL-X model file, by way of the smplx package.

The files are the user's own (https://smpl-x.is.tue.mpg.de and its sisters) and are trusted as such: smplx unpickles
them. Neither smplx nor torch is imported before a model file is there to be read.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from animoe.errors import FileError, Unavailable
from animoe.formats.npz_archive import NpzArchive
from animoe.formats.smpl_joints import JOINTS_OF_MODEL
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

FOLDER_VARIABLE = "ANIMOE_SMPL_MODELS"
_GENDERS = ("neutral", "female", "male")
_MAX_BETA = 50.0
_MAX_BONE_M = 2.0
_FEET = ("left_foot", "right_foot")


@dataclass(frozen=True, eq=False)
class BodyModel:
    """One person.

    Attributes:
        skeleton: identity rest rotations, T-pose, standing on the floor; joints named as in `smpl_joints`.
        pelvis: (3,) metres from the model's origin to its pelvis joint, which `trans` of a file leaves out.
    """

    skeleton: Skeleton
    pelvis: Array


def find_body_model(archive: NpzArchive, model: str, folder: str | Path | None) -> BodyModel | None:
    """The body that a motion was recorded on; None when the user has no folder of body models.

    Args:
        archive: with `gender` and `betas`, both optional.
        model: "smpl", "smplh" or "smplx".
        folder: of the model files; None takes that of the environment variable ANIMOE_SMPL_MODELS.

    Raises:
        FileError: the folder lacks the model or its file cannot be read, or the betas are unusable.
        Unavailable: smplx or torch is not installed.
    """
    folder = folder or os.environ.get(FOLDER_VARIABLE) or None
    if folder is None:
        return None
    gender = archive.text("gender").lower() if "gender" in archive else "neutral"
    gender = gender if gender in _GENDERS else "neutral"
    return _body_of(_model_file(Path(folder), model, gender), model, gender, _betas(archive))


def _betas(archive: NpzArchive) -> tuple[float, ...]:
    """Shape coefficients; the mean of those that a file gives per frame."""
    if "betas" not in archive:
        return ()
    values = archive.numbers("betas")
    row = values.mean(axis=0) if values.ndim == 2 and len(values) else values
    if row.ndim != 1 or np.abs(row).max(initial=0.0) > _MAX_BETA:
        raise archive.error(f"its shape is {values.shape}, or it holds absurd numbers", "array 'betas'")
    return tuple(row.tolist())


def _model_file(folder: Path, model: str, gender: str) -> Path:
    """The model's file in any of the layouts that are handed out."""
    stem = f"{model.upper()}_{gender.upper()}"
    names = [f"{model}/{stem}", stem, f"{model}/{gender}/model", f"{gender}/model"]
    found = [folder / f"{name}{ending}" for name in names for ending in (".npz", ".pkl")]
    for path in found:
        if path.is_file():
            return path
    raise FileError(
        folder,
        f"no body model {model}/{stem}.npz or .pkl in it",
        remedy=f"Put the licensed file there, or unset {FOLDER_VARIABLE} to use the canonical skeleton.",
    )


@lru_cache(maxsize=64)
def _body_of(path: Path, model: str, gender: str, betas: tuple[float, ...]) -> BodyModel:
    try:
        import smplx
    except ImportError as error:
        raise Unavailable(
            f"reading body models needs the packages smplx and torch ({error}); install them with "
            f"'pip install animoe[train]', or unset {FOLDER_VARIABLE} to use the canonical skeleton"
        ) from error
    kinds: dict[str, Any] = {"smpl": smplx.SMPL, "smplh": smplx.SMPLH, "smplx": smplx.SMPLX}
    try:
        # smplx prints warnings, and numpy and scipy have some of their own on old pickles.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = kinds[model](
                str(path), gender=gender, ext=path.suffix[1:], use_pca=False, num_betas=len(betas) or 1
            )
        joints, parents = _rest_joints(loaded, betas), loaded.parents.numpy().astype(np.int64)
    except Exception as error:  # of pickle, numpy, torch, assertions of smplx: all say that the file does not fit
        problem = f"smplx cannot read it as {model} ({type(error).__name__}: {str(error)[:100]})"
        raise FileError(path, problem, remedy="Download the model again, for this version of smplx.") from error
    return _checked_body(path, joints, parents, JOINTS_OF_MODEL[model])


def _rest_joints(loaded: Any, betas: tuple[float, ...]) -> Array:
    """(J, 3) metres in the model's own axes: joint regressor times shaped vertices (SMPL, eq. 8 and 10)."""
    directions = loaded.shapedirs.numpy().astype(np.float64)
    weights = np.zeros(directions.shape[-1])
    count = min(len(betas), len(weights))
    weights[:count] = betas[:count]
    vertices = loaded.v_template.numpy() + directions @ weights
    joints: Array = loaded.J_regressor.numpy().astype(np.float64) @ vertices
    return joints


def _checked_body(path: Path, joints: Array, parents: Array, names: tuple[str, ...]) -> BodyModel:
    count = len(names)
    joints, parents = joints[:count], parents[:count].copy()
    if len(joints) != count or (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, count)).any():
        raise FileError(path, f"it has {len(joints)} joints or a hierarchy that is not SMPL's")
    parents[0] = -1
    offsets = joints - np.where(parents[:, None] < 0, 0.0, joints[parents])
    if not (np.linalg.norm(offsets[1:], axis=-1) < _MAX_BONE_M).all():  # also false for NaN
        raise FileError(path, "its bones have absurd lengths with the betas of this recording")
    pelvis = joints[0].copy()
    offsets[0] = [0.0, pelvis[1] - joints[[names.index(foot) for foot in _FEET], 1].min(), 0.0]
    return BodyModel(Skeleton.build(names, parents, offsets), pelvis)
