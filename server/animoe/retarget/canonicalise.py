"""Any rig in: a clip on any skeleton -> the same motion on the canonical skeleton.

Every canonical joint copies the *change* of the rig's joint from its reference pose, in model space:
    G_canonical[j](t) = G_rig[r(j)](t) * G_rig_reference[r(j)]^-1 * G_match[j]
where G_match poses the canonical skeleton like the rig's reference pose. Rotations are never rebuilt from positions.
Sizes follow from the legs: root motion is scaled by the ratio of leg lengths, feet are put on the floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from animoe.errors import IncompatibleSkeleton
from animoe.motion.clip import Clip
from animoe.motion.pose_block import CONTACT_JOINTS
from animoe.retarget.alignment import CANONICAL_INDEX, body_turn, leg_length, match_pose, torso_direction
from animoe.retarget.chain_turns import read_neck, read_spine
from animoe.retarget.mapping import RigMapping
from animoe.retarget.reading import inspect_skeleton
from animoe.retarget.reference import REFERENCES, corrected_match
from animoe.retarget.roles import find_roles, match_profile
from animoe.retarget.stance import body_clearance, floor_height, lift, stance_path
from animoe.retarget.topology import SPINE_ROLES, with_chains
from animoe.rig.canonical import CANONICAL_JOINTS, FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.kinematics import model_to_local
from animoe.rig.rotations import Array, between, inverse, multiply, rotate, slerp, unroll
from animoe.rig.skeleton import Skeleton

_REQUIRED = ("pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")
_BETWEEN = {"spine2": ("spine1", "spine3"), "spine1": ("pelvis", "spine3"), "neck": ("spine3", "head")}
_HIPS = ("left_hip", "right_hip")
_PLAUSIBLE_STANCE = 0.5
"""Above this mean error a rest pose is no standing person (BVH exports that lost their joint orientations)."""


@dataclass(frozen=True, eq=False)
class RigReference:
    """A rig in its reference pose, tied to the canonical skeleton.

    Attributes:
        joints: canonical joint name -> rig joint index, for the roles that the rig has.
        offsets: canonical joint name -> (4,) G_rig_reference^-1 * G_match.
        scale: canonical leg length over the rig's leg length (also turns file units into metres).
        spine, neck: (joint, offset) of every joint along them, from the pelvis outwards; empty where single joints say
            enough.
    """

    joints: Mapping[str, int]
    offsets: Mapping[str, Array]
    scale: float
    spine: Sequence[tuple[int, Array]] = ()
    neck: Sequence[tuple[int, Array]] = ()


def canonicalise(clip: Clip, mapping: RigMapping | None = None) -> Clip:
    """Brings a clip onto the canonical skeleton, 30 fps, metres, Y up, feet on the floor.

    Args:
        clip: any rig that stands on two legs.
        mapping: what the user says of the rig's joints; without it names tell, or else hierarchy and geometry.

    Raises:
        IncompatibleSkeleton: the rig has no legs or no pelvis that we can recognise, or a leg of no length; or the
            mapping names joints that are not there.
    """
    clip = clip.resampled(FRAME_RATE_HZ)
    world_rotations, world_positions = clip.world()
    reference = rig_reference(clip, world_rotations, world_positions, mapping)
    upright = _upright(clip.skeleton, reference, world_rotations)
    model = {role: multiply(world_rotations[:, r], reference.offsets[role]) for role, r in reference.joints.items()}
    model = {role: multiply(upright, q) for role, q in model.items()}
    spine, neck = (
        [multiply(upright, multiply(world_rotations[:, joint], offset)) for joint, offset in chain]
        for chain in (reference.spine, reference.neck)
    )
    model |= read_spine(model["pelvis"], spine)
    model |= read_neck(model.get("spine3", model["pelvis"]), neck, model.get("head")) if neck else {}
    rotations = unroll(model_to_local(_fill(model), canonical_skeleton().parents))
    known = [role for role in (*_HIPS, *CONTACT_JOINTS) if role in reference.joints]
    own = {role: rotate(upright, world_positions[:, reference.joints[role]]) * reference.scale for role in known}
    return _grounded(rotations, own, model["pelvis"], clip.name)


def upright_turn(clip: Clip, mapping: RigMapping | None = None) -> Array:
    """(4,) turn of the world, in right angles, after which the clip stands along +Y. Errors as `canonicalise`."""
    world_rotations, world_positions = clip.world()
    reference = rig_reference(clip, world_rotations, world_positions, mapping)
    return _upright(clip.skeleton, reference, world_rotations)


def role_positions(clip: Clip, roles: Sequence[str]) -> Array:
    """Where a rig's own joints are, in the size and axes of the canonical skeleton, at 30 fps.

    Args:
        clip: on any rig.
        roles: canonical joint names; toes that the rig lacks lie at the ankle.

    Returns:
        (T, roles, 3) metres, Y up; the floor is where the file has it.

    Raises:
        IncompatibleSkeleton: as `canonicalise`, or the rig lacks another role.
    """
    clip = clip.resampled(FRAME_RATE_HZ)
    world_rotations, world_positions = clip.world()
    reference = rig_reference(clip, world_rotations, world_positions)
    found = [role if role in reference.joints else role.replace("foot", "ankle") for role in roles]
    for role in found:
        if role not in reference.joints:
            raise IncompatibleSkeleton(f"the rig lacks {role}; name the joint in a mapping file")
    upright = _upright(clip.skeleton, reference, world_rotations)
    return rotate(upright, world_positions[:, [reference.joints[role] for role in found]]) * reference.scale


def rig_reference(
    clip: Clip, world_rotations: Array, world_positions: Array, mapping: RigMapping | None = None
) -> RigReference:
    """Finds roles, reference pose and scale of a clip's rig."""
    skeleton = clip.skeleton
    named = {role: candidates[0] for role, candidates in find_roles(skeleton).items()}
    joints = named
    if mapping is not None or any(role not in named for role in _REQUIRED):
        reading = inspect_skeleton(skeleton, motion=[clip], mapping=mapping)
        joints = {role: found[0] for role, found in reading.roles.items()}
    missing = [role for role in _REQUIRED if role not in joints]
    if missing:
        raise IncompatibleSkeleton(
            f"cannot find {', '.join(missing)} among the {skeleton.joint_count} joints "
            f"({', '.join(skeleton.joint_names[:6])}, ...); a character needs a pelvis and two legs; "
            "if it has them, name them in a mapping file ('animoe rigs inspect')"
        )
    # A table knows the profile's own joints only, not those that a mapping puts in their place.
    known = all(named.get(role) == joint for role, joint in joints.items())
    profile = (match_profile(skeleton) or "") if known else ""
    table = REFERENCES.get(profile)
    spine: list[tuple[int, Array]] = []
    neck: list[tuple[int, Array]] = []
    if table is not None:  # tables hold T-pose orientations, where every canonical joint is at identity
        offsets = {role: inverse(table[role]) for role in joints if role in table}
    else:
        rotations, positions = _reference_pose(skeleton, joints, world_rotations, world_positions)
        body = body_turn(joints, positions)
        match = corrected_match(match_pose(joints, positions, body), joints, positions, body, profile)
        offsets = {role: multiply(inverse(rotations[r]), match[CANONICAL_INDEX[role]]) for role, r in joints.items()}
        chains = with_chains(skeleton, {role: (joint,) for role, joint in joints.items()})
        spine, neck = (
            [(joint, multiply(inverse(rotations[joint]), body)) for role in roles for joint in chains.get(role, ())]
            for roles in (SPINE_ROLES, ("neck",))
        )
    own_legs = leg_length(skeleton.rest_model[1], joints)
    canonical_legs = leg_length(canonical_skeleton().rest_model[1], CANONICAL_INDEX)
    return RigReference({r: joints[r] for r in offsets}, offsets, canonical_legs / own_legs, spine, neck)


