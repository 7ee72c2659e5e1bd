"""Rig: a skeleton whose joints have roles, so that canonical motion can drive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from animoe.errors import IncompatibleSkeleton
from animoe.retarget.roles import find_roles
from animoe.rig.canonical import CANONICAL_JOINTS
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

_SIDES = ("left", "right")
REQUIRED_ROLES: tuple[str, ...] = (
    "pelvis",
    *(f"{side}_{joint}" for joint in ("hip", "knee", "ankle") for side in _SIDES),
    *(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist") for side in _SIDES),
)
"""Roles without which a rig cannot be driven; besides these it needs a spine joint or a head."""
_SPINE = ("spine1", "spine2", "spine3")
_ARM_STARTS = ("left_collar", "right_collar", "left_shoulder", "right_shoulder")
_BONES = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
_LEG_LIMITS_M = (0.05, 20.0)
_MAX_OFFSET_M = 1000.0


@dataclass(frozen=True, eq=False)
class Rig:
    """A skeleton that canonical motion can drive.

    Attributes:
        name: profile name, or "custom".
        skeleton: J joints in our axes, metres.
        roles: canonical joint name -> joint indices from the pelvis outwards. `spine2` and `neck` may hold
            several joints, every other role holds one; roles that the rig lacks are absent.
    """

    name: str
    skeleton: Skeleton
    roles: Mapping[str, tuple[int, ...]]


def rig_from_skeleton(skeleton: Skeleton, *, roles: Mapping[str, str] | None = None, name: str = "custom") -> Rig:
    """Finds out which joint does what, and checks that the rest pose can be driven.

    Args:
        skeleton: the user's rig in our axes (see `frames.skeleton_from_frame`), standing in a T- or A-pose at
            rest.
        roles: canonical joint name -> joint name, for joints whose names we do not know; these win.
        name: what messages call the rig.

    Raises:
        IncompatibleSkeleton: roles that name no joint, missing legs, arms, pelvis or spine, or a rest pose
            that is not a standing one in metres.
    """
    found = {role: tuple(joints) for role, joints in find_roles(skeleton).items()}
    named = _named_roles(skeleton, roles or {})
    given = {joints[0] for joints in named.values()}
    kept = {role: tuple(j for j in joints if j not in given) for role, joints in found.items()}
    merged = _with_chains(skeleton, {**{role: joints for role, joints in kept.items() if joints}, **named})
    _check_roles(skeleton, merged)
    _check_rest(skeleton, merged)
    return Rig(name, skeleton, merged)


def is_ancestor(parents: Array, above: int, joint: int) -> bool:
    """Whether `above` lies on the way from `joint` to the root (a joint is no ancestor of itself)."""
    joint = int(parents[joint])
    while joint > above:
        joint = int(parents[joint])
    return joint == above


def _named_roles(skeleton: Skeleton, roles: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    for role, joint in roles.items():
        if role not in CANONICAL_JOINTS:
            near = get_close_matches(role, CANONICAL_JOINTS, n=3, cutoff=0.3) or CANONICAL_JOINTS
            raise IncompatibleSkeleton(f"unknown role {role!r}; choose from {', '.join(near)}")
        if joint not in skeleton.index:
            near = get_close_matches(joint, skeleton.joint_names, n=3, cutoff=0.3) or skeleton.joint_names[:5]
            raise IncompatibleSkeleton(
                f"role {role!r} names joint {joint!r}, which the skeleton lacks; it has {', '.join(near)}, ..."
            )
    return {role: (skeleton.index[joint],) for role, joint in roles.items()}


def _with_chains(skeleton: Skeleton, roles: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """One joint per role, and every joint along spine and neck, known by name or not.

    The spine runs from the pelvis to where arms, neck and head part, the neck from there to the head.
    """
    single = {role: joints[:1] for role, joints in roles.items()}
    ends = [single[r][0] for r in (*_ARM_STARTS, "neck", "head") if r in single]
    if "pelvis" not in single or not ends:
        return single
    lines = [_line(skeleton, end) for end in ends]
    common = [joint for joint in lines[0] if all(joint in line for line in lines[1:])]
    spine = [joint for joint in common if joint > single["pelvis"][0] and single["pelvis"][0] in common]
    if spine:
        single = {role: joints for role, joints in single.items() if role not in _SPINE}
        single["spine3"] = (spine[-1],)
        single |= {"spine1": (spine[0],)} if len(spine) > 1 else {}
        single |= {"spine2": tuple(spine[1:-1])} if len(spine) > 2 else {}
    if "head" in single and common:
        neck = [joint for joint in _line(skeleton, single["head"][0])[:-1] if joint > common[-1]]
        single = {role: joints for role, joints in single.items() if role != "neck"}
        single |= {"neck": tuple(neck)} if neck else {}
    return single


def _line(skeleton: Skeleton, joint: int) -> list[int]:
    """Joints from the root to `joint`, both included."""
    line = [joint]
    while skeleton.parents[line[-1]] >= 0:
        line.append(int(skeleton.parents[line[-1]]))
    return line[::-1]


def _check_roles(skeleton: Skeleton, roles: Mapping[str, tuple[int, ...]]) -> None:
    missing = [role for role in REQUIRED_ROLES if role not in roles]
    if not any(role in roles for role in (*_SPINE, "head")):
        missing.append("spine1 or head")
    if missing:
        sample = ", ".join(skeleton.joint_names[:8]) + (", ..." if skeleton.joint_count > 8 else "")
        raise IncompatibleSkeleton(
            f"the rig lacks {', '.join(missing)}: none of its {skeleton.joint_count} joints ({sample}) has "
            "a name that we know for it; name the joints in `roles`, or choose a rig that has a pelvis, "
            "legs, arms and a spine"
        )
    for side in _SIDES:
        for upper, lower in _BONES:
            a, b = roles[f"{side}_{upper}"][0], roles[f"{side}_{lower}"][0]
            if not is_ancestor(skeleton.parents, a, b):
                names = skeleton.joint_names
                raise IncompatibleSkeleton(
                    f"joint {names[b]!r} ({side}_{lower}) must hang below {names[a]!r} ({side}_{upper}); "
                    "check the parents, or name the right joints in `roles`"
                )


def _check_rest(skeleton: Skeleton, roles: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses a rest pose that no motion can drive: no length, no body's size, or not standing."""
    lengths = np.linalg.norm(skeleton.rest_rotations, axis=-1)
    bad = np.flatnonzero(np.abs(lengths - 1) > 0.01)
    if len(bad):
        raise IncompatibleSkeleton(
            f"the rest rotation of joint {skeleton.joint_names[bad[0]]!r} has length {lengths[bad[0]]:.3g}; "
            "send unit quaternions in the order x, y, z, w"
        )
    far = np.flatnonzero(np.abs(skeleton.rest_translations).max(axis=-1) > _MAX_OFFSET_M)
    if len(far):
        raise IncompatibleSkeleton(
            f"joint {skeleton.joint_names[far[0]]!r} rests more than {_MAX_OFFSET_M:g} m from its parent; "
            "check the engine frame (its unit is centimetres for Unreal, metres for others), and offsets"
        )
    positions = skeleton.rest_model[1]
    at = {role: positions[joints[-1 if role in _SPINE else 0]] for role, joints in roles.items()}
    _check_sizes(at)
    _check_standing(at)


