"""Reading a rig: which joint plays which role, found in order of trust, and how sure we are of each.

1. what the user says (`mapping`)   2. the names of a known rig   3. what names mean   4. hierarchy and geometry

Later evidence fills what earlier evidence leaves open, and confirms or contradicts the rest of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from animoe.errors import IncompatibleSkeleton
from animoe.motion.clip import Clip
from animoe.retarget.geometry import Body, find_body, on_four_legs
from animoe.retarget.mapping import RigMapping, resolve
from animoe.retarget.roles import find_roles, match_profile
from animoe.retarget.topology import SPINE_ROLES, is_ancestor, split_spine, with_chains
from animoe.rig.canonical import CANONICAL_JOINTS
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

_LIMBS = (("hip", "knee", "ankle", "foot"), ("collar", "shoulder", "elbow", "wrist"))
_BY_PROFILE, _BY_NAME = 0.95, 0.85
_CONFIRMED, _CONTRADICTED = 0.04, 0.25
"""How much surer we are of a name that geometry confirms; how much less of one that it contradicts."""
_CHAINS = (*SPINE_ROLES, "neck")


class Evidence(Enum):
    """What told the role of a joint, best first."""

    MAPPING = "mapping"
    PROFILE = "profile"
    NAME = "name"
    GEOMETRY = "geometry"


@dataclass(frozen=True, eq=False)
class RigReading:
    """What is known of a rig.

    Attributes:
        skeleton: the rig.
        roles: canonical joint name -> joint indices from the pelvis outwards, in canonical order. `spine2` and `neck`
            may hold several joints, every other role holds one; roles that the rig lacks are absent.
        confidence: role -> 0 to 1.
        evidence: role -> what told it.
        profile: name of the known rig, None when it is none.
        ignored: joints that the mapping takes out.
        positions: (J, 3) model positions in metres of the pose that was looked at: the rest pose if a body could
            stand so, else the frame of the motion that stands most upright.
        moving: `positions` are a frame of the motion.
        notes: what a person should look at, as sentences.
    """

    skeleton: Skeleton
    roles: Mapping[str, tuple[int, ...]]
    confidence: Mapping[str, float]
    evidence: Mapping[str, Evidence]
    profile: str | None
    ignored: frozenset[int]
    positions: Array
    moving: bool
    notes: tuple[str, ...]

    @property
    def overall(self) -> float:
        """0 to 1: the least sure role, as one wrong joint spoils the motion; 0 when there are none."""
        return min(self.confidence.values(), default=0.0)


def inspect_skeleton(
    skeleton: Skeleton,
    *,
    motion: Sequence[Clip] = (),
    mapping: RigMapping | None = None,
    use_names: bool = True,
) -> RigReading:
    """Finds which joint does what.

    Args:
        skeleton: J joints, any axes and unit.
        motion: clips on the skeleton, looked at where the rest pose is no standing body.
        mapping: what the user says; wins over everything.
        use_names: False reads hierarchy and geometry only.

    Returns:
        The reading; roles that were not found are absent.

    Raises:
        IncompatibleSkeleton: the mapping names roles or joints that are not there, or the body stands on four legs.
    """
    given, ignored = resolve(mapping, skeleton) if mapping else ({}, frozenset())
    body = find_body(skeleton, motion)
    profile = match_profile(skeleton) if use_names else None
    named = find_roles(skeleton) if use_names else {}
    told, notes = _without_contradictions(skeleton, _first_joints(named, given, ignored))
    taken = {joint for joints in (*given.values(), *told.values()) for joint in joints} | ignored
    seen = {role: joint for role, joint in body.roles.items() if joint not in taken}
    guessed = {
        role: (j,)
        for role, j in seen.items()
        if role not in told and role not in given and _fits(skeleton, role, j, told)
    }
    roles = {**guessed, **told, **{role: joints[:1] for role, joints in given.items() if joints}}
    roles = _chained(skeleton, roles, given, ignored)
    source = Evidence.PROFILE if profile else Evidence.NAME
    evidence = {role: _evidence(role, joints, given, told, source) for role, joints in roles.items()}
    confidence = {role: _confidence(roles[role], role, evidence[role], body) for role in roles}
    on_four = (body.four_legs and not told) or on_four_legs(
        {r: joints[0] for r, joints in roles.items()}, body.positions
    )
    if on_four and not given:
        raise IncompatibleSkeleton(
            "the rig stands on four legs: arms and legs both point down from a level trunk, and AniMoE moves bodies "
            "that walk on two; if it is one, put it in a T- or A-pose, or name its joints in a mapping file"
        )
    notes += _remarks(skeleton, roles, evidence, body)
    return RigReading(
        skeleton, roles, confidence, evidence, profile, ignored, body.positions, body.moving, tuple(notes)
    )


def _first_joints(
    named: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], ignored: frozenset[int]
) -> dict[str, tuple[int, ...]]:
    """What names tell about roles and joints that the mapping leaves open."""
    used = {joint for joints in given.values() for joint in joints} | ignored
    free = {role: tuple(j for j in joints if j not in used) for role, joints in named.items() if role not in given}
    return {role: joints[:1] for role, joints in free.items() if joints}


def _without_contradictions(
    skeleton: Skeleton, told: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """Drops names whose joints cannot be what they say: a knee that does not hang below its hip, a hip off the
    pelvis, an IK target."""
    kept, notes = dict(told), []
    for side in ("left", "right"):
        for limb in _LIMBS:
            above: int | None = None
            for role in (f"{side}_{joint}" for joint in limb):
                if role not in kept:
                    continue
                joint = kept[role][0]
                if above is not None and not is_ancestor(skeleton.parents, above, joint):
                    notes.append(f"{skeleton.joint_names[joint]!r} is called {role} but hangs elsewhere; not used")
                    del kept[role]
                else:
                    above = joint
    return kept, notes


def _fits(skeleton: Skeleton, role: str, joint: int, told: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a guessed joint can stand beside those of its limb that names tell."""
    side, _, part = role.partition("_")
    limb = next((limb for limb in _LIMBS if part in limb), None)
    if limb is None:
        return True
    place = limb.index(part)
    for other, name in enumerate(limb):
        for known in told.get(f"{side}_{name}", ()):
            low, high = (known, joint) if other < place else (joint, known)
            if other != place and not is_ancestor(skeleton.parents, low, high):
                return False
    return True


