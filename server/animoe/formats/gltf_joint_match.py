"""Which node of a glTF template follows which joint of a clip, and whether the two rigs are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from animoe.errors import IncompatibleSkeleton
from animoe.formats.gltf_nodes import Joints, fold_scale
from animoe.motion.clip import Clip
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import Array, angle, inverse, multiply, rotate
from animoe.rig.skeleton import Skeleton

SAME_BONE = 0.05
"""Largest difference between a bone of the clip and of the template, as a share of its length ..."""
SAME_BONE_M = 0.005
"""... or in metres, whichever allows more."""
_STILL_RAD = 1e-3
_REMEDY = "retarget the clip onto the template's own rig first (animoe convert IN OUT --into TEMPLATE does both)"


@dataclass(frozen=True, eq=False)
class JointMatch:
    """For each of J template joints:

    Attributes:
        source: (J,) joint of the clip that it follows, -1 where it follows none.
        anchors: (J,) the nearest joint above it that follows one, -1 where none does.
    """

    source: Array
    anchors: Array


def match_joints(template: str, skeleton: Skeleton, clips: Sequence[Clip], joints: Joints) -> JointMatch:
    """Matches by name and checks that the matched joints rest alike.

    Joints of the clip without a node are fine where nothing gets lost: above the first node, because nodes take their
    motion in the world; and ends of chains that never move (exporters leave out end bones).

    Args:
        template: what errors call the template.
        skeleton: of all clips.
        clips: on `skeleton`.
        joints: the template's.

    Raises:
        IncompatibleSkeleton: joints without a node; bones of another length or with other joint axes.
    """
    index = {name: joint for joint, name in enumerate(joints.names)}
    target = np.array([index.get(name, -1) for name in skeleton.joint_names])
    _check_missing(template, skeleton, clips, target)
    source = np.full(len(joints.names), -1)
    source[target[target >= 0]] = np.flatnonzero(target >= 0)
    anchors = _anchors(source, joints.parents)
    _check_bones(template, skeleton, joints, source, anchors)
    return JointMatch(source, anchors)


def _anchors(source: Array, parents: Array) -> Array:
    """(J,) the nearest joint above each that follows one of the clip's; -1 where there is none."""
    anchors = np.full(len(parents), -1)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            anchors[joint] = parent if source[parent] >= 0 else anchors[parent]
    return anchors


def _check_missing(template: str, skeleton: Skeleton, clips: Sequence[Clip], target: Array) -> None:
    parents = skeleton.parents
    below = target >= 0  # something at or below the joint has a node
    for joint in range(len(target) - 1, 0, -1):
        below[parents[joint]] |= below[joint]
    lost = []
    above = np.zeros(len(target), dtype=bool)  # something above the joint has a node
    for joint, parent in enumerate(parents):
        above[joint] = parent >= 0 and (above[parent] or target[parent] >= 0)
        held = not above[joint] if below[joint] else above[joint] and _is_still(clips, joint)
        if target[joint] < 0 and not held:
            lost.append(skeleton.joint_names[joint])
    if lost:
        more = f" and {len(lost) - 8} more" if len(lost) > 8 else ""
        raise IncompatibleSkeleton(
            f"{template} has no node for {len(lost)} of the clip's {skeleton.joint_count} joints: "
            f"{', '.join(lost[:8])}{more}; rename its nodes, or {_REMEDY}"
        )


def _is_still(clips: Sequence[Clip], joint: int) -> bool:
    """Whether the joint keeps its rest rotation in all clips."""
    rest = clips[0].skeleton.rest_rotations[joint]
    return all(bool((angle(multiply(inverse(rest), c.local_rotations[:, joint])) < _STILL_RAD).all()) for c in clips)


def _check_bones(template: str, skeleton: Skeleton, joints: Joints, source: Array, anchors: Array) -> None:
    """Each bone, seen from the joint that carries it, must be the same: so tells lengths, units and joint axes."""
    rest = fold_scale(joints.translations[None], joints.scales, joints.parents)[0]
    ends = np.flatnonzero((source >= 0) & (anchors >= 0))
    theirs = _seen_from(anchors[ends], ends, *local_to_model(joints.rotations, rest, joints.parents))
    ours = _seen_from(source[anchors[ends]], source[ends], *skeleton.rest_model)
    length = np.linalg.norm(theirs, axis=-1)
    excess = np.linalg.norm(ours - theirs, axis=-1) - np.maximum(SAME_BONE * length, SAME_BONE_M)
    if len(ends) and excess.max() > 0:
        worst = int(np.argmax(excess))
        raise IncompatibleSkeleton(
            f"joint {joints.names[ends[worst]]!r} rests at {_metres(ours[worst])} from its parent in the clip and at "
            f"{_metres(theirs[worst])} in {template}: other proportions or joint axes; {_REMEDY}"
        )


def _seen_from(origin: Array, joint: Array, rotations: Array, positions: Array) -> Array:
    """(N, 3) places of joints in the frames of other joints."""
    return rotate(inverse(rotations[origin]), positions[joint] - positions[origin])


def _metres(v: Array) -> str:
    return "(" + ", ".join(f"{x:.3f}" for x in v + 0.0) + ") m"
