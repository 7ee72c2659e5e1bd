"""glTF 2.0 reading (.glb, .gltf): one clip per animation, nodes as joints, resampled to 30 fps.

World axes of glTF are ours: right-handed, Y up, metres. A clip has no scale, so scale that stays constant is
folded into the translations below it (an armature in centimetres under a node scaled by 0.01 comes out in
metres); animated scale is left out. Quirks handled: keys that start at 1/30 s instead of 0, children listed
before parents, repeated or missing names, integer rotations, several roots.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from animoe.errors import NoAnimation
from animoe.formats.gltf_document import Document, Json
from animoe.formats.gltf_nodes import Joints, constant_scale, fold_scale, read_joints
from animoe.formats.gltf_tracks import KeySpan, TrackBatch
from animoe.formats.names import clean_name
from animoe.motion.clip import Clip
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array, unroll
from animoe.rig.skeleton import Skeleton

MAX_SECONDS = 7200.0
MAX_JOINT_FRAMES = 2_000_000
"""Joints x frames of all animations of a file: 40 minutes of a 27-joint rig, 110 MB."""
_BLOCK = 1 << 15
"""Joints x frames that are sampled at once."""
FRAME_SLACK = 0.05
"""Frames that the last one may lie past the last key: rates such as 30.0003 fps lose no frame then."""
_PATHS = {"translation": "VEC3", "rotation": "VEC4", "scale": "VEC3"}


@dataclass(frozen=True, eq=False)
class _Track:
    """One animated property of one joint; keys of `times_s` (K,), `values` (K or 3K, C)."""

    joint: int
    times: int
    times_s: Array
    values: Array
    interpolation: str


@dataclass(eq=False)
class _Animation:
    name: str
    place: str
    tracks: dict[tuple[int, str], _Track] = field(default_factory=dict)


def read_gltf(path: Path) -> list[Clip]:
    """Reads every skeletal animation of a glTF file, in file order, all on one skeleton.

    Joints are the nodes that belong to a skin or are animated, and what is above them, in the one tree that
    holds most of the animated nodes. Frame 0 of a clip is the first key of its animation.

    Raises:
        NoAnimation: no animation moves a node.
        FileError: not glTF 2.0 or damaged; says where.
    """
    document = Document(Path(path))
    nodes = document.items("nodes")
    targets = [_targets(document, i, a, len(nodes)) for i, a in enumerate(document.items("animations"))]
    if not any(targets):
        raise NoAnimation(path, "it holds no animation that moves nodes", remedy="Export the file with its animations.")
    joints = read_joints(document, nodes, {node for channels in targets for _, node, _ in channels})
    animations = [
        _read_animation(document, index, animation, targets[index], joints)
        for index, animation in enumerate(document.items("animations"))
    ]
    skeleton = _skeleton(document, joints)
    clips: list[Clip] = []
    room = MAX_JOINT_FRAMES
    for animation in animations:
        if animation.tracks:
            clips.append(_sample(document, animation, joints, skeleton, room))
            room -= clips[-1].frame_count * skeleton.joint_count
    return clips


def read_gltf_skeleton(path: Path) -> Skeleton:
    """The skeleton of a glTF file, animated or not: joints as in `read_gltf`, rest pose of the nodes.

    Raises:
        FileError: not glTF 2.0, damaged, or with neither a skin nor animated nodes.
    """
    document = Document(Path(path))
    nodes = document.items("nodes")
    targets = [_targets(document, i, a, len(nodes)) for i, a in enumerate(document.items("animations"))]
    return _skeleton(document, read_joints(document, nodes, {node for channels in targets for _, node, _ in channels}))


def _skeleton(document: Document, joints: Joints) -> Skeleton:
    rest = _folded(document, "nodes", joints.translations[None], joints.scales, joints.parents)[0]
    return Skeleton.build(joints.names, joints.parents, rest, joints.rotations)


def _targets(document: Document, index: int, animation: Json, node_count: int) -> list[tuple[Json, int, str]]:
    """(channel, node, path) of the channels that move nodes; morph weights and extensions are passed over."""
    found = []
    for number, channel in enumerate(document.items("channels", animation, f"animation {index}")):
        target = channel.get("target")
        if type(target) is not dict:
            raise document.error("it has no target", f"animation {index}, channel {number}")
        path = target.get("path")
        if "node" in target and type(path) is str and path in _PATHS:
            node = document.index(target, "node", node_count, f"animation {index}, channel {number}")
            found.append((channel, node, path))
    return found


def _read_animation(
    document: Document, index: int, animation: Json, channels: list[tuple[Json, int, str]], joints: Joints
) -> _Animation:
    name = animation.get("name")
    place = f"animation {index} ({reprlib.repr(name)})"
    result = _Animation(clean_name(name) or f"animation_{index}", place)
    samplers = document.items("samplers", animation, result.place)
    for channel, node, path in channels:
        if node in joints.of_node:
            sampler = samplers[document.index(channel, "sampler", len(samplers), result.place)]
            joint = joints.of_node[node]
            result.tracks[joint, path] = _read_track(document, sampler, joint, path, result.place)
    return result


def _read_track(document: Document, sampler: Json, joint: int, path: str, place: str) -> _Track:
    count = document.accessor_count
    times = document.index(sampler, "input", count, place)
    times_s = document.key_times(times)
    values = document.accessor(document.index(sampler, "output", count, place), _PATHS[path])
    interpolation = sampler.get("interpolation", "LINEAR")
    if interpolation not in ("LINEAR", "STEP", "CUBICSPLINE"):
        raise document.error(f"unknown interpolation {reprlib.repr(interpolation)}", place)
    if len(values) != len(times_s) * (3 if interpolation == "CUBICSPLINE" else 1):
        problem = f"{len(times_s)} key times but {len(values)} {path} values ({interpolation})"
        raise document.error(problem, place)
    return _Track(joint, times, times_s, values, interpolation)


def _sample(document: Document, animation: _Animation, joints: Joints, skeleton: Skeleton, room: int) -> Clip:
    """One clip. In blocks of frames: what a long take needs in between would fill the memory."""
    grid = _grid(document, animation, skeleton.joint_count, room)
    count = skeleton.joint_count
    rotations, translations = np.empty((len(grid), count, 4)), np.empty((len(grid), count, 3))
    scaled = any(path == "scale" for _, path in animation.tracks)
    scales = np.empty((len(grid) if scaled else 0, count, 3), np.float32)
    step = max(1, _BLOCK // count)
    for start in range(0, len(grid), step):
        part = slice(start, start + step)
        sampled = _sample_block(document, animation, joints, grid[part])
        rotations[part], translations[part] = sampled["rotation"], sampled["translation"]
        if scaled:
            scales[part] = sampled["scale"]
    steady = constant_scale(scales, joints.scales) if scaled else joints.scales
    translations = _folded(document, animation.place, translations, steady, joints.parents)
    return Clip(skeleton, FRAME_RATE_HZ, unroll(rotations), translations, animation.name)


def _sample_block(document: Document, animation: _Animation, joints: Joints, grid: Array) -> dict[str, Array]:
    """Translations, rotations and scales (T, J, ·) at the (T,) grid seconds."""
    rest = {"translation": joints.translations, "rotation": joints.rotations, "scale": joints.scales}
    sampled = {path: np.tile(values, (len(grid), 1, 1)) for path, values in rest.items()}
    batches = {path: TrackBatch(rotations=path == "rotation") for path in _PATHS}
    spans: dict[tuple[int, bool], KeySpan] = {}
    for (joint, path), track in animation.tracks.items():
        step = track.interpolation == "STEP"
        if (track.times, step) not in spans:
            spans[track.times, step] = KeySpan.locate(track.times_s, grid, step=step)
        span = spans[track.times, step]
        if track.interpolation == "CUBICSPLINE":
            batches[path].add_spline(joint, span, track.values.reshape(len(track.times_s), 3, -1))
        else:
            batches[path].add(joint, span, track.values)
    for path, batch in batches.items():
        bad = batch.sample_into(sampled[path])
        if bad is not None:
            where = f"{animation.place}, node {joints.names[bad]!r:.60}"
            raise document.error(f"NaN or infinite {path}", where, "Repair the curve and export again.")
    return sampled


def _folded(document: Document, place: str, translations: Array, scales: Array, parents: Array) -> Array:
    folded = fold_scale(translations, scales, parents)
    if not (np.abs(folded) < 1e9).all():
        raise document.error("absurdly large positions or scales", place, "Check the unit it was exported in.")
    return folded


def _grid(document: Document, animation: _Animation, joint_count: int, room: int) -> Array:
    """(T,) seconds: every 1/30 s from the first key of any track to the last."""
    start = min(track.times_s[0] for track in animation.tracks.values())
    end = max(track.times_s[-1] for track in animation.tracks.values())
    if end - start > MAX_SECONDS:
        remedy = f"At most {MAX_SECONDS:.0f} s are read."
        raise document.error(f"it lasts {end - start:.0f} s", animation.place, remedy)
    count = int((end - start) * FRAME_RATE_HZ + FRAME_SLACK) + 1
    if count * joint_count > room:
        problem = f"the file holds more than {MAX_JOINT_FRAMES} joint poses"
        raise document.error(problem, animation.place, "Split it into several files.")
    return np.asarray(start + np.arange(count) / FRAME_RATE_HZ)
