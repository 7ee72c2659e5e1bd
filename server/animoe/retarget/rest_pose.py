"""Builds the rest pose of a named rig by rule: the canonical body, posed, with the rig's bone axes.

A profile file gives, for the middle and the left side of the body (the right is its mirror image):
    name, parent, role    role = canonical joint, or null for a helper joint such as a root on the floor
    offset                from the parent in metres, in the T-pose (left, up, forward); default: the
                          canonical offset between the two roles, times the profile's scale
    points                direction of a limb bone: degrees [below horizontal, forward] for arms,
                          [outwards, forward] of straight down for legs
    lean, out             degrees that the joint leans forward; that it is turned outwards (feet)
    straight              true: the joint is turned as its parent is (hands)
    roll                  degrees that the bone axes are turned about the bone, bones staying where they are:
                          knees outwards, backs of the hands forward
    axes                  key into the profile's table of bone axes, where it differs from the role's
and a table of bone axes: for each kind of joint where its local x, y, z point in the T-pose, such as "y -x
z". Nothing here is measured on a rig: proportions are the canonical body's, angles and axes are the rig's
conventions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from animoe.retarget.alignment import CANONICAL_INDEX
from animoe.rig.canonical import canonical_skeleton
from animoe.rig.kinematics import model_to_local
from animoe.rig.rotations import (
    IDENTITY,
    Array,
    between,
    from_axis_angle,
    from_matrix,
    inverse,
    multiply,
    rotate,
)
from animoe.rig.skeleton import Skeleton

_KINDS = {
    "collar": "arm",
    "shoulder": "arm",
    "elbow": "arm",
    "wrist": "hand",
    "hip": "leg",
    "knee": "leg",
    "ankle": "foot",
    "foot": "toe",
}
_UNIT = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True, eq=False)
class _Joint:
    """One joint of a profile, sides resolved."""

    name: str
    parent: str | None
    role: str | None
    side: str  # "left", "right" or ""
    row: Mapping[str, Any]


def build_skeleton(profile: Mapping[str, Any]) -> Skeleton:
    """Makes the skeleton, in our axes and metres, that a profile file describes."""
    joints = _both_sides(profile["joints"], profile["sides"])
    index = {joint.name: i for i, joint in enumerate(joints)}
    parents = np.array([-1 if joint.parent is None else index[joint.parent] for joint in joints])
    turns, positions = np.empty((len(joints), 4)), np.zeros((len(joints), 3))
    for i, joint in enumerate(joints):
        above = joints[parents[i]] if parents[i] >= 0 else None
        turn_above = turns[parents[i]] if above else IDENTITY
        offset = _offset(joint, above, joints, parents, profile.get("scale", 1.0))
        positions[i] = (positions[parents[i]] if above else 0.0) + rotate(turn_above, offset)
        turns[i] = _turn(joint, turn_above)
    model = np.stack([multiply(t, _axes(j, profile["axes"])) for t, j in zip(turns, joints, strict=True)])
    return _from_model([joint.name for joint in joints], parents, model, positions)


def _from_model(names: Sequence[str], parents: Array, rotations: Array, positions: Array) -> Skeleton:
    local = positions.copy()
    child = np.flatnonzero(parents >= 0)
    above = parents[child]
    local[child] = rotate(inverse(rotations[above]), positions[child] - positions[above])
    return Skeleton.build(names, parents, local, model_to_local(rotations, parents))


def _both_sides(rows: Sequence[Mapping[str, Any]], sides: Sequence[str]) -> list[_Joint]:
    """The rows in order, every left one followed by its twin on the right, named by exchanging `sides`."""
    joints = []
    left_mark, right_mark = sides
    for row in rows:
        name, parent, role = row["name"], row["parent"], row["role"]
        left = left_mark in name
        joints.append(_Joint(name, parent, role, "left" if left else "", row))
        if left:
            other = None if role is None else role.replace("left_", "right_")
            twin, above = (str(n).replace(left_mark, right_mark) for n in (name, parent))
            joints.append(_Joint(twin, above, other, "right", row))
    return joints


def _offset(joint: _Joint, above: _Joint | None, joints: Sequence[_Joint], parents: Array, scale: float) -> Array:
    """(3,) metres from the parent in the T-pose."""
    if "offset" in joint.row:
        given: Array = np.array(joint.row["offset"]) * [-1.0 if joint.side == "right" else 1.0, 1.0, 1.0]
        return given
    rest = canonical_skeleton().rest_model[1]
    if joint.role is None:
        return np.zeros(3)
    while above is not None and above.role is None:
        place = parents[joints.index(above)]
        above = joints[place] if place >= 0 else None
    start = rest[CANONICAL_INDEX[above.role]] if above is not None and above.role else np.zeros(3)
    default: Array = (rest[CANONICAL_INDEX[joint.role]] - start) * scale
    return default


def _turn(joint: _Joint, above: Array) -> Array:
    """(4,) how far the joint is turned from the T-pose, in model space."""
    row = joint.row
    if row.get("straight"):
        return above
    if "points" in row:
        first, forward = np.radians(row["points"])
        if "hip" in str(joint.role) or "knee" in str(joint.role):
            rest = np.array([0.0, -1.0, 0.0])
            bone = np.array([np.tan(first), -1.0, np.tan(forward)])
        else:
            rest = np.array([1.0, 0.0, 0.0])
            bone = np.array([np.cos(first) * np.cos(forward), -np.sin(first), np.cos(first) * np.sin(forward)])
        left = _mirrored(above) if joint.side == "right" else above
        start = left if str(joint.role).endswith(("elbow", "knee")) else IDENTITY
        turn = multiply(between(rotate(start, rest), bone), start)
    else:
        turn = from_axis_angle([1.0, 0.0, 0.0], np.radians(row.get("lean", 0.0)))
        turn = multiply(from_axis_angle([0.0, 1.0, 0.0], np.radians(row.get("out", 0.0))), turn)
    return _mirrored(turn) if joint.side == "right" else turn


def _mirrored(turn: Array) -> Array:
    """The same turn on the other side of the body (reflected in the plane x = 0)."""
    mirrored: Array = turn * [1.0, -1.0, -1.0, 1.0]
    return mirrored


def _axes(joint: _Joint, table: Mapping[str, str]) -> Array:
    """(4,) orientation of the joint in the T-pose."""
    kind = joint.row.get("axes") or (_KINDS.get(str(joint.role).partition("_")[2]) if joint.role else "root")
    key = f"{joint.side}_{kind}" if joint.side else "torso" if kind is None else str(kind)
    columns = [_signed_axis(word) for word in table[key].split()]
    bone = [0.0, 1.0, 0.0] if kind == "leg" else [1.0, 0.0, 0.0]
    roll = from_axis_angle(bone, np.radians(joint.row.get("roll", 0.0)))
    roll = _mirrored(roll) if joint.side == "right" else roll
    return multiply(roll, from_matrix(np.stack(columns, axis=-1)))


def _signed_axis(word: str) -> Array:
    axis: Array = np.eye(3)[_UNIT[word[-1]]] * (-1.0 if word[0] == "-" else 1.0)
    return axis
