"""FBX reading: one clip per animation stack, nodes as joints, resampled to 30 fps.

The file is parsed by ufbx in a process of its own (`fbx_process`), which turns axes and unit into ours and bakes
curves, layers, pre- and post-rotations and pivots into plain keys. Scale has no place in a clip: joints are composed
in the world, scale and all, and taken apart again without it, so that world positions are those of the file, also
under animated, uneven or mirrored scale and where a joint does not inherit it.

The declared unit is believed unless it makes a body of absurd size; exporters often declare a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from animoe.errors import FileError, NoAnimation
from animoe.formats.fbx_scene import Scene, Stack, pick_joints, read_scene
from animoe.formats.gltf_tracks import KeySpan, TrackBatch
from animoe.formats.names import unique_names
from animoe.formats.normalise import absurdity, scaled
from animoe.motion.clip import Clip
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.kinematics import model_to_local
from animoe.rig.rotations import Array, from_6d, inverse, normalize, rotate, to_matrix, unroll
from animoe.rig.skeleton import Skeleton

MAX_BYTES = 1 << 30
MAX_SECONDS = 7200.0
MAX_JOINT_FRAMES = 2_000_000
"""Joints x frames of all stacks of a file: 20 minutes of a 55-joint rig, 110 MB."""
_BLOCK = 1 << 16
"""Nodes x frames that are composed at once."""
_FRAME_SLACK = 0.05
"""Frames that the last one may lie past the last key, as in glTF."""
_SAME_LENGTH = 0.05
"""How far a bone of the bind pose may differ in length from the one that the animation moves, as a share."""


@dataclass(frozen=True, eq=False)
class _Rig:
    """J joints of a scene.

    Attributes:
        nodes: (J,) the scene's nodes that are joints.
        composed: (M,) all nodes that the joints hang on, themselves included, parents first.
        above: (M,) index into `composed` of each one's parent, -1 for the first.
        place: (J,) index into `composed` of each joint.
        skeleton: in metres as declared.
    """

    nodes: Array
    composed: Array
    above: Array
    place: Array
    skeleton: Skeleton


def read_fbx(path: Path) -> list[Clip]:
    """Reads every animation stack of an FBX that moves a joint, in file order, all on one skeleton.

    Joints are bones, what a skin hangs on, animated nodes and what is above them. The rest pose is the bind pose
    where the file has one that fits, else the pose in which the nodes stand. A clip goes from the first key within
    the stack's time range to the last.

    Raises:
        NoAnimation: no stack moves a joint.
        FileError: no FBX, damaged; the parser crashed, took too long or is not installed.
    """
    scene, rig = _read(Path(path))
    clips: list[Clip] = []
    room = MAX_JOINT_FRAMES
    for number, stack in enumerate(scene.stacks):
        place = f"animation {number} ({stack.name!r:.60})"
        if any(track.node in rig.nodes for track in stack.tracks):
            clips.append(_sample(path, place, scene, stack, rig, room))
            room -= clips[-1].frame_count * rig.skeleton.joint_count
    if not clips:
        remedy = "Export the file with its animations."
        raise NoAnimation(path, "it holds no animation that moves joints", remedy=remedy)
    factor = absurdity(rig.skeleton)
    skeleton = scaled(rig.skeleton, factor)
    return [replace(c, skeleton=skeleton, local_translations=c.local_translations * factor) for c in clips]


def read_fbx_skeleton(path: Path) -> Skeleton:
    """The skeleton of an FBX, animated or not, as `read_fbx` finds it.

    Raises:
        FileError: as `read_fbx`, but a file without animation is fine.
    """
    skeleton = _read(Path(path))[1].skeleton
    return scaled(skeleton, absurdity(skeleton))


def _read(path: Path) -> tuple[Scene, _Rig]:
    if path.stat().st_size > MAX_BYTES:
        remedy = "Export the animations without meshes and textures."
        raise FileError(path, f"larger than {MAX_BYTES >> 20} MiB", remedy=remedy)
    scene = read_scene(path, FRAME_RATE_HZ)
    return scene, _rig(path, scene, pick_joints(path, scene))


def _rig(path: Path, scene: Scene, nodes: Array) -> _Rig:
    composed: dict[int, None] = {}
    for node in nodes:
        trail = []
        while node >= 0 and node not in composed:
            trail.append(int(node))
            node = scene.parents[node]
        composed.update(dict.fromkeys(reversed(trail)))
    order = np.array(sorted(composed))
    row = {int(node): i for i, node in enumerate(order)}
    joint_of = {int(node): joint for joint, node in enumerate(nodes)}
    parents = []
    for node in nodes:
        above = int(scene.parents[node])
        while above >= 0 and above not in joint_of:
            above = int(scene.parents[above])
        parents.append(joint_of.get(above, -1))
    names = unique_names(scene.names[node] or f"node_{node}" for node in nodes)
    rows = np.array([row.get(int(scene.parents[node]), -1) for node in order])
    place = np.array([row[int(node)] for node in nodes])
    rest = _rest_pose(scene, nodes, np.array(parents), _compose(scene, order, rows), place)
    if not (np.abs(rest[1]) < 1e9).all():
        raise FileError(path, "absurdly large positions or scales", remedy="Check the unit it was exported in.")
    return _Rig(nodes, order, rows, place, Skeleton.build(names, parents, rest[1], rest[0]))


def _compose(scene: Scene, order: Array, above: Array) -> Array:
    """World matrices (M, 3, 4) of the nodes as they stand."""
    world: Array = _world(
        scene.translations[order][None], scene.rotations[order][None], scene.scales[order][None], above
    )[0]
    return world


def _world(translations: Array, rotations: Array, scales: Array, above: Array) -> Array:
    """Local transforms (T, M, 3), (T, M, 4), (T, M, 3) -> world matrices (T, M, 3, 4), scale included."""
    # A scale of zero hides a part; its direction would be lost with it.
    local = to_matrix(rotations) * np.where(np.abs(scales) < 1e-6, 1.0, scales)[..., None, :]
    world = np.empty((*translations.shape, 4))
    with np.errstate(all="ignore"):  # absurd values end as infinity or NaN; the caller refuses them
        for node, parent in enumerate(above):
            if parent < 0:
                world[:, node, :, :3], world[:, node, :, 3] = local[:, node], translations[:, node]
                continue
            upper = world[:, parent]
            world[:, node, :, :3] = upper[..., :3] @ local[:, node]
            moved = upper[..., :3] @ translations[:, node, :, None]
            world[:, node, :, 3] = moved[..., 0] + upper[..., 3]
    return world


def _local(world: Array, parents: Array) -> tuple[Array, Array]:
    """World matrices (..., J, 3, 4) -> local rotations (..., J, 4) and translations (..., J, 3) without scale."""
    axes = np.concatenate([world[..., 0], world[..., 1]], axis=-1)
    rotations = from_6d(np.where(np.isfinite(axes), axes, 0.0))
    positions = world[..., 3]
    translations = positions.copy()
    child = np.flatnonzero(parents >= 0)
    offsets = positions[..., child, :] - positions[..., parents[child], :]
    translations[..., child, :] = rotate(inverse(rotations[..., parents[child], :]), offsets)
    return model_to_local(rotations, parents), translations


def _rest_pose(scene: Scene, nodes: Array, parents: Array, standing: Array, place: Array) -> tuple[Array, Array]:
    """Local rest rotations (J, 4) and translations (J, 3): bind pose where given and fitting, else as nodes stand."""
    stands = _local(standing[place], parents)
    bind = scene.bind[nodes]
    bound = np.abs(bind).max(axis=(1, 2)) < 1e9  # false for NaN
    if not bound.any():
        return stands
    world = standing[place].copy()
    for joint, parent in enumerate(parents):
        if bound[joint]:
            world[joint] = bind[joint]
        elif parent >= 0:  # carried along by its parent
            above = _rigid(stands, joint)
            world[joint] = _unscaled(world[parent]) @ np.vstack([above, [0.0, 0.0, 0.0, 1.0]])
    bind_pose = _local(world, parents)
    return bind_pose if _same_body(stands[1], bind_pose[1], parents) else stands


def _rigid(pose: tuple[Array, Array], joint: int) -> Array:
    return np.concatenate([to_matrix(pose[0][joint]), pose[1][joint][:, None]], axis=1)


def _unscaled(matrix: Array) -> Array:
    """(3, 4) without scale."""
    axes = to_matrix(from_6d(np.concatenate([matrix[:, 0], matrix[:, 1]])))
    return np.concatenate([axes, matrix[:, 3:]], axis=1)


def _same_body(stands: Array, bind: Array, parents: Array) -> bool:
    """Whether bones (J, 3) are as long in both poses, four of five at least: some files bind another body."""
    child = np.flatnonzero(parents >= 0)
    a, b = np.linalg.norm(stands[child], axis=1), np.linalg.norm(bind[child], axis=1)
    longest = max(float(a.max(initial=0.0)), 1e-9)
    real = a > 1e-3 * longest
    if not real.any():
        return True
    return bool(np.mean(np.abs(b[real] - a[real]) <= _SAME_LENGTH * np.maximum(a[real], 0.02 * longest)) >= 0.8)


def _sample(path: Path, place: str, scene: Scene, stack: Stack, rig: _Rig, room: int) -> Clip:
    """The stack every 1/30 s. Composed in blocks of frames: world matrices of a long take would fill the memory."""
    count = _frame_count(path, place, stack, rig.skeleton.joint_count, room)
    rotations = np.empty((count, rig.skeleton.joint_count, 4))
    translations = np.empty((count, rig.skeleton.joint_count, 3))
    step = max(1, _BLOCK // len(rig.composed))
    for start in range(0, count, step):
        part = slice(start, min(start + step, count))
        grid = stack.begin_s + np.arange(part.start, part.stop) / FRAME_RATE_HZ
        world = _world(*_tracks(scene, stack, rig, grid), rig.above)[:, rig.place]
        rotations[part], translations[part] = _local(world, rig.skeleton.parents)
    if not (np.abs(translations) < 1e9).all():  # also false for NaN
        raise FileError(path, "absurdly large positions or scales", place=place, remedy="Check its unit and curves.")
    return Clip(rig.skeleton, FRAME_RATE_HZ, unroll(normalize(rotations)), translations, stack.name or path.stem)


def _tracks(scene: Scene, stack: Stack, rig: _Rig, grid: Array) -> tuple[Array, Array, Array]:
    """Local translations, rotations and scales (T, M, ·) of the composed nodes at the (T,) grid seconds."""
    rest = {"translation": scene.translations, "rotation": scene.rotations, "scale": scene.scales}
    row = {int(node): i for i, node in enumerate(rig.composed)}
    batches = {name: TrackBatch(rotations=name == "rotation") for name in rest}
    spans: dict[int, KeySpan] = {}
    for track in stack.tracks:
        if track.node in row:
            if track.times not in spans:
                spans[track.times] = KeySpan.locate(track.times_s, grid, step=False)
            batches[track.path].add(row[track.node], spans[track.times], track.values)
    sampled = {name: np.tile(values[rig.composed], (len(grid), 1, 1)) for name, values in rest.items()}
    for name, batch in batches.items():
        batch.sample_into(sampled[name])
    return sampled["translation"], sampled["rotation"], sampled["scale"]


def _frame_count(path: Path, place: str, stack: Stack, joint_count: int, room: int) -> int:
    seconds = stack.end_s - stack.begin_s
    if not 0 <= seconds <= MAX_SECONDS:
        remedy = f"At most {MAX_SECONDS:.0f} s are read."
        raise FileError(path, f"it lasts {seconds:.0f} s", place=place, remedy=remedy)
    count = int(seconds * FRAME_RATE_HZ + _FRAME_SLACK) + 1
    if count * joint_count > room:
        problem = f"the file holds more than {MAX_JOINT_FRAMES} joint poses"
        raise FileError(path, problem, place=place, remedy="Split it into several files.")
    return count
