"""Rigs whose names mean nothing are read by hierarchy and geometry."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from animoe.errors import IncompatibleSkeleton
from animoe.motion.clip import Clip
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.reading import Evidence, inspect_skeleton
from animoe.retarget.rig import rig_from_skeleton
from animoe.retarget.solver import Retargeter
from animoe.rig import Skeleton, canonical_skeleton
from animoe.rig.kinematics import model_to_local
from animoe.rig.rotations import from_axis_angle, from_yaw, inverse, multiply, normalize, rotate

NAMES = [profile.name for profile in rig_profiles()]
Roles = Mapping[str, tuple[int, ...]]


def shuffled(skeleton: Skeleton, seed: int = 0) -> tuple[Skeleton, dict[int, int]]:
    """Meaningless names, siblings in random order; and old joint -> new joint."""
    random = np.random.default_rng(seed)
    order, waiting = [], [0]
    while waiting:
        order.append(waiting.pop(random.integers(len(waiting))))
        waiting.extend(skeleton.children[order[-1]])
    new = {old: i for i, old in enumerate(order)}
    parents = [new.get(int(skeleton.parents[old]), -1) for old in order]
    names = [f"bone_{i:03d}" for i in range(len(order))]
    return Skeleton.build(names, parents, skeleton.rest_translations[order], skeleton.rest_rotations[order]), new


def placed(roles: Roles, new: Mapping[int, int]) -> dict[str, tuple[int, ...]]:
    return {role: tuple(new[joint] for joint in joints) for role, joints in roles.items()}


def turned(skeleton: Skeleton, turn: np.ndarray) -> Skeleton:
    """The skeleton with its root turned."""
    rotations, translations = skeleton.rest_rotations.copy(), skeleton.rest_translations.copy()
    rotations[0], translations[0] = multiply(turn, rotations[0]), rotate(turn, translations[0])
    return Skeleton.build(skeleton.joint_names, skeleton.parents, translations, rotations)


def grown(skeleton: Skeleton, joints: list[tuple[str, str, list[float]]]) -> Skeleton:
    """The skeleton with more joints (name, parent, model offset in metres from the parent); axes of the world."""
    names, parents = list(skeleton.joint_names), [int(p) for p in skeleton.parents]
    offsets = [skeleton.rest_model[1][j] - (skeleton.rest_model[1][p] if p >= 0 else 0) for j, p in enumerate(parents)]
    for name, parent, offset in joints:
        parents.append(names.index(parent))
        names.append(name)
        offsets.append(np.array(offset))
    return Skeleton.build(names, parents, np.array(offsets))


def chain(
    name: str, parent: str, start: list[float], step: list[float], count: int
) -> list[tuple[str, str, list[float]]]:
    links = [(f"{name}{i}", f"{name}{i - 1}" if i else parent, step if i else start) for i in range(count)]
    return links


def pair(
    name: str, parent: str, start: list[float], step: list[float], count: int
) -> list[tuple[str, str, list[float]]]:
    """The chain and its mirror image; `parent` may hold "left"."""
    other = parent.replace("left", "right")
    mirror = np.array([-1.0, 1.0, 1.0])
    right = chain(f"{name}_r", other, list(mirror * start), list(mirror * step), count)
    return chain(f"{name}_l", parent, start, step, count) + right


def assert_read(skeleton: Skeleton, roles: Roles, seed: int = 0) -> None:
    """Every role is found by geometry alone, whatever the order of joints."""
    nameless, new = shuffled(skeleton, seed)
    reading = inspect_skeleton(nameless)
    assert dict(reading.roles) == placed(roles, new)
    assert set(reading.evidence.values()) == {Evidence.GEOMETRY}


def canonical_roles(skeleton: Skeleton) -> dict[str, tuple[int, ...]]:
    return {name: (skeleton.index[name],) for name in canonical_skeleton().joint_names}


@pytest.mark.parametrize("name", NAMES)
def test_a_known_rig_is_found_without_its_names(name: str) -> None:
    rig = rig_profile(name)
    for seed in range(3):
        assert_read(rig.skeleton, rig.roles, seed)


@pytest.mark.parametrize("degrees", [0, 90, 180, 250])
def test_left_and_right_follow_from_the_toes_wherever_the_body_faces(degrees: float) -> None:
    rig = rig_profile("ue4_mannequin")
    assert_read(turned(rig.skeleton, from_yaw(np.radians(degrees))), rig.roles)


@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 0, 1], [-1, 0, 0]])
def test_the_up_axis_does_not_matter(axis: list[float]) -> None:
    rig = rig_profile("mixamo")
    assert_read(turned(rig.skeleton, from_axis_angle(axis, np.pi / 2)), rig.roles)


def test_size_and_bone_axes_do_not_matter() -> None:
    canonical = canonical_skeleton()
    random = np.random.default_rng(3)
    axes = normalize(random.normal(size=(22, 4)))
    parents, offsets = canonical.parents, canonical.rest_translations * 93.0
    offsets[1:] = rotate(inverse(axes[parents[1:]]), offsets[1:])
    assert_read(
        Skeleton.build(canonical.joint_names, parents, offsets, model_to_local(axes, parents)),
        canonical_roles(canonical),
    )


EXTRAS = {
    "IK targets under an extra root": [
        ("ik_f", "pelvis", [0, -0.97, 0]), *pair("ik_foot", "ik_f", [0.09, 0.08, 0], [0, 0, 0.1], 1),
    ],
    "twist joints": [
        *pair("twist", "left_shoulder", [0.13, 0, 0], [0.08, 0, 0], 1),
        *pair("roll", "left_hip", [0, -0.2, 0], [0, -0.1, 0], 2),
    ],
    "a skirt": [
        *pair("front", "pelvis", [0.08, -0.05, 0.12], [0.01, -0.16, 0.01], 5),
        *pair("back", "pelvis", [0.08, -0.05, -0.12], [0.01, -0.16, -0.01], 5),
    ],
    "a tail": chain("tail", "pelvis", [0, -0.05, -0.1], [0, -0.05, -0.12], 7),
    "two tails of hair": pair("hair", "head", [0.1, 0.1, -0.05], [0.01, -0.14, 0], 6),
    "wings": pair("wing", "spine3", [0.06, 0.05, -0.12], [0.25, 0.12, -0.15], 4),
    "a sword in one hand": chain("sword", "left_wrist", [0.08, 0, 0.02], [0, 0, 0.5], 3),
    "a face": [
        *pair("eye", "head", [0.03, 0.07, 0.08], [0, 0, 0.02], 1),
        *chain("jaw", "head", [0, 0.0, 0.02], [0, -0.02, 0.05], 3),
    ],
    "ends of chains": [
        ("top", "head", [0, 0.2, 0]), *pair("toe_end", "left_foot", [0, 0, 0.08], [0, 0, 0.01], 1),
    ],
    "fingers": [
        link for i in range(4) for link in pair(f"finger{i}", "left_wrist", [0.09, 0, 0.03 - 0.02 * i], [0.03, 0, 0], 3)
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", EXTRAS)
def test_what_is_no_body_is_passed_over(kind: str) -> None:
    skeleton = grown(canonical_skeleton(), EXTRAS[kind])
    assert_read(skeleton, canonical_roles(skeleton))


def test_all_extras_at_once() -> None:
    skeleton = grown(canonical_skeleton(), [joint for joints in EXTRAS.values() for joint in joints])
    for seed in range(3):
        assert_read(skeleton, canonical_roles(skeleton), seed)


def test_split_limbs_are_one_bone_each() -> None:
    """Thigh, shin, upper arm and forearm of two joints each, in line, as deform rigs have them."""
    canonical = canonical_skeleton()
    names, parents, offsets = (
        list(canonical.joint_names),
        [int(p) for p in canonical.parents],
        canonical.rest_translations,
    )
    halves = [j for j, name in enumerate(names) if name.endswith(("knee", "ankle", "elbow", "wrist"))]
    table: list[tuple[str, str | None, np.ndarray]] = []
    for joint, name in enumerate(names):
        above = names[parents[joint]] if parents[joint] >= 0 else None
        if joint in halves:
            table.append((f"{name}_half", above, offsets[joint] / 2))
            above = f"{name}_half"
        table.append((name, above, offsets[joint] / (2 if joint in halves else 1)))
    order = [name for name, _, _ in table]
    split = Skeleton.build(
        order, [-1 if above is None else order.index(above) for _, above, _ in table], [o for _, _, o in table]
    )
    assert_read(split, canonical_roles(split))


def test_joints_in_one_place_count_once() -> None:
    """A second head and a second pelvis joint in the same place, as exporters add them."""
    skeleton = grown(canonical_skeleton(), [("face_root", "head", [0, 0, 0]), ("eye", "face_root", [0, 0.07, 0.08])])
    assert_read(skeleton, canonical_roles(skeleton))


@pytest.mark.parametrize("missing", ["neck", "collar", "foot", "spine2"])
def test_missing_joints_are_no_hindrance(missing: str) -> None:
    canonical = canonical_skeleton()
    kept = [j for j, name in enumerate(canonical.joint_names) if not name.endswith(missing)]
    places, parents = canonical.rest_model[1], []
    for joint in kept:
        above = int(canonical.parents[joint])
        while above >= 0 and above not in kept:
            above = int(canonical.parents[above])
        parents.append(above)
    offsets = [places[j] - (places[p] if p >= 0 else 0) for j, p in zip(kept, parents, strict=True)]
    names = [canonical.joint_names[j] for j in kept]
    skeleton = Skeleton.build(names, [kept.index(p) if p >= 0 else -1 for p in parents], offsets)
    assert_read(skeleton, {name: (i,) for i, name in enumerate(names)})


def test_a_rest_pose_that_is_no_pose_is_read_in_the_motion(walk: PoseBlock) -> None:
    """Every bone along X at rest, as BVH files without joint orientations have it; the motion stands."""
    canonical = canonical_skeleton()
    solver = Retargeter(rig_from_skeleton(canonical))
    clip = solver.to_clip([solver.apply(walk)])
    along_x = np.linalg.norm(canonical.rest_translations, axis=-1, keepdims=True) * [1.0, 0.0, 0.0]
    heap = Skeleton.build([f"b{i}" for i in range(22)], canonical.parents, along_x)
    reading = inspect_skeleton(heap)
    assert reading.roles == {} and "no body was found" in reading.notes[0]
    motion = Clip(heap, clip.frame_rate_hz, clip.local_rotations, clip.local_translations)
    reading = inspect_skeleton(heap, motion=[motion])
    assert dict(reading.roles) == {name: (i,) for i, name in enumerate(canonical.joint_names)}
    assert reading.moving and "frame of the motion" in reading.notes[0]


def dog() -> Skeleton:
    joints = [
        *chain("spine", "hips", [0, 0.02, 0.2], [0, 0.0, 0.2], 3), ("neck", "spine2", [0, 0.15, 0.15]),
        ("skull", "neck", [0, 0.1, 0.12]), *chain("tail", "hips", [0, 0, -0.1], [0, -0.05, -0.1], 4),
        *pair("hind", "hips", [0.08, 0, 0], [0, -0.22, 0], 3),
        *pair("fore", "spine2", [0.08, -0.02, 0], [0, -0.22, 0], 3),
        ("hind_toe_l", "hind_l2", [0, -0.05, 0.06]), ("hind_toe_r", "hind_r2", [0, -0.05, 0.06]),
        ("fore_toe_l", "fore_l2", [0, -0.05, 0.06]), ("fore_toe_r", "fore_r2", [0, -0.05, 0.06]),
    ]  # fmt: skip
    return grown(Skeleton.build(["hips"], [-1], [[0, 0.5, 0]]), joints)


def test_a_body_on_four_legs_is_refused() -> None:
    with pytest.raises(IncompatibleSkeleton, match="stands on four legs.*mapping file"):
        inspect_skeleton(shuffled(dog())[0])


def test_a_body_on_four_legs_is_refused_whatever_its_names() -> None:
    names = {
        "hips": "hips",
        "neck": "neck",
        "skull": "head",
        "spine0": "spine",
        "spine1": "chest",
        "spine2": "upperChest",
    }
    for side, word in (("l", "left"), ("r", "right")):
        names |= {f"hind_{side}{i}": f"{word}{part}" for i, part in enumerate(("UpperLeg", "LowerLeg", "Foot"))}
        names |= {f"fore_{side}{i}": f"{word}{part}" for i, part in enumerate(("UpperArm", "LowerArm", "Hand"))}
    animal = dog()
    named = Skeleton.build([names.get(n, n) for n in animal.joint_names], animal.parents, animal.rest_translations)
    with pytest.raises(IncompatibleSkeleton, match="stands on four legs"):
        inspect_skeleton(named)


def test_legs_that_walk_on_their_toes_are_not_guessed() -> None:
    canonical = canonical_skeleton()
    offsets = canonical.rest_translations.copy()
    for side in ("left", "right"):
        offsets[canonical.index[f"{side}_knee"]] = [0, -0.35, 0.2]
        offsets[canonical.index[f"{side}_ankle"]] = [0, -0.3, -0.28]
        offsets[canonical.index[f"{side}_foot"]] = [0, -0.25, 0.08]
    faun = Skeleton.build([f"b{i}" for i in range(22)], canonical.parents, offsets)
    reading = inspect_skeleton(faun)
    assert reading.roles == {} and "walks on its toes" in reading.notes[0]


@pytest.mark.parametrize("seed", range(6))
def test_random_trees_are_no_bodies(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(3, 300))
    parents = [-1, *(int(random.integers(max(0, i - 8), i)) for i in range(1, count))]
    tree = Skeleton.build([f"b{i}" for i in range(count)], parents, random.normal(size=(count, 3)))
    assert inspect_skeleton(tree).roles == {}


@pytest.mark.parametrize("count", [1, 2, 2000])
def test_small_and_large_skeletons_without_a_body_are_read_to_the_end(count: int) -> None:
    parents = [-1, *((i - 1) // 14 for i in range(1, count))]
    reading = inspect_skeleton(Skeleton.build([f"b{i}" for i in range(count)], parents, np.ones((count, 3))))
    assert reading.overall == 0.0 or reading.roles
    huge = Skeleton.build([f"b{i}" for i in range(count)], parents, np.full((count, 3), 1e300))
    assert inspect_skeleton(huge).roles == {}