def _chained(
    skeleton: Skeleton,
    roles: Mapping[str, tuple[int, ...]],
    given: Mapping[str, tuple[int, ...]],
    ignored: frozenset[int],
) -> dict[str, tuple[int, ...]]:
    """Fills the chains of spine and neck; those that the mapping lists stay exactly as listed."""
    chained = with_chains(skeleton, roles, ignored=ignored)
    if any(role in given for role in SPINE_ROLES):
        listed = sorted({joint for role in SPINE_ROLES for joint in given.get(role, ())})
        chained = {role: joints for role, joints in chained.items() if role not in SPINE_ROLES}
        chained |= split_spine(listed)
    if "neck" in given:
        chained = {role: joints for role, joints in chained.items() if role != "neck"}
        chained |= {"neck": given["neck"]} if given["neck"] else {}
    return {role: chained[role] for role in CANONICAL_JOINTS if role in chained and role not in _none(given)}


def _none(given: Mapping[str, tuple[int, ...]]) -> set[str]:
    return {role for role, joints in given.items() if not joints and role not in SPINE_ROLES}


def _evidence(
    role: str,
    joints: tuple[int, ...],
    given: Mapping[str, tuple[int, ...]],
    told: Mapping[str, tuple[int, ...]],
    source: Evidence,
) -> Evidence:
    group = SPINE_ROLES if role in SPINE_ROLES else (role,)
    if any(given.get(name) for name in group):
        return Evidence.MAPPING
    if set(joints) & {joint for name in group for joint in told.get(name, ())}:
        return source
    return Evidence.GEOMETRY


def _confidence(joints: tuple[int, ...], role: str, evidence: Evidence, body: Body) -> float:
    """0 to 1. A name that geometry confirms is surer, one that it contradicts less sure."""
    if evidence is Evidence.MAPPING:
        return 1.0
    if evidence is Evidence.GEOMETRY:
        return round(body.confidence.get(role, 0.7), 2)
    base = _BY_PROFILE if evidence is Evidence.PROFILE else _BY_NAME
    if role in _CHAINS or role not in body.roles:
        return base
    return round(base + _CONFIRMED if body.roles[role] in joints else base - _CONTRADICTED, 2)


def _remarks(
    skeleton: Skeleton,
    roles: Mapping[str, tuple[int, ...]],
    evidence: Mapping[str, Evidence],
    body: Body,
) -> list[str]:
    """Sentences for a person who checks the reading."""
    names = skeleton.joint_names
    notes = []
    if body.problem and not roles:
        notes.append(f"no body was found: names tell nothing and {body.problem}")
    if body.moving:
        notes.append("no body can stand in the rest pose; hierarchy and geometry were judged in a frame of the motion")
    against = [
        f"{names[joints[0]]!r} is called {role}, geometry says {names[body.roles[role]]!r}"
        for role, joints in roles.items()
        if role in body.roles
        and role not in _CHAINS
        and evidence[role] in (Evidence.PROFILE, Evidence.NAME)
        and body.roles[role] not in joints
    ]
    notes += against[:4]
    lone = [role for role in roles if role.startswith(("left_", "right_")) and _twin(role) not in roles]
    if lone:
        notes.append(f"found on one side only: {', '.join(lone)}")
    return notes


def _twin(role: str) -> str:
    side, _, part = role.partition("_")
    return f"{'right' if side == 'left' else 'left'}_{part}"
