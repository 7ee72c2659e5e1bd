"""NPZ writing: AMASS's arrays for clips on the SMPL family's joints, plain arrays of our own for any other rig.

AMASS (Z up): poses (T, 156) axis-angle in radians of 52 SMPL-H joints, trans (T, 3) metres, betas, gender,
mocap_framerate, dmpls. `trans` is where the pelvis joint is; a body model adds its own pelvis offset, a constant.

Ours (Y up, as in `animoe.rig`): joint_names, parents, rest_translations, rest_rotations, local_rotations (T, J, 4)
xyzw, local_translations (T, J, 3) metres, fps, name.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from animoe.formats.smpl_joints import JOINTS_OF_MODEL, Y_UP_TO_Z_UP
from animoe.formats.writing import check_writable, write_atomically
from animoe.motion.clip import Clip
from animoe.rig.canonical import CANONICAL_JOINTS, canonical_skeleton
from animoe.rig.rotations import IDENTITY, Array, multiply, normalize, rotate
from animoe.rig.skeleton import Skeleton

STILL_M = 1e-5
"""A joint that strays further than this (metres) from its rest translation is more than AMASS can say."""
_BETA_COUNT, _DMPL_COUNT = 16, 8  # as AMASS has them


def write_npz(path: Path, clip: Clip) -> None:
    """Writes one clip as NPZ; an existing file is replaced in one step.

    Args:
        path: the file to write.
        clip: on the canonical or an SMPL-X skeleton: AMASS's arrays; on any other: ours.

    Raises:
        InvalidRequest: a clip without frames or with NaN.
        FileError: the file cannot be written.
    """
    check_writable(clip)
    arrays = _amass(clip) if is_smpl(clip) else _plain(clip)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    write_atomically(Path(path), stream.getvalue())


def is_smpl(clip: Clip) -> bool:
    """Whether AMASS's arrays can hold the clip: SMPL's joints and hierarchy, identity rest, bones that keep length."""
    skeleton = clip.skeleton
    known = set(CANONICAL_JOINTS) <= set(skeleton.joint_names) <= set(JOINTS_OF_MODEL["smplx"])
    if not known or not _same_hierarchy(skeleton):
        return False
    turned = np.abs(np.abs(skeleton.rest_rotations) - IDENTITY).max()
    strays = np.abs(clip.local_translations - skeleton.rest_translations)[:, 1:].max(initial=0.0)
    return bool(turned < 1e-6 and strays < STILL_M)


def _same_hierarchy(skeleton: Skeleton) -> bool:
    canonical = canonical_skeleton()
    for joint, parent in enumerate(canonical.parents[1:], start=1):
        above = skeleton.parents[skeleton.index[CANONICAL_JOINTS[joint]]]
        if above < 0 or skeleton.joint_names[above] != CANONICAL_JOINTS[parent]:
            return False
    return skeleton.joint_names[0] == CANONICAL_JOINTS[0]


def _amass(clip: Clip) -> dict[str, Any]:
    joints = JOINTS_OF_MODEL["smplh"]
    index = clip.skeleton.index
    rotations = np.tile(IDENTITY, (clip.frame_count, len(joints), 1))
    there = [number for number, name in enumerate(joints) if name in index]
    rotations[:, there] = normalize(clip.local_rotations[:, [index[joints[number]] for number in there]])
    rotations[:, 0] = multiply(Y_UP_TO_Z_UP, rotations[:, 0])
    return {
        "poses": to_axis_angle(rotations).reshape(clip.frame_count, -1).astype(np.float32),
        "trans": rotate(Y_UP_TO_Z_UP, clip.root_positions).astype(np.float32),
        "betas": np.zeros(_BETA_COUNT, dtype=np.float32),
        "dmpls": np.zeros((clip.frame_count, _DMPL_COUNT), dtype=np.float32),
        "gender": np.array("neutral"),
        "mocap_framerate": np.array(clip.frame_rate_hz),
    }


def _plain(clip: Clip) -> dict[str, Any]:
    skeleton = clip.skeleton
    return {
        "joint_names": np.array([name.encode("utf-8", "replace").decode() for name in skeleton.joint_names]),
        "parents": skeleton.parents.astype(np.int32),
        "rest_translations": skeleton.rest_translations,
        "rest_rotations": normalize(skeleton.rest_rotations),
        "local_rotations": normalize(clip.local_rotations).astype(np.float32),
        "local_translations": clip.local_translations.astype(np.float32),
        "fps": np.array(clip.frame_rate_hz),
        "name": np.array(clip.name.encode("utf-8", "replace").decode()),
    }


def to_axis_angle(q: Array) -> Array:
    """Unit quaternions (..., 4) -> axis times angle (..., 3) in radians, at most half a turn."""
    q = np.where(q[..., 3:] < 0, -q, q)
    sine = np.linalg.norm(q[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[..., 3:])
    scaled: Array = q[..., :3] * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 2.0)
    return scaled
