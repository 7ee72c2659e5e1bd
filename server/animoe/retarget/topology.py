"""The tree of a skeleton: who hangs below whom, and the chains of spine and neck."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton

SPINE_ROLES = ("spine1", "spine2", "spine3")
_ARM_STARTS = ("left_collar", "right_collar", "left_shoulder", "right_shoulder")


def is_ancestor(parents: Array, above: int, joint: int) -> bool:
    """Whether `above` lies on the way from `joint` to the root (a joint is no ancestor of itself)."""
    joint = int(parents[joint])
    while joint > above:
        joint = int(parents[joint])
    return joint == above


def line_to(skeleton: Skeleton, joint: int) -> list[int]:
    """Joints from the root to `joint`, both included."""
    line = [joint]
    while skeleton.parents[line[-1]] >= 0:
        line.append(int(skeleton.parents[line[-1]]))
    return line[::-1]


def subtree(skeleton: Skeleton, joint: int) -> list[int]:
    """`joint` and every joint below it, parents before children."""
    found = [joint]
    for above in found:
        found.extend(skeleton.children[above])
    return found


def split_spine(chain: list[int]) -> dict[str, tuple[int, ...]]:
    """Spine joints from the pelvis outwards -> roles: the last is the chest, the first the loins."""
    if not chain:
        return {}
    roles: dict[str, tuple[int, ...]] = {"spine3": (chain[-1],)}
    if len(chain) > 1:
        roles["spine1"] = (chain[0],)
    if len(chain) > 2:
        roles["spine2"] = tuple(chain[1:-1])
    return roles


def with_chains(
    skeleton: Skeleton, roles: Mapping[str, tuple[int, ...]], *, ignored: Collection[int] = ()
) -> dict[str, tuple[int, ...]]:
    """One joint per role, and every joint along spine and neck, known by name or not.

    The spine runs from the pelvis to where arms, neck and head part, the neck from there to the head.

    Args:
        skeleton: the rig.
        roles: canonical joint name -> joints, best first.
        ignored: joints that play no role wherever they are.
    """
    single = {role: joints[:1] for role, joints in roles.items()}
    ends = [single[r][0] for r in (*_ARM_STARTS, "neck", "head") if r in single]
    if "pelvis" not in single or not ends:
        return single
    pelvis = single["pelvis"][0]
    lines = [line_to(skeleton, end) for end in ends]
    common = [joint for joint in lines[0] if all(joint in line for line in lines[1:])]
    # A head right above the shoulders' joint would count as common with itself alone.
    common = [joint for joint in common if joint not in ends]
    spine = [joint for joint in common if joint > pelvis and pelvis in common and joint not in ignored]
    if spine:
        single = {role: joints for role, joints in single.items() if role not in SPINE_ROLES}
        single |= split_spine(spine)
    if "head" in single and common:
        above = [joint for joint in line_to(skeleton, single["head"][0])[:-1] if joint > common[-1]]
        neck = tuple(joint for joint in above if joint not in ignored)
        single = {role: joints for role, joints in single.items() if role != "neck"}
        single |= {"neck": neck} if neck else {}
    return single