def _reference_pose(
    skeleton: Skeleton, joints: Mapping[str, int], rotations: Array, positions: Array
) -> tuple[Array, Array]:
    """Model rotations (J, 4) and positions (J, 3): the rest pose if a person could stand so, else the frame of the
    clip that stands most upright."""
    rest_rotations, rest_positions = skeleton.rest_model
    if _stance_error(joints, rest_positions) < _PLAUSIBLE_STANCE:
        return rest_rotations, rest_positions
    best = int(np.argmin(_stance_error(joints, positions)))
    return rotations[best], positions[best]


def _stance_error(joints: Mapping[str, int], positions: Array) -> Array:
    """(...) how far poses (..., J, 3) are from standing: mean over leg bones of 1 - cos(angle to the torso's line)."""
    torso = torso_direction(joints, positions)
    errors = []
    for side in ("left", "right"):
        for upper, lower in (("hip", "knee"), ("knee", "ankle")):
            bone = positions[..., joints[f"{side}_{lower}"], :] - positions[..., joints[f"{side}_{upper}"], :]
            length = np.maximum(np.linalg.norm(bone, axis=-1), 1e-9)
            errors.append(1 + np.sum(bone * torso, axis=-1) / length)
    return np.asarray(np.mean(errors, axis=0))


def _upright(skeleton: Skeleton, reference: RigReference, world_rotations: Array) -> Array:
    """(4,) turn of the world, in right angles, that makes +Y the way up.

    The file's up axis is another one when rest pose *and* motion stand along it. One alone proves nothing: a lying
    character does not stand along Y, and some rigs rest in Z-up below a root that turns them in every frame.
    """
    y = np.array([0.0, 1.0, 0.0])
    torso = multiply(world_rotations[:, reference.joints["pelvis"]], reference.offsets["pelvis"])
    moving = rotate(torso, y).mean(axis=0)
    resting = torso_direction(reference.joints, skeleton.rest_model[1])
    axis = int(np.argmax(np.abs(moving)))
    if axis == 1 or axis != int(np.argmax(np.abs(resting))) or moving[axis] * resting[axis] < 0.5:
        return np.array([0.0, 0.0, 0.0, 1.0])
    return between(np.eye(3)[axis] * np.sign(moving[axis]), y)


