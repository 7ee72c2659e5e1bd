"""Small data made here: a rig of twisted rest rotations with a stretching arm, and hand-made glTF files."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.motion.clip import Clip
from animoe.rig.rotations import Array, from_axis_angle, multiply, normalize
from animoe.rig.skeleton import Skeleton

_NAMES = ("root", "hips", "left_leg", "right_leg", "left_foot", "right_foot", "spine", "left_arm", "head")
_PARENTS = (-1, 0, 1, 1, 2, 3, 1, 6, 6)


def twisted_skeleton() -> Skeleton:
    """Nine joints, not in depth-first order; rest rotations point anywhere, as on Maya and Unreal rigs."""
    random = np.random.default_rng(3)
    rotations = normalize(random.normal(size=(9, 4)))
    return Skeleton.build(_NAMES, _PARENTS, random.uniform(-0.4, 0.4, (9, 3)), rotations)


def swinging_clip(name: str = "swing", frame_count: int = 20, frame_rate_hz: float = 30.0) -> Clip:
    """Every joint turns through large angles, the root travels, the left arm stretches."""
    skeleton = twisted_skeleton()
    random = np.random.default_rng(4)
    time_s = np.arange(frame_count)[:, None] / frame_rate_hz
    turns = from_axis_angle(random.normal(size=(9, 3)), 2.5 * np.sin(4 * time_s + random.uniform(0, 6, 9)))
    translations = np.tile(skeleton.rest_translations, (frame_count, 1, 1))
    translations[:, 0] += time_s * [1.2, 0.1, -0.7]
    translations[:, 7] *= 1 + 0.2 * np.sin(5 * time_s)
    return Clip(skeleton, frame_rate_hz, multiply(skeleton.rest_rotations, turns), translations, name)


class GltfBuilder:
    """A glTF document put together by hand; the buffer is embedded as base64."""

    def __init__(self, nodes: Sequence[dict[str, Any]]) -> None:
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "nodes": list(nodes),
            "accessors": [],
            "bufferViews": [],
            "buffers": [{}],
            "animations": [{"name": "move", "channels": [], "samplers": []}],
        }
        self.data = bytearray()

    def accessor(self, values: Any, dtype: str = "<f4", **more: Any) -> int:
        rows = np.asarray(values, dtype=dtype)
        component = {"<f4": 5126, "<i2": 5122, "<u1": 5121, "<u2": 5123}[dtype]
        kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}[1 if rows.ndim == 1 else rows.shape[-1]]
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": rows.nbytes})
        self.data += rows.tobytes() + bytes(-rows.nbytes % 4)
        view = len(self.json["bufferViews"]) - 1
        described = {"bufferView": view, "componentType": component, "count": len(rows), "type": kind}
        self.json["accessors"].append(described | more)
        return len(self.json["accessors"]) - 1

    def track(self, node: int, path: str, times: Any, values: Any, interpolation: str = "LINEAR") -> None:
        """Adds a channel; `values` are numbers or the index of an accessor made before."""
        animation = self.json["animations"][0]
        output = values if isinstance(values, int) else self.accessor(values)
        sampler = {"input": self.accessor(times), "output": output, "interpolation": interpolation}
        animation["channels"].append({"sampler": len(animation["samplers"]), "target": {"node": node, "path": path}})
        animation["samplers"].append(sampler)

    def save(self, path: Path) -> Path:
        self.json["buffers"][0].setdefault("byteLength", len(self.data))
        body = base64.b64encode(bytes(self.data)).decode()
        self.json["buffers"][0].setdefault("uri", f"data:application/octet-stream;base64,{body}")
        path.write_text(json.dumps(self.json))
        return path


@pytest.fixture
def clip() -> Clip:
    return swinging_clip()


@pytest.fixture
def build() -> type[GltfBuilder]:
    return GltfBuilder


def spin(degrees: float) -> Array:
    """(4,) turn about Z."""
    return from_axis_angle(np.array([0.0, 0.0, 1.0]), np.radians(degrees))


@pytest.fixture
def moved(build: type[GltfBuilder]) -> GltfBuilder:
    """A valid file: two joints, the child moves 1 m along X in 0.1 s."""
    builder = build([{"name": "root", "children": [1]}, {"name": "tip", "translation": [0, 1, 0]}])
    builder.track(1, "translation", [0.0, 0.1], [[0, 1, 0], [1, 1, 0]])
    return builder
