"""Rest-pose alignment: the canonical skeleton posed so that it stands like a rig at rest.

Both directions of retargeting copy the change of a joint from its rest pose, in model space:
    in:   G_canonical[j] = G_rig[r(j)] * G_rest[r(j)]^-1 * match[j]
    out:  G_rig[r(j)]    = G_canonical[j] * match[j]^-1 * G_rest[r(j)]
Limb bones of the canonical skeleton are turned by the shortest rotation onto the rig's bones, so limbs point
the same way on both, whatever the rest pose (A, T, or bent). Torso, head and clavicles take the body frame:
their rest shape differs from rig to rig and is no posture. Feet take the body frame turned to where the toes
point, soles flat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from animoe.errors import IncompatibleSkeleton
from animoe.rig.canonical import CANONICAL_JOINTS, canonical_skeleton
from animoe.rig.rotations import Array, between, from_matrix, from_yaw, inverse, multiply, rotate
from animoe.rig.skeleton import Skeleton

CANONICAL_INDEX: Mapping[str, int] = {name: i for i, name in enumerate(CANONICAL_JOINTS)}
_LIMBS = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
_STARTS = {"knee": "hip", "elbow": "shoulder"}
_SNAP_COSINE = float(np.cos(np.radians(25)))
_MIN_BONE = 1e-6


@dataclass(frozen=True, eq=False)
class RestMatch:
    """A rig's rest pose tied to the canonical skeleton's.

    Attributes:
        rest_rotations: (J, 4) model rotations of the rig at rest.
        rest_positions: (J, 3) model positions of the rig at rest.
        match: (22, 4) model rotations of the canonical joints when it stands like the rig at rest.
        body: (4,) the turn from canonical axes (left +X, up +Y, forward +Z) to the rig's body at rest.
        leg_ratio: the rig's leg length over the canonical one.
    """

    rest_rotations: Array
    rest_positions: Array
    match: Array
    body: Array
    leg_ratio: float


def match_rest(skeleton: Skeleton, roles: Mapping[str, Sequence[int]]) -> RestMatch:
    """Poses the canonical skeleton like `skeleton` at rest.

    Args:
        skeleton: the rig, in our axes.
        roles: canonical joint name -> the rig's joints that play it, best first (see `roles.find_roles`).
            Pelvis, hips, knees and ankles are needed; for a role that is absent the match follows its
            parent's.

    Raises:
        IncompatibleSkeleton: hips in one place, no torso to tell up from, or legs of no length.
    """
    joints = {role: candidates[0] for role, candidates in roles.items() if len(candidates)}
    rotations, positions = skeleton.rest_model
    body = body_turn(joints, positions)
    match = match_pose(joints, positions, body)
    ratio = leg_length(positions, joints) / leg_length(canonical_skeleton().rest_model[1], CANONICAL_INDEX)
    return RestMatch(rotations, positions, match, body, ratio)


def leg_length(positions: Array, joints: Mapping[str, int]) -> float:
    """Hip to knee to ankle in a pose (J, 3), mean of both legs.

    Raises:
        IncompatibleSkeleton: a leg has no length.
    """
    lengths = [
        np.linalg.norm(positions[joints[f"{side}_{b}"]] - positions[joints[f"{side}_{a}"]])
        for side in ("left", "right")
        for a, b in _LIMBS[:2]
    ]
    if min(lengths) < _MIN_BONE:
        raise IncompatibleSkeleton("a leg bone has no length in the rest pose; re-export the skeleton with its offsets")
    return float(sum(lengths)) / 2


def body_turn(joints: Mapping[str, int], positions: Array) -> Array:
    """(4,) turn from canonical axes to the rig's body axes at rest.

    Up is the model axis nearest to hips -> chest when that is within 25 degrees: a slight lean is the rig's
    own rest shape (as the canonical chest sits a little behind its hips), not a tilt of the whole body.
    """
    left = _unit(positions[joints["left_hip"]] - positions[joints["right_hip"]])
    if "left_shoulder" in joints and "right_shoulder" in joints:
        left = left + _unit(positions[joints["left_shoulder"]] - positions[joints["right_shoulder"]])
    up = torso_direction(joints, positions)
    axis = int(np.argmax(np.abs(up)))
    if abs(up[axis]) > _SNAP_COSINE:
        up = np.eye(3)[axis] * np.sign(up[axis])
    left = left - up * float(left @ up)
    if np.linalg.norm(left) < 1e-3 or not np.any(up):
        raise IncompatibleSkeleton(
            "cannot tell left and up from the rest pose: hips, chest or head are in one place; "
            "send the rest pose as local translations and rotations of every joint"
        )
    left = _unit(left)
    return from_matrix(np.stack([left, up, np.cross(left, up)], axis=-1))


def facing(body: Array) -> Array:
    """(4,) the yaw of a rig's body (see `body_turn`) at rest: a rig that faces -Z at rest walks towards -Z."""
    forward = rotate(body, np.array([0.0, 0.0, 1.0]))
    yaw: Array = from_yaw(np.arctan2(forward[0], forward[2]))
    return yaw


