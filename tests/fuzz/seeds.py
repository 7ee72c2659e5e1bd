"""Small valid files of every format that is read: what the fuzzer spoils."""

from __future__ import annotations

import base64
import io
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
from ascii_fbx import AsciiFbx
from binary_fbx import to_binary

from animoe.formats import write_clip
from animoe.motion.clip import Clip
from animoe.rig.canonical import canonical_skeleton
from animoe.rig.rotations import from_axis_angle
from animoe.rig.skeleton import Skeleton

_FRAMES = 6


def make_seeds() -> list[tuple[str, bytes]]:
    """(extension, content) of each; every one is read without complaint."""
    seeds = [(".fbx", text.encode()) for text in _fbx_texts()]
    seeds += [(".fbx", to_binary(text, compressed=packed)) for text in _fbx_texts() for packed in (True, False)]
    seeds += [(suffix, _written(clip, suffix)) for clip in (_small(), _canonical()) for suffix in (".bvh", ".glb")]
    seeds += [(".npz", _written(clip, ".npz")) for clip in (_small(), _canonical())]
    seeds += [(".npz", _smplx()), (".gltf", _embedded(_written(_small(), ".glb"))), (".bvh", _exotic_bvh())]
    seeds += [(".glb", _sparse_glb())]
    return seeds


def _fbx_texts() -> list[str]:
    texts = []
    for up, kind in (("Y", "LimbNode"), ("Z", "Null")):
        fbx = AsciiFbx(1.0, up)
        hips = fbx.node("Hips", kind=kind, T=(0, 100, 0), R=(-90, 0, 0), S=(1, 1.5, 1))
        spine = fbx.node("Spine", hips, kind, T=(0, 50, 0), PreRotation=(0, 30, 10), RotationActive=1, RotationOrder=4)
        head = fbx.node("Head", spine, kind, T=(0, 50, 0), InheritType=2, RotationPivot=(0, 5, 0))
        fbx.stack("Take 001", {})
        fbx.stack("turn", {(spine, "R"): ([0.0, 0.3, 0.5], [(0, 0, 0), (0, 200, 0), (0, 0, 90)])}, cubic=True)
        fbx.stack("move", {(hips, "T"): ([0.0, 0.2], [(0, 0, 0), (0, 9, 0)]), (head, "S"): ([0.0], [(1, 2, 1)])})
        fbx.bind({hips: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 100, 0, 1]})
        texts.append(fbx.text)
    return texts


def _small() -> Clip:
    names = ("root", "hips", "leg", "spine", "head")
    offsets = np.array([[0, 0, 0], [0, 1, 0], [0.1, -0.5, 0], [0, 0.4, 0], [0, 0.3, 0.1]], dtype=float)
    return _moving(Skeleton.build(names, (-1, 0, 1, 1, 3), offsets))


def _canonical() -> Clip:
    return _moving(canonical_skeleton())


def _moving(skeleton: Skeleton) -> Clip:
    turns = np.sin(np.arange(_FRAMES * skeleton.joint_count)).reshape(_FRAMES, -1)
    rotations = from_axis_angle(np.array([0.3, 1.0, 0.2]), turns)
    roots = np.linspace(0, 0.5, _FRAMES)[:, None] * [1.0, 0.0, 2.0] + [0, 0.95, 0]
    return Clip.from_root(skeleton, 30.0, rotations, roots, "move")


def _written(clip: Clip, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"seed{suffix}"
        write_clip(path, clip)
        return path.read_bytes()


def _smplx() -> bytes:
    stream = io.BytesIO()
    turns = np.sin(np.arange(_FRAMES * 63)).reshape(_FRAMES, 63) * 0.3
    arrays = {"root_orient": turns[:, :3], "pose_body": turns, "trans": turns[:, :3], "betas": np.zeros(10)}
    np.savez_compressed(stream, **arrays, mocap_frame_rate=np.array(120.0), gender=np.array("neutral"))
    return stream.getvalue()


def _embedded(glb: bytes) -> bytes:
    size = struct.unpack_from("<I", glb, 12)[0]
    document = json.loads(glb[20 : 20 + size])
    body = base64.b64encode(glb[28 + size :]).decode()
    document["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{body}"
    return json.dumps(document, indent=1).encode()


def _sparse_glb() -> bytes:
    """Sparse, strided and normalised accessors, a matrix node, STEP and CUBICSPLINE tracks, scale."""
    data = np.arange(4, dtype="<f4").tobytes() + np.zeros(36, "<f4").tobytes()
    data += np.array([1, 3], "<u2").tobytes() + np.ones(6, "<f4").tobytes()
    data += np.arange(16, dtype="<i2").tobytes()
    accessors = [
        {"bufferView": 0, "componentType": 5126, "count": 4, "type": "SCALAR"},
        {
            "componentType": 5126,
            "count": 4,
            "type": "VEC3",
            "sparse": {
                "count": 2,
                "indices": {"bufferView": 2, "componentType": 5123},
                "values": {"bufferView": 3, "componentType": 5126},
            },
        },
        {"bufferView": 1, "componentType": 5126, "count": 12, "type": "VEC3"},
        {"bufferView": 4, "componentType": 5122, "count": 4, "type": "VEC4", "normalized": True},
    ]
    views = [(0, 16), (16, 144), (160, 4), (164, 24), (188, 32)]
    tracks = [(0, 1, "LINEAR", "translation"), (0, 2, "CUBICSPLINE", "scale"), (0, 3, "STEP", "rotation")]
    document = {
        "asset": {"version": "2.0"},
        "nodes": [{"name": "a", "matrix": np.eye(4).ravel().tolist(), "children": [1]}, {"name": "b"}],
        "skins": [{"joints": [0, 1]}],
        "buffers": [{"byteLength": len(data)}],
        "bufferViews": [{"buffer": 0, "byteOffset": at, "byteLength": size} for at, size in views],
        "accessors": accessors,
        "animations": [
            {
                "name": "x",
                "samplers": [{"input": i, "output": o, "interpolation": how} for i, o, how, _ in tracks],
                "channels": [{"sampler": i, "target": {"node": 1, "path": t[3]}} for i, t in enumerate(tracks)],
            }
        ],
    }
    return pack_glb(json.dumps(document).encode(), data)


def pack_glb(text: bytes, data: bytes) -> bytes:
    """A GLB of a JSON text and a binary chunk, with lengths that fit."""
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIIII", b"glTF", 2, 28 + len(text) + len(data), len(text), 0x4E4F534A)
    return head + text + struct.pack("<II", len(data), 0x4E4942) + data


def _exotic_bvh() -> bytes:
    return b"""\xef\xbb\xbfHIERARCHY
ROOT Bip01 Pelvis { OFFSET 0 90 0 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
JOINT Bip01 Pelvis { OFFSET 0 10 0 CHANNELS 6 Xposition Yposition Zposition Yrotation Xrotation Zrotation
JOINT toe { OFFSET 0 0 0 CHANNELS 1 Xrotation End Site { OFFSET 1 2 3 } } } }
MOTION
Frames: 3
Frame Time: 0.0083333
1 91 2 0 0 0 0 10 0 10 20 30 5
1 92 2 90 0 0 0 10 0 0 0 0 -5e1
1 92.5 2 180 0 0 0 10 0 0 1e-3 0 370
"""
