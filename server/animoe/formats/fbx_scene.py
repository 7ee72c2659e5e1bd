"""What the FBX process says of a file, as arrays, and which of its nodes are joints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from animoe.errors import FileError
from animoe.formats.fbx_process import Json, parse
from animoe.formats.names import clean_name
from animoe.rig.rotations import Array, normalize

MAX_JOINTS = 4096
_JOINT_KINDS = ("bone", "empty", "unknown", "marker")
"""Kinds of node that may be a joint when animated; a mesh, camera or light is one only if a skin hangs on it."""
_NEVER = ("root", "helper", "camera", "light", "stereo_camera", "camera_switcher")


@dataclass(frozen=True, eq=False)
class Track:
    """Baked keys of one property of one node, to be interpolated linearly (rotations by slerp).

    Attributes:
        node: index into the scene's nodes.
        path: "translation", "rotation" or "scale".
        times: which array of key times this is; tracks with equal times share it.
        times_s: (K,) ascending seconds.
        values: (K, 3) or, for rotations, (K, 4) xyzw.
    """

    node: int
    path: str
    times: int
    times_s: Array
    values: Array


@dataclass(frozen=True, eq=False)
class Stack:
    """One animation stack: `tracks` from `begin_s` to `end_s`."""

    name: str
    begin_s: float
    end_s: float
    tracks: tuple[Track, ...]


@dataclass(frozen=True, eq=False)
class Scene:
    """N nodes, parents before children, node 0 the root of the scene. Metres, right-handed, Y up.

    Attributes:
        names, kinds: of each node; kinds as `fbx_worker` names them.
        parents: (N,) root -1.
        skinned: (N,) whether a skin hangs on the node.
        translations, rotations, scales: (N, 3), (N, 4), (N, 3) relative to the parent, as the nodes stand.
        bind: (N, 3, 4) world matrices of the bind pose; NaN where the file has none.
        stacks: animations, empty ones included.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    parents: Array
    skinned: Array
    translations: Array
    rotations: Array
    scales: Array
    bind: Array
    stacks: tuple[Stack, ...]


def read_scene(path: Path, rate_hz: float) -> Scene:
    """Reads a file in a process of its own; curves are baked at `rate_hz` or finer.

    Raises:
        FileError: see `fbx_process.parse`; also for NaN and for positions beyond all reason.
    """
    described, numbers = parse(path, rate_hz)
    try:
        scene = _scene(described, numbers)
    except (KeyError, TypeError, ValueError, IndexError) as error:  # memory that a crafted file has overwritten
        raise FileError(path, "the FBX parser was confused by it", remedy="Export it again.") from error
    _refuse_wild(path, scene)
    return scene


def _scene(described: Json, numbers: Array) -> Scene:
    nodes = described["nodes"]
    unbound = np.full((4, 3), np.nan)
    bind = np.stack([unbound if n["bind"] is None else np.array(n["bind"], dtype=np.float64) for n in nodes])
    return Scene(
        tuple(clean_name(node["name"]) for node in nodes),
        tuple(node["kind"] for node in nodes),
        np.array([node["parent"] for node in nodes], dtype=np.int64),
        np.array([node["skinned"] for node in nodes], dtype=bool),
        np.array([node["translation"] for node in nodes], dtype=np.float64),
        normalize(np.array([node["rotation"] for node in nodes], dtype=np.float64)),
        np.array([node["scale"] for node in nodes], dtype=np.float64),
        np.swapaxes(bind, 1, 2),
        tuple(_stack(stack, numbers) for stack in described["stacks"]),
    )


def _stack(stack: dict[str, Any], numbers: Array) -> Stack:
    tracks = []
    for node, path, count, times_at, values_at in stack["tracks"]:
        width = 4 if path == "rotation" else 3
        values = numbers[values_at : values_at + count * width].reshape(count, width)
        tracks.append(Track(node, path, times_at, numbers[times_at : times_at + count], values))
    return Stack(clean_name(stack["name"]), float(stack["begin_s"]), float(stack["end_s"]), tuple(tracks))


def _refuse_wild(path: Path, scene: Scene) -> None:
    """Refuses transforms that no rig has: NaN, infinite or absurdly large."""
    remedy = "Repair the file and export it again."
    for values in (scene.translations, scene.rotations, scene.scales):
        usable = (np.abs(values) < 1e9).all(axis=1)
        if not usable.all():
            place = f"node {scene.names[int(np.argmin(usable))]!r:.60}"
            raise FileError(path, "NaN, infinite or absurdly large transform", place=place, remedy=remedy)
    for stack in scene.stacks:
        for track in stack.tracks:
            if not (np.abs(track.values) < 1e9).all() or not (np.diff(track.times_s) >= 0).all():
                place = f"animation {stack.name!r:.60}, node {scene.names[track.node]!r:.60}"
                raise FileError(path, "NaN, infinite or absurdly large keys", place=place, remedy=remedy)


def pick_joints(path: Path, scene: Scene) -> Array:
    """(J,) nodes that become joints, parents first: one tree, the one in which most joints are animated.

    Bones, nodes that a skin hangs on, animated nodes and all that is above these; meshes, cameras and lights only
    where they are above. A file without any bone is taken to be built of its empties, or else of its meshes.

    Raises:
        FileError: there is no joint, or too many.
    """
    animated = {track.node for stack in scene.stacks for track in stack.tracks}
    wanted = _wanted(scene, animated)
    if not wanted:
        raise FileError(path, "it holds no skeleton", remedy="Export the file with its armature.")
    top = _tops(scene)
    weights: dict[int, tuple[int, int]] = {}
    for node in wanted:
        moving, count = weights.get(top[node], (0, 0))
        weights[top[node]] = (moving + (node in animated), count + 1)
    best = max(weights, key=lambda node: weights[node])  # the first of equals
    kept: set[int] = set()
    for node in (n for n in wanted if top[n] == best):
        while node > 0 and node not in kept:
            kept.add(node)
            node = int(scene.parents[node])
    joints = np.array([node for node in sorted(kept) if scene.kinds[node] not in ("root", "helper")])
    if len(joints) > MAX_JOINTS:
        raise FileError(path, f"{len(joints)} joints, at most {MAX_JOINTS} are read", remedy="Export one character.")
    return joints


def _wanted(scene: Scene, animated: set[int]) -> list[int]:
    nodes = [node for node, kind in enumerate(scene.kinds) if kind not in _NEVER]
    bones = [n for n in nodes if scene.kinds[n] == "bone" or scene.skinned[n]]
    if bones:
        return sorted({*bones, *(n for n in nodes if n in animated and scene.kinds[n] in _JOINT_KINDS)})
    empties = [n for n in nodes if scene.kinds[n] in _JOINT_KINDS]
    if animated.intersection(empties) or not animated:
        return empties
    return [n for n in nodes if n in animated]


def _tops(scene: Scene) -> list[int]:
    """For each node, the node right under the scene's root above it (or itself)."""
    top = list(range(len(scene.parents)))
    for node, parent in enumerate(scene.parents):
        if parent > 0:
            top[node] = top[parent]
    return top