def torso_direction(joints: Mapping[str, int], positions: Array) -> Array:
    """(..., 3) unit direction from between the hips to the highest spine joint known, of poses (..., J, 3)."""
    top = next((joints[r] for r in ("neck", "head", "spine3", "spine2", "spine1") if r in joints), joints["pelvis"])
    hips = (positions[..., joints["left_hip"], :] + positions[..., joints["right_hip"], :]) / 2
    return _unit(positions[..., top, :] - hips)


def match_pose(joints: Mapping[str, int], positions: Array, body: Array) -> Array:
    """(22, 4) model rotations of the canonical joints when it stands like the pose `positions` (J, 3)."""
    canonical = canonical_skeleton().rest_model[1]
    match: dict[str, Array] = {role: body for role in CANONICAL_JOINTS}
    for side in ("left", "right"):
        for upper, lower in _LIMBS:
            a, b = f"{side}_{upper}", f"{side}_{lower}"
            start = match[f"{side}_{_STARTS[upper]}"] if upper in _STARTS else body
            bone = positions[joints[b]] - positions[joints[a]] if a in joints and b in joints else np.zeros(3)
            rest_bone = rotate(start, canonical[CANONICAL_INDEX[b]] - canonical[CANONICAL_INDEX[a]])
            # The shortest turn adds no twist: an elbow or knee bent at rest turns about its hinge only.
            known = np.linalg.norm(bone) > _MIN_BONE
            match[a] = multiply(between(rest_bone, bone), start) if known else start
        match[f"{side}_wrist"] = match[f"{side}_elbow"]
        match[f"{side}_ankle"] = match[f"{side}_foot"] = foot_turn(joints, positions, body, side)
    return np.stack([match[role] for role in CANONICAL_JOINTS])


def foot_turn(joints: Mapping[str, int], positions: Array, body: Array, side: str) -> Array:
    """(4,) the frame `body`, in which soles are flat, turned about its up axis to where the toes point; `body` itself
    if there are none."""
    toe = joints.get(f"{side}_foot")
    if toe is None:
        return body
    direction = rotate(inverse(body), positions[toe] - positions[joints[f"{side}_ankle"]])
    reach = float(np.hypot(direction[0], direction[2]))
    # A toe joint that lies below the ankle, or behind it, tells nothing about where the foot points.
    if direction[2] < 0.5 * reach or reach < 0.3 * float(np.linalg.norm(direction)) or reach < _MIN_BONE:
        return body
    forward = np.array([0.0, 0.0, 1.0])
    return multiply(body, between(forward, np.array([direction[0], 0.0, direction[2]]) / reach))


def _unit(v: Array) -> Array:
    unit: Array = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
    return unit