def _fill(model: Mapping[str, Array]) -> Array:
    """(T, 22, 4) model rotations; a joint that the rig lacks lies between its neighbours or follows its parent."""
    parents = canonical_skeleton().parents
    filled = dict(model)
    for role, (below, above) in _BETWEEN.items():
        if role not in filled and below in filled and above in filled:
            filled[role] = slerp(filled[below], filled[above], np.full(len(filled[below]), 0.5))
    for joint, role in enumerate(CANONICAL_JOINTS):
        if role not in filled:
            filled[role] = filled[CANONICAL_JOINTS[parents[joint]]]
    return np.stack([filled[role] for role in CANONICAL_JOINTS], axis=1)


def _grounded(rotations: Array, own: Mapping[str, Array], pelvis: Array, name: str) -> Clip:
    """Places the canonical pelvis so that hip joints meet the rig's `own`, role -> (T, 3); then puts the body on the
    floor y = 0 and lets standing feet move as the rig's do (see `stance`)."""
    skeleton = canonical_skeleton()
    centre = skeleton.rest_translations[[CANONICAL_INDEX["left_hip"], CANONICAL_INDEX["right_hip"]]].mean(axis=0)
    root = (own["left_hip"] + own["right_hip"]) / 2 - rotate(pelvis, centre)
    clip = Clip.from_root(skeleton, FRAME_RATE_HZ, rotations, root, name)
    turned, positions = clip.world()
    clearance = body_clearance(turned, positions)
    rise = lift(clearance - floor_height(clearance)) - floor_height(clearance)
    positions[..., 1] += rise[:, None]
    feet = [role for role in CONTACT_JOINTS if role in own]
    columns = [CANONICAL_INDEX[role] for role in feet]
    heights = skeleton.rest_model[1][columns, 1]
    root = root + stance_path(positions[:, columns], np.stack([own[role] for role in feet], axis=1), heights)
    root[:, 1] += rise
    return Clip.from_root(skeleton, FRAME_RATE_HZ, rotations, root, name)
