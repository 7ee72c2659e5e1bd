"""Rig: a skeleton whose joints have roles, so that canonical motion can drive it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from animoe.errors import IncompatibleSkeleton
from animoe.motion.clip import Clip
from animoe.retarget.mapping import RigMapping, as_mapping
from animoe.retarget.reading import inspect_skeleton
from animoe.retarget.topology import SPINE_ROLES, is_ancestor, with_chains
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

_SIDES = ("left", "right")
REQUIRED_ROLES: tuple[str, ...] = (
    "pelvis",
    *(f"{side}_{joint}" for joint in ("hip", "knee", "ankle") for side in _SIDES),
    *(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist") for side in _SIDES),
)
"""Roles without which a rig cannot be driven; besides these it needs a spine joint or a head."""
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


def rig_from_skeleton(
    skeleton: Skeleton,
    *,
    roles: Mapping[str, str] | None = None,
    mapping: RigMapping | None = None,
    motion: Sequence[Clip] = (),
    name: str = "custom",
) -> Rig:
    """Finds out which joint does what, and checks that the rest pose can be driven.

    Args:
        skeleton: the user's rig in our axes (see `frames.skeleton_from_frame`), standing in a T- or A-pose at
            rest.
        roles: canonical joint name -> joint name, for joints that would be found wrongly; these win. Spine and neck
            still hold every joint on their way.
        mapping: the user's mapping file; wins as well, and its spine and neck are taken as listed.
        motion: clips on the skeleton that may help to tell what is what.
        name: what messages call the rig.

    Raises:
        IncompatibleSkeleton: roles that name no joint, missing legs, arms, pelvis or spine, or a rest pose
            that is not a standing one in metres.
    """
    _check_numbers(skeleton)
    reading = inspect_skeleton(skeleton, motion=motion, mapping=_merged(roles, mapping))
    found = reading.roles
    if roles and not mapping:
        found = with_chains(skeleton, found)
    check_rig(skeleton, found)
    return Rig(name, skeleton, found)


def check_rig(skeleton: Skeleton, roles: Mapping[str, tuple[int, ...]]) -> None:
    """Raises IncompatibleSkeleton when canonical motion cannot drive a skeleton with these roles."""
    _check_numbers(skeleton)
    _check_roles(skeleton, roles)
    _check_rest(skeleton, roles)


def _merged(roles: Mapping[str, str] | None, mapping: RigMapping | None) -> RigMapping | None:
    """Roles given in code on top of a mapping file."""
    if mapping is None:
        return as_mapping(roles) if roles else None
    return replace(mapping, roles={**mapping.roles, **as_mapping(roles).roles})


def _check_roles(skeleton: Skeleton, roles: Mapping[str, tuple[int, ...]]) -> None:
    missing = [role for role in REQUIRED_ROLES if role not in roles]
    if not any(role in roles for role in (*SPINE_ROLES, "head")):
        missing.append("spine1 or head")
    if missing:
        sample = ", ".join(skeleton.joint_names[:8]) + (", ..." if skeleton.joint_count > 8 else "")
        raise IncompatibleSkeleton(
            f"the rig lacks {', '.join(missing)}: neither names nor shape of its {skeleton.joint_count} joints "
            f"({sample}) tell them; name the joints in `roles` or in a mapping file ('animoe rigs inspect'), or choose "
            "a rig that has a pelvis, legs, arms and a spine"
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


def _check_numbers(skeleton: Skeleton) -> None:
    """Refuses rest rotations that are none, and offsets of another world."""
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


def _check_rest(skeleton: Skeleton, roles: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses a rest pose that no motion can drive: no length, no body's size, or not standing."""
    positions = skeleton.rest_model[1]
    at = {role: positions[joints[-1 if role in SPINE_ROLES else 0]] for role, joints in roles.items()}
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