def _check_sizes(at: Mapping[str, Array]) -> None:
    shortest, longest = _LEG_LIMITS_M
    for side in _SIDES:
        length = sum(_distance(at, f"{side}_{a}", f"{side}_{b}") for a, b in _BONES[:2])
        if not shortest <= length <= longest:
            raise IncompatibleSkeleton(
                f"the {side} leg is {length:.3g} m long at rest, expected {shortest:g} to {longest:g} m; "
                "check the engine frame (its unit is centimetres for Unreal, metres for the others) "
                "and the offsets"
            )
        for a, b in _BONES:
            if _distance(at, f"{side}_{a}", f"{side}_{b}") < 1e-3 * length:
                raise IncompatibleSkeleton(
                    f"{side}_{a} and {side}_{b} are in one place in the rest pose; "
                    "re-export the skeleton with its offsets"
                )


def _check_standing(at: Mapping[str, Array]) -> None:
    hips = (at["left_hip"] + at["right_hip"]) / 2
    top = next(at[role] for role in ("head", "neck", "spine3", "spine2", "spine1") if role in at)
    legs = (at["left_ankle"] + at["right_ankle"]) / 2 - hips
    if not (_upwards(top - hips) > 0.7 and _upwards(-legs) > 0.7):
        raise IncompatibleSkeleton(
            "the rest pose does not stand upright in the engine frame that was named: the head must be above "
            "the hips and the feet below; check the frame (Unreal and Blender are Z up, Unity and glTF Y up) "
            "and send the T- or A-pose, with the rotation of any node above the skeleton included in its root"
        )
    across = at["left_hip"] - at["right_hip"]
    if float(across @ (at["left_shoulder"] - at["right_shoulder"])) <= 0:
        raise IncompatibleSkeleton("left and right of legs and arms disagree in the rest pose; check names and `roles`")
    forward = np.cross(across, top - hips)
    toes = [at[f"{side}_foot"] - at[f"{side}_ankle"] for side in _SIDES if f"{side}_foot" in at]
    if toes and all(_cosine(toe, forward) < -0.3 for toe in toes):
        raise IncompatibleSkeleton(
            "the toes point backwards, so left and right are swapped: the rest pose is not in the engine "
            "frame that was named (Unity and Unreal are left-handed, glTF and Blender right-handed), "
            "or the sides' names are"
        )


def _distance(at: Mapping[str, Array], a: str, b: str) -> float:
    return float(np.linalg.norm(at[a] - at[b]))


def _cosine(a: Array, b: Array) -> float:
    return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)


def _upwards(v: Array) -> float:
    """Cosine of the angle to +Y."""
    return _cosine(v, np.array([0.0, 1.0, 0.0]))
