"""BVH writing: centimetres and degrees, Y up, identity rest rotations.

BVH has no rest rotations: its rest pose is the OFFSETs with every rotation zero. So the clip first moves to a
model-aligned skeleton: the joint positions of a chosen pose (the rig's rest pose, or a T-pose of it), axes parallel
to the model's. With G the rotation of a joint in that pose in model space, p its parent, L a local rotation, t a
local translation:

    world rotation   W' = W G^-1           (in that pose W = G, hence W' = identity)
    local rotation   L' = W'p^-1 W' = Gp L G^-1
    local translation  W'p t' = Wp t   =>  t' = Gp t

World positions of the joints stay what they were. Position channels hold the whole translation, they replace
OFFSET; the root's OFFSET is zero, so that readers which add the two (as iClone does) show the same motion.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from animoe.errors import InvalidRequest
from animoe.formats.euler_curves import continuous_euler
from animoe.formats.writing import check_writable, write_atomically
from animoe.motion.clip import Clip
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import IDENTITY, Array, inverse, multiply, normalize, rotate
from animoe.rig.skeleton import Skeleton

PositionChannels = Literal["moving", "root", "all"]
ORDERS = ("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX")
STILL_M = 1e-6
"""A joint that strays less than this (metres) from its rest translation gets no position channels."""


def write_bvh(
    path: Path,
    clip: Clip,
    *,
    rotation_order: str = "ZXY",
    unit_per_metre: float = 100.0,
    rest_rotations: Array | None = None,
    positions: PositionChannels = "moving",
) -> None:
    """Writes one clip as BVH; an existing file is replaced in one step.

    Args:
        path: the file to write.
        clip: any skeleton; its rest rotations go into the channels, its rest positions into the OFFSETs.
        rotation_order: order in which the rotation channels are listed and applied (intrinsic).
        unit_per_metre: file units in one metre; 100 writes centimetres.
        rest_rotations: (J, 4) local rotations of the pose that becomes the file's rest pose, such as the rig's
            T-pose; default: the rest pose of the clip's skeleton.
        positions: joints with position channels: "moving" (the root and those whose bone changes), "all", or "root"
            for tools that take no others; stretching is lost then.

    Raises:
        InvalidRequest: unknown order or unit, a rest pose of another shape, a clip without frames or with NaN.
        FileError: the file cannot be written.
    """
    if rotation_order not in ORDERS:
        raise InvalidRequest(f"rotation order {rotation_order!r} is unknown; choose from {', '.join(ORDERS)}")
    if not (np.isfinite(unit_per_metre) and unit_per_metre > 0):
        raise InvalidRequest(f"units per metre must be positive, got {unit_per_metre}")
    if positions not in get_args(PositionChannels):
        raise InvalidRequest(f"positions {positions!r} is unknown; choose from {', '.join(get_args(PositionChannels))}")
    check_writable(clip)
    aligned = model_aligned(clip, rest_rotations)
    moving = _moving_joints(aligned, positions)
    order = _depth_first(aligned.skeleton)
    text = "\n".join(
        [
            *_hierarchy(aligned.skeleton, order, moving, rotation_order, unit_per_metre),
            *_motion(aligned, order, moving, rotation_order, unit_per_metre),
            "",
        ]
    )
    write_atomically(Path(path), text.encode("utf-8", "replace"))


def model_aligned(clip: Clip, rest_rotations: Array | None = None) -> Clip:
    """The same motion on a skeleton with identity rest rotations whose joints rest where `rest_rotations` puts them.

    Args:
        clip: any skeleton.
        rest_rotations: (J, 4) local rotations xyzw of the new rest pose; default: that of the clip's skeleton.

    Raises:
        InvalidRequest: `rest_rotations` of another shape or with NaN.
    """
    skeleton = clip.skeleton
    pose = skeleton.rest_rotations if rest_rotations is None else np.asarray(rest_rotations)
    if pose.shape != skeleton.rest_rotations.shape or not np.isfinite(pose).all():
        raise InvalidRequest(f"the rest pose needs {skeleton.joint_count} finite quaternions, got shape {pose.shape}")
    rest, _ = local_to_model(normalize(pose), skeleton.rest_translations, skeleton.parents)
    above = np.where(skeleton.parents[:, None] < 0, IDENTITY, rest[skeleton.parents])
    rotations = multiply(above, multiply(normalize(clip.local_rotations), inverse(rest)))
    offsets = rotate(above, skeleton.rest_translations)
    straight = Skeleton.build(skeleton.joint_names, skeleton.parents, offsets)
    return Clip(straight, clip.frame_rate_hz, rotations, rotate(above, clip.local_translations), clip.name)


def _moving_joints(clip: Clip, positions: PositionChannels) -> Array:
    """(J,) bool: joints that get position channels; always the root."""
    strays = np.abs(clip.local_translations - clip.skeleton.rest_translations).max(axis=(0, 2)) > STILL_M
    chosen = np.asarray(strays & (positions == "moving") | (positions == "all"))
    chosen[0] = True
    return chosen


def _depth_first(skeleton: Skeleton) -> list[int]:
    """Joint indices in the order in which a BVH lists them. No recursion: chains may be long."""
    order: list[int] = []
    waiting = [0]
    while waiting:
        joint = waiting.pop()
        order.append(joint)
        waiting.extend(reversed(skeleton.children[joint]))
    return order


def _hierarchy(
    skeleton: Skeleton, order: list[int], moving: Array, rotation_order: str, unit_per_metre: float
) -> list[str]:
    names = _plain_names(skeleton.joint_names)
    depth = [0] * skeleton.joint_count
    lines = ["HIERARCHY"]
    open_joints: list[int] = []
    for joint in order:
        parent = int(skeleton.parents[joint])
        while open_joints and open_joints[-1] != parent:
            lines.append("  " * depth[open_joints.pop()] + "}")
        depth[joint] = len(open_joints)
        open_joints.append(joint)
        offset = np.zeros(3) if parent < 0 else skeleton.rest_translations[joint]
        pad = "  " * depth[joint]
        turns = " ".join(f"{axis}rotation" for axis in rotation_order)
        channels = f"6 Xposition Yposition Zposition {turns}" if moving[joint] else f"3 {turns}"
        lines += [f"{pad}{'ROOT' if parent < 0 else 'JOINT'} {names[joint]}", pad + "{"]
        lines += [f"{pad}  OFFSET {_vector(offset * unit_per_metre)}", f"{pad}  CHANNELS {channels}"]
        if not skeleton.children[joint]:
            tip = _vector(_tip(skeleton, joint) * unit_per_metre)
            lines += [f"{pad}  End Site", f"{pad}  {{", f"{pad}    OFFSET {tip}", f"{pad}  }}"]
    lines += ["  " * depth[joint] + "}" for joint in reversed(open_joints)]
    return lines


def _tip(skeleton: Skeleton, joint: int) -> Array:
    """(3,) End Site of a leaf in metres: half its bone further on, 2 to 12 cm; without a bone 5 cm up."""
    bone = skeleton.rest_translations[joint]
    length = float(np.linalg.norm(bone))
    if joint == 0 or length < 1e-4:
        return np.array([0.0, 0.05, 0.0])
    tip: Array = bone / length * np.clip(length / 2, 0.02, 0.12)
    return tip


def _plain_names(names: tuple[str, ...]) -> list[str]:
    """Names without white space and braces, which would end a word of the file; unique and not empty."""
    plain: list[str] = []
    used: set[str] = set()
    for index, name in enumerate(names):
        words = "_".join(name.replace("{", "(").replace("}", ")").split()) or f"joint_{index}"
        unique, copy = words, 2
        while unique in used:
            unique, copy = f"{words}_{copy}", copy + 1
        used.add(unique)
        plain.append(unique)
    return plain


def _motion(clip: Clip, order: list[int], moving: Array, rotation_order: str, unit_per_metre: float) -> list[str]:
    degrees = np.degrees(continuous_euler(clip.local_rotations, rotation_order))
    columns = []
    for joint in order:
        if moving[joint]:
            columns.append(clip.local_translations[:, joint] * unit_per_metre)
        columns.append(degrees[:, joint])
    values = np.round(np.concatenate(columns, axis=1), 6) + 0.0  # + 0.0 turns -0 into 0
    row = " ".join(["%.6f"] * values.shape[1])
    head = ["MOTION", f"Frames: {clip.frame_count}", f"Frame Time: {1 / clip.frame_rate_hz:.9f}"]
    return head + [row % tuple(frame) for frame in values.tolist()]


def _vector(v: Array) -> str:
    x, y, z = np.round(v, 6) + 0.0
    return f"{x:.6f} {y:.6f} {z:.6f}"
