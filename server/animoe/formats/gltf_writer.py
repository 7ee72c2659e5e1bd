"""glTF 2.0 binary writing (.glb): joints as nodes, a skin, a bone mesh and one animation per clip.

The mesh is there because many viewers refuse, or show nothing of, a file without one. Source: the glTF 2.0
specification (Khronos), sections 3.6 (alignment), 3.7 (skins) and 3.11 (animations).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from animoe.errors import InvalidRequest
from animoe.formats.bone_mesh import bone_mesh
from animoe.formats.gltf_binary import UBYTE, USHORT, Binary, pack_glb
from animoe.formats.writing import check_writable, write_atomically
from animoe.motion.clip import Clip
from animoe.rig.rotations import Array, normalize, to_matrix, unroll
from animoe.rig.skeleton import Skeleton

STILL_M = 1e-6
"""A joint that strays less than this (metres) from its rest translation gets no translation track."""


def write_glb(path: Path, clips: Sequence[Clip]) -> None:
    """Writes clips of one skeleton as a GLB; an existing file is replaced in one step.

    Args:
        path: the file to write.
        clips: at least one, all on the same skeleton; each becomes an animation under its own name.

    Raises:
        InvalidRequest: no clip, clips of different skeletons, no frames, NaN.
        FileError: the file cannot be written.
    """
    skeleton = common_skeleton(clips)
    binary = Binary()
    strays = straying_joints(clips)
    document = {
        "asset": {"version": "2.0", "generator": "AniMoE"},
        "scene": 0,
        "scenes": [{"nodes": [0, skeleton.joint_count]}],
        "nodes": [*_joint_nodes(skeleton), {"name": _free_name(skeleton), "mesh": 0, "skin": 0}],
        "skins": [_skin(skeleton, binary)],
        "meshes": [_mesh(skeleton, binary)],
        "materials": [_MATERIAL],
        "animations": [_animation(clip, index, strays, binary) for index, clip in enumerate(clips)],
        **binary.sections(),
    }
    write_atomically(Path(path), pack_glb(document, bytes(binary.data)))


def common_skeleton(clips: Sequence[Clip]) -> Skeleton:
    """The skeleton that all clips are on. Errors as `write_glb`."""
    if not clips:
        raise InvalidRequest("a .glb needs at least one clip; none was given")
    skeleton = clips[0].skeleton
    for clip in clips:
        check_writable(clip)
        if clip.skeleton is not skeleton and clip.skeleton.digest != skeleton.digest:
            raise InvalidRequest(f"clip {clip.name!r} is on another skeleton; write one file per skeleton")
    return skeleton


_MATERIAL = {
    "name": "bones",
    "pbrMetallicRoughness": {
        "baseColorFactor": [0.35, 0.55, 0.8, 1.0],
        "metallicFactor": 0.0,
        "roughnessFactor": 0.7,
    },
}


def _joint_nodes(skeleton: Skeleton) -> list[dict[str, Any]]:
    nodes = []
    rotations = normalize(skeleton.rest_rotations)
    for joint, name in enumerate(skeleton.joint_names):
        node: dict[str, Any] = {"name": name} if name else {}
        node["translation"] = _plain(skeleton.rest_translations[joint])
        node["rotation"] = _plain(rotations[joint])
        if skeleton.children[joint]:
            node["children"] = list(skeleton.children[joint])
        nodes.append(node)
    return nodes


def _plain(values: Array) -> list[float]:
    """JSON numbers, nine decimals: nanometres."""
    return [float(x) for x in np.round(values, 9) + 0.0]


def _free_name(skeleton: Skeleton) -> str:
    name = "bones"
    while name in skeleton.index:
        name += "_mesh"
    return name


def _skin(skeleton: Skeleton, binary: Binary) -> dict[str, Any]:
    rotations, positions = skeleton.rest_model
    turn = np.swapaxes(to_matrix(normalize(rotations)), -1, -2)  # the inverse of a rotation is its transpose
    inverse_bind = np.tile(np.eye(4), (skeleton.joint_count, 1, 1))
    inverse_bind[:, :3, :3] = turn
    inverse_bind[:, :3, 3] = -np.einsum("jab,jb->ja", turn, positions)
    column_major = np.swapaxes(inverse_bind, -1, -2).reshape(-1, 16)
    joints = list(range(skeleton.joint_count))
    return {"joints": joints, "skeleton": 0, "inverseBindMatrices": binary.add(column_major)}


def _mesh(skeleton: Skeleton, binary: Binary) -> dict[str, Any]:
    mesh = bone_mesh(skeleton)
    followed = np.zeros((len(mesh.joints), 4), dtype=np.int64)
    followed[:, 0] = mesh.joints
    weights = np.zeros((len(mesh.joints), 4))
    weights[:, 0] = 1.0
    attributes = {
        "POSITION": binary.add(mesh.positions, bounds=True, vertex=True),
        "NORMAL": binary.add(mesh.normals, vertex=True),
        "JOINTS_0": binary.add(followed, UBYTE if skeleton.joint_count <= 256 else USHORT, vertex=True),
        "WEIGHTS_0": binary.add(weights, vertex=True),
    }
    return {"name": "bones", "primitives": [{"attributes": attributes, "material": 0}]}


def straying_joints(clips: Sequence[Clip]) -> Array:
    """(J,) bool: joints that need a translation track in all clips of a file, because one of the clips moves them.

    Players such as Blender leave a property that an animation lacks where the animation before it put it.
    """
    strays = [
        np.abs(clip.local_translations - clip.skeleton.rest_translations).max(axis=(0, 2)) > STILL_M for clip in clips
    ]
    return np.asarray(np.any(strays, axis=0))


def _animation(clip: Clip, index: int, strays: Array, binary: Binary) -> dict[str, Any]:
    rotations = unroll(normalize(clip.local_rotations))
    tracks: list[tuple[int, str, Array]] = []
    for joint in range(clip.skeleton.joint_count):
        tracks.append((joint, "rotation", rotations[:, joint]))
        if strays[joint] or joint == 0:
            tracks.append((joint, "translation", clip.local_translations[:, joint]))
    return binary.add_animation(clip.name or f"clip_{index}", np.arange(clip.frame_count) / clip.frame_rate_hz, tracks)
