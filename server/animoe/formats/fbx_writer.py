"""FBX writing through Blender: one take on a skeleton of LimbNodes, with the bone mesh bound to it.

Centimetres, Y up, no scale and no turn above the root joint, a key on every frame: what Unreal, Unity, Maya and Blender
read alike. Blender itself writes the file, in a process of its own (`blender`, `blender_worker`).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from animoe.errors import FileError
from animoe.formats.blender import run_in_blender
from animoe.formats.bone_mesh import bone_mesh, mesh_name
from animoe.formats.writing import check_writable, write_atomically
from animoe.motion.clip import Clip
from animoe.rig.rotations import Array, normalize, to_matrix, unroll
from animoe.rig.skeleton import Skeleton

MAX_FRAMES = 100_000
"""Most frames of a clip: Blender evaluates each of them, an hour at 30 fps takes minutes."""
WORKER = Path(__file__).with_name("blender_worker.py")

_CM = 100.0
_BONE_CM = (1.0, 50.0)
"""Shortest and longest bone that is drawn; the length means nothing to the motion, but Blender drops bones without."""
_SECONDS_TO_START, _SECONDS_PER_POSE = 120.0, 0.002


def write_fbx(path: Path, clip: Clip) -> None:
    """Writes one clip as a binary FBX; an existing file is replaced in one step.

    Joints keep names, rest transforms and local rotations, the take has the clip's name. Blender cuts names at 63
    bytes.

    Raises:
        InvalidRequest: a clip without frames or with NaN.
        FileError: there is no Blender, it failed, or the file cannot be written.
    """
    path = Path(path)
    check_writable(clip)
    if clip.frame_count > MAX_FRAMES:
        remedy = "Write the clip in parts, or as .glb."
        raise FileError(path, f"{clip.frame_count} frames, an FBX takes at most {MAX_FRAMES}", remedy=remedy)
    timeout_s = _SECONDS_TO_START + _SECONDS_PER_POSE * clip.frame_count * clip.skeleton.joint_count
    with tempfile.TemporaryDirectory(prefix="animoe-fbx-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        header, arrays = _job(clip)
        (folder / "job.json").write_text(json.dumps(header), encoding="utf-8")
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        run_in_blender(WORKER, folder, wanted=path, timeout_s=timeout_s)
        written = folder / "out.fbx"
        if not written.is_file():
            raise FileError(path, "Blender ended well but left no file")
        write_atomically(path, written.read_bytes())


def _job(clip: Clip) -> tuple[dict[str, Any], dict[str, Array]]:
    """What the worker needs, in centimetres and our axes: plain values, and arrays by name."""
    skeleton = clip.skeleton
    header = {
        "take": clip.name or "clip",
        "frame_rate_hz": float(clip.frame_rate_hz),
        "joint_names": [name or f"joint_{joint}" for joint, name in enumerate(skeleton.joint_names)],
        "mesh_name": mesh_name(skeleton),
    }
    rotations, positions = skeleton.rest_model
    matrices = np.tile(np.eye(4), (skeleton.joint_count, 1, 1))
    matrices[:, :3, :3] = to_matrix(normalize(rotations))
    matrices[:, :3, 3] = positions * _CM
    mesh = bone_mesh(skeleton)
    arrays = {
        "parents": skeleton.parents,
        "rest_matrices": matrices,
        "bone_lengths": _bone_lengths(skeleton),
        "rotations": unroll(normalize(clip.local_rotations)).astype(np.float64),
        "translations": clip.local_translations * _CM,
        "mesh_positions": mesh.positions * _CM,
        "mesh_joints": mesh.joints,
    }
    return header, arrays


def _bone_lengths(skeleton: Skeleton) -> Array:
    """(J,) centimetres from each joint to its nearest child; a leaf is as long as the bone that leads to it."""
    to_parent = np.linalg.norm(skeleton.rest_translations, axis=-1) * _CM
    lengths = [
        min((to_parent[child] for child in children), default=to_parent[joint])
        for joint, children in enumerate(skeleton.children)
    ]
    clipped: Array = np.clip(np.array(lengths), *_BONE_CM)
    return clipped
