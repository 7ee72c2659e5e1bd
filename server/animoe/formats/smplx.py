"""Motion of the SMPL family out of .npz: AMASS, SMPL-X, plain SMPL and what motion libraries make of them.

Rotations are axis-angle in radians, relative to the parent, on a T-pose with identity rotations: what a canonical joint
holds. Clips come at 30 fps, Y up. AMASS stands along Z; where others stand shows the body over the clip.

| part | names |
|---|---|
| all joints | poses, fullpose: (T, 72), (T, 156), (T, 165) or (T, 66), also (T, J, 3) |
| root | root_orient, global_orient: (T, 3) |
| body | pose_body, body_pose: (T, 63) or (T, 69) |
| hands | pose_hand (T, 90), or left_hand_pose and right_hand_pose (T, 45) |
| place | trans, transl: (T, 3) metres |
| rate | mocap_framerate, mocap_frame_rate, fps, frame_rate, framerate; 30 when none is given |

Without a body model the skeleton is the canonical one and fingers are left out; with one (`formats.body_model`) the
skeleton has the person's own bones and fingers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animoe.formats.body_model import find_body_model
from animoe.formats.npz_archive import NpzArchive
from animoe.formats.smpl_joints import (
    HAND_JOINTS,
    JOINTS_OF_MODEL,
    UPSIDE_DOWN,
    Y_UP_TO_Z_UP,
    Z_UP_TO_Y_UP,
)
from animoe.motion.clip import Clip
from animoe.rig.canonical import CANONICAL_JOINTS, FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.rotations import IDENTITY, Array, from_axis_angle, multiply, rotate, unroll

MAX_FRAMES = 300_000
FRAME_RATES_HZ = (1.0, 1000.0)
_MAX_METRES = 1e6
_MAX_RADIANS = 1e4
_ALL = ("poses", "fullpose", "pose")
_ROOT, _BODY = ("root_orient", "global_orient"), ("pose_body", "body_pose")
_HANDS = ("left_hand_pose", "right_hand_pose")
_PLACE = ("trans", "transl", "translation")
_RATE = ("mocap_framerate", "mocap_frame_rate", "fps", "frame_rate", "framerate")
_AMASS = ("mocap_framerate", "mocap_frame_rate", "surface_model_type", "dmpls")
_MODEL_OF_COUNT = {22: "smplh", 24: "smpl", 52: "smplh", 55: "smplx"}


@dataclass(frozen=True, eq=False)
class SmplMotion:
    """What a file says, in its own axes and rate.

    Attributes:
        model: "smpl", "smplh" or "smplx".
        axis_angles: joint name -> (T, 3) radians, relative to the parent.
        trans: (T, 3) metres, in the file's axes; a body model adds its pelvis.
        frame_rate_hz: of the frames.
    """

    model: str
    axis_angles: dict[str, Array]
    trans: Array
    frame_rate_hz: float


def read_smpl(archive: NpzArchive, body_models: str | Path | None = None) -> Clip:
    """Reads the one clip of an SMPL-family archive.

    Args:
        archive: the opened .npz.
        body_models: folder with the licensed SMPL, SMPL-H or SMPL-X model files; the default is that of
            ANIMOE_SMPL_MODELS, and without either the canonical skeleton is used.

    Raises:
        FileError: no poses, shapes that do not fit, NaN, an unusable rate, too long; or no body model of this kind.
    """
    motion = _read_motion(archive)
    body = find_body_model(archive, motion.model, body_models)
    skeleton, stand = (canonical_skeleton(), np.zeros(3)) if body is None else (body.skeleton, body.pelvis)
    still = np.zeros((len(motion.trans), 3))
    turns = np.stack([motion.axis_angles.get(name, still) for name in skeleton.joint_names], axis=1)
    rotations = unroll(from_axis_angle(turns, np.linalg.norm(turns, axis=-1)))
    places = motion.trans + stand
    upright = _upright(archive, rotations[:, 0], places)
    rotations[:, 0] = multiply(upright, rotations[:, 0])
    clip = Clip.from_root(skeleton, motion.frame_rate_hz, rotations, rotate(upright, places), archive.path.stem)
    return clip.resampled(FRAME_RATE_HZ)


def _read_motion(archive: NpzArchive) -> SmplMotion:
    rate = _frame_rate(archive)
    whole = archive.first_of(_ALL)
    model, angles = _whole_body(archive, whole) if whole is not None else _parts(archive)
    frames = len(angles["pelvis"])
    place = archive.first_of(_PLACE)
    trans = np.zeros((frames, 3)) if place is None else _vectors(archive, place, {1: ("",)}, frames)[""]
    if np.abs(trans).max() > _MAX_METRES:
        raise archive.error(f"positions beyond {_MAX_METRES:.0f} m", f"array {place!r}", "They must be in metres.")
    if max(np.abs(vectors).max() for vectors in angles.values()) > _MAX_RADIANS:
        raise archive.error(f"rotations beyond {_MAX_RADIANS:.0f} radians", remedy="They must be axis-angle.")
    step = max(round(rate / FRAME_RATE_HZ), 1)
    if abs(rate - step * FRAME_RATE_HZ) < 0.01 * step:  # every n-th frame is a frame of 30 fps: drop the others now
        angles, trans, rate = {name: a[::step] for name, a in angles.items()}, trans[::step], FRAME_RATE_HZ
    return SmplMotion(model, angles, trans, rate)


def _frame_rate(archive: NpzArchive) -> float:
    name = archive.first_of(_RATE)
    if name is None:
        return FRAME_RATE_HZ
    values = archive.numbers(name).ravel()
    if len(values) != 1 or not FRAME_RATES_HZ[0] <= values[0] <= FRAME_RATES_HZ[1]:
        low, high = FRAME_RATES_HZ
        problem = f"a frame rate of {str(values[:3].tolist())[1:-1]} is not usable"
        raise archive.error(problem, f"array {name!r}", f"Give one number of frames per second, {low:g} to {high:g}.")
    return float(values[0])


def _whole_body(archive: NpzArchive, name: str) -> tuple[str, dict[str, Array]]:
    """Model and joint rotations of an array with all joints."""
    joints = {count: JOINTS_OF_MODEL[model][:count] for count, model in _MODEL_OF_COUNT.items()}
    angles = _vectors(archive, name, joints, None)
    return _said_model(archive) or _MODEL_OF_COUNT[len(angles)], angles


def _parts(archive: NpzArchive) -> tuple[str, dict[str, Array]]:
    """Model and joint rotations of a file that keeps root, body and hands apart."""
    root, body = archive.first_of(_ROOT), archive.first_of(_BODY)
    if root is None or body is None:
        found = ", ".join(archive.names[:8]) or "nothing"
        raise archive.error(
            f"no motion of a body model in it (it holds {found})",
            remedy=f"Expected 'poses', or '{_ROOT[0]}' and '{_BODY[0]}', as AMASS and SMPL-X files have them.",
        )
    angles = _vectors(archive, root, {1: CANONICAL_JOINTS[:1]}, None)
    frames = len(angles["pelvis"])
    angles |= _vectors(archive, body, {21: CANONICAL_JOINTS[1:], 23: JOINTS_OF_MODEL["smpl"][1:]}, frames)
    model = "smpl" if "left_hand" in angles else "smplh"
    if "pose_hand" in archive:
        angles |= _vectors(archive, "pose_hand", {30: HAND_JOINTS}, frames)
    elif all(name in archive for name in _HANDS):
        for name, joints in zip(_HANDS, (HAND_JOINTS[:15], HAND_JOINTS[15:]), strict=True):
            angles |= _vectors(archive, name, {15: joints}, frames)
    if "pose_jaw" in archive or "jaw_pose" in archive:
        model = "smplx"
    return _said_model(archive) or model, angles


def _said_model(archive: NpzArchive) -> str | None:
    """The model that the file names, as in "smplx_locked_head"."""
    if "surface_model_type" not in archive:
        return None
    said = archive.text("surface_model_type").lower()
    return next((model for model in ("smplx", "smplh", "smpl") if said.startswith(model)), None)


def _vectors(
    archive: NpzArchive, name: str, joints_of_count: dict[int, tuple[str, ...]], frames: int | None
) -> dict[str, Array]:
    """Joint name -> (T, 3) of an array (T, 3 J) or (T, J, 3) whose J is one of `joints_of_count`."""
    values = archive.numbers(name)
    place = f"array {name!r}"
    shape, width = values.shape, math.prod(values.shape[1:])
    flat = values.ndim == 2 or (values.ndim == 3 and shape[2] == 3)
    if not flat or width % 3 or width // 3 not in joints_of_count:
        wanted = " or ".join(f"(frames, {3 * count})" for count in joints_of_count)
        raise archive.error(f"its shape is {shape}, expected {wanted}", place)
    if len(values) == 0:
        raise archive.error("no frames", place, "Export the recording again.")
    if frames is not None and len(values) != frames:
        raise archive.error(f"{len(values)} frames, the others have {frames}", place)
    if len(values) > MAX_FRAMES:
        raise archive.error(f"{len(values)} frames, at most {MAX_FRAMES} are read", place, "Split the recording.")
    joints = joints_of_count[width // 3]
    return dict(zip(joints, np.moveaxis(values.reshape(len(values), -1, 3), 1, 0), strict=True))


def _upright(archive: NpzArchive, pelvis: Array, places: Array) -> Array:
    """(4,) turn of the file's world that makes +Y the way up.

    The body's own axis tells, on average over the clip. AMASS is known to stand along Z; a body may well lie in it,
    so only one that both stands along Y and is as high above y = 0 as a pelvis is makes an exception.
    """
    mean = rotate(pelvis, np.array([0.0, 1.0, 0.0])).mean(axis=0)
    if archive.first_of(_AMASS) is not None:
        stands_along_y = mean[1] > 0.7 and 0.4 < np.median(places[:, 1]) < 1.6
        return IDENTITY if stands_along_y else Z_UP_TO_Y_UP
    if abs(mean[1]) >= abs(mean[2]):
        return IDENTITY if mean[1] >= 0 else UPSIDE_DOWN
    return Z_UP_TO_Y_UP if mean[2] > 0 else Y_UP_TO_Z_UP
