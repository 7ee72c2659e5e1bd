"""Reference orientation of a rig's joints: how each is turned when the character stands in the canonical T-pose.

Rigs whose rest pose is a plausible T- or A-pose need nothing: the rest pose is the reference. BVH exports that lost
their joint orientation (Bandai Namco: every bone along local X at rest; iClone: shins point up) are known by table.
The tables follow from each rig's bone axis and hinge axes; clavicles, neck and foot pitch are means over people
standing and walking, measured by us and rounded.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from animoe.retarget.alignment import foot_turn
from animoe.rig.canonical import CANONICAL_JOINTS
from animoe.rig.rotations import Array, between, from_axis_angle, from_matrix, inverse, multiply, rotate

X, Y, Z = np.eye(3)
_Columns = tuple[Array, Array, Array]


def _turn(x: Array, y: Array, z: Array) -> Array:
    """Quaternion of the joint whose local axes point along x, y, z of the body (left, up, forward)."""
    return from_matrix(np.stack([x, y, z], axis=-1))


def _pitched(columns: _Columns, degrees: float) -> Array:
    """The same joint leaning forward by `degrees` (about the body's left axis)."""
    return multiply(from_axis_angle(X, np.radians(degrees)), _turn(*columns))


def _bandai() -> dict[str, Array]:
    spine = (Y, Z, X)
    left_leg, right_leg = (-Y, X, Z), (Y, X, -Z)
    left_foot, right_foot = (Z, X, Y), (-Z, X, -Y)
    left_clavicle = between(X, np.array([0.96, 0.05, -0.26]))
    right_clavicle = between(-X, np.array([-0.96, 0.05, -0.26]))
    left_arm, right_arm = _turn(X, Y, Z), _turn(X, -Y, -Z)
    return {
        "pelvis": _turn(Y, -X, Z),
        "spine1": _pitched(spine, 2),
        "spine3": _pitched(spine, 5),
        "neck": _pitched(spine, 8),
        "head": _pitched(spine, 8),
        "left_collar": multiply(left_clavicle, left_arm),
        "right_collar": multiply(right_clavicle, right_arm),
        **{f"left_{j}": left_arm for j in ("shoulder", "elbow", "wrist")},
        **{f"right_{j}": right_arm for j in ("shoulder", "elbow", "wrist")},
        **{f"left_{j}": _turn(*left_leg) for j in ("hip", "knee")},
        **{f"right_{j}": _turn(*right_leg) for j in ("hip", "knee")},
        "left_ankle": _pitched(left_foot, 39.6),
        "right_ankle": _pitched(right_foot, 39.6),
        "left_foot": _pitched(left_foot, 20.0),
        "right_foot": _pitched(right_foot, 20.0),
    }


def _iclone() -> dict[str, Array]:
    upright = (X, Y, Z)
    leg, foot = (-X, -Y, Z), (-X, Z, Y)

    def arm(side: float, degrees: float) -> Array:
        """Bone along local Y, palm turned by `degrees` about it."""
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return _turn(-side * (c * Y + s * Z), side * X, c * Z - s * Y)

    return {
        "pelvis": _turn(*upright),
        "spine1": _pitched(upright, 27),
        "spine2": _pitched(upright, 9),
        "spine3": _pitched(upright, 3),
        "neck": _pitched(upright, 10),
        "head": _pitched(upright, 17),
        "left_collar": multiply(between(X, np.array([0.955, 0.14, -0.25])), arm(1, 14)),
        "right_collar": multiply(between(-X, np.array([-0.955, 0.14, -0.25])), arm(-1, 14)),
        **{f"left_{j}": arm(1, 30) for j in ("shoulder", "elbow")},
        **{f"right_{j}": arm(-1, 30) for j in ("shoulder", "elbow")},
        "left_wrist": arm(1, 18),
        "right_wrist": arm(-1, 18),
        **{f"{side}_{j}": _turn(*leg) for side in ("left", "right") for j in ("hip", "knee")},
        **{f"{side}_ankle": _pitched(foot, 12.6) for side in ("left", "right")},
        **{f"{side}_foot": _turn(*foot) for side in ("left", "right")},
    }


REFERENCES: Mapping[str, Mapping[str, Array]] = {"bandai_namco_bvh": _bandai(), "cc_base_iclone": _iclone()}
"""Rig profile -> canonical joint -> (4,) model rotation of the rig's joint in the canonical T-pose, body axes."""

_CMU_PROFILES = ("cmu_bvh_motionbuilder", "cmu_bvh_daz", "cmu_bvh_3dsmax")
_CMU_ELBOW_DEGREES = -30.0
_CMU_LEAN_DEGREES = 20.0
_MOST_EVERSION_DEGREES = 15.0


def corrected_match(match: Array, joints: Mapping[str, int], positions: Array, body: Array, profile: str) -> Array:
    """Repairs what a rest pose shows wrongly about its rig.

    Shins that lean out further than an ankle can tilt carry their feet with them: soles are square to the shin, not
    flat. CMU's skeleton rests so, and its elbows are hinges turned by 30 degrees about the arm, whatever the names.

    Args:
        match: (22, 4) from `alignment.match_pose`.
        joints: canonical joint -> rig joint.
        positions: (J, 3) of the reference pose.
        body: (4,) the body's turn in it.
        profile: the rig's name profile, may be empty.

    Returns:
        (22, 4) as `match`; the hands' turn does not change.
    """
    match = match.copy()
    leans = {side: _lean(joints, positions, body, side) for side in ("left", "right")}
    for side, lean in leans.items():
        if abs(lean) > _MOST_EVERSION_DEGREES:
            square = multiply(body, from_axis_angle(Z, np.radians(lean)))
            foot = foot_turn(joints, positions, square, side)
            match[[CANONICAL_JOINTS.index(f"{side}_{role}") for role in ("ankle", "foot")]] = foot
    if profile in _CMU_PROFILES or all(abs(abs(lean) - _CMU_LEAN_DEGREES) < 1.0 for lean in leans.values()):
        arms = [CANONICAL_JOINTS.index(f"{side}_{role}") for side in leans for role in ("shoulder", "elbow")]
        match[arms] = multiply(match[arms], from_axis_angle(X, np.radians(_CMU_ELBOW_DEGREES)))
    return match


def _lean(joints: Mapping[str, int], positions: Array, body: Array, side: str) -> float:
    """Degrees by which a shin leans to the body's left, seen from the front."""
    shin = positions[joints[f"{side}_ankle"]] - positions[joints[f"{side}_knee"]]
    across, down, _ = rotate(inverse(body), shin)
    return float(np.degrees(np.arctan2(across, -down)))
