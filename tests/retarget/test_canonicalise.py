"""Any rig in: canonical motion put on a rig and taken back is the same motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from animoe.errors import IncompatibleSkeleton
from animoe.motion.clip import Clip
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.canonicalise import canonicalise
from animoe.retarget.profiles import rig_profile
from animoe.retarget.roles import find_roles, match_profile
from animoe.retarget.solver import Retargeter
from animoe.rig import CANONICAL_JOINTS, Skeleton, canonical_skeleton
from animoe.rig.rotations import angle, from_axis_angle, inverse, multiply, rotate

PROFILES = ["smplx", "mixamo", "ue4_mannequin", "ue5_manny", "unity_humanoid", "vrm1", "kaykit_medium"]
_LIMBS = [CANONICAL_JOINTS.index(f"{s}_{j}") for s in ("left", "right") for j in ("hip", "knee", "shoulder", "elbow")]


def as_clip(block: PoseBlock) -> Clip:
    return Clip.from_root(canonical_skeleton(), 30.0, block.local_rotations, block.root_positions)


def on_rig(block: PoseBlock, name: str) -> Clip:
    retargeter = Retargeter(rig_profile(name))
    return retargeter.to_clip([retargeter.apply(block)])


def limb_error_deg(a: Clip, b: Clip) -> float:
    turned = multiply(inverse(a.local_rotations[:, _LIMBS]), b.local_rotations[:, _LIMBS])
    return float(np.degrees(np.median(angle(turned))))


def test_a_rig_without_legs_is_refused_by_name() -> None:
    skeleton = Skeleton.build(["hips", "spine", "head"], [-1, 0, 1], [[0, 1, 0], [0, 0.3, 0], [0, 0.3, 0]])
    clip = Clip.from_root(skeleton, 30.0, np.tile(skeleton.rest_rotations, (3, 1, 1)), np.zeros((3, 3)))
    with pytest.raises(IncompatibleSkeleton, match="left_hip.*two legs"):
        canonicalise(clip)


def test_the_canonical_skeleton_comes_back_unchanged(walk: PoseBlock) -> None:
    clip = as_clip(walk)
    back = canonicalise(clip)
    np.testing.assert_allclose(back.world()[1], clip.world()[1], atol=2e-3)  # the floor is found, not known


@pytest.mark.parametrize("name", PROFILES)
def test_out_to_a_rig_and_back_keeps_limbs_and_path(walk: PoseBlock, name: str) -> None:
    back = canonicalise(on_rig(walk, name))
    clip = as_clip(walk)
    assert limb_error_deg(clip, back) < 2.0
    travelled = [c.root_positions[-1] - c.root_positions[0] for c in (clip, back)]
    np.testing.assert_allclose(travelled[1], travelled[0], atol=0.05)


def test_other_sizes_give_the_same_canonical_motion(walk: PoseBlock) -> None:
    clip = as_clip(walk)
    giant = Skeleton.build(CANONICAL_JOINTS, clip.skeleton.parents, clip.skeleton.rest_translations * 3)
    scaled = replace(clip, skeleton=giant, local_translations=clip.local_translations * 3)
    np.testing.assert_allclose(canonicalise(scaled).world()[1], canonicalise(clip).world()[1], atol=1e-6)


def test_a_file_that_is_z_up_stands_up(walk: PoseBlock) -> None:
    clip, turn = as_clip(walk), from_axis_angle([1.0, 0.0, 0.0], np.pi / 2)

    def turned(rotations: np.ndarray) -> np.ndarray:
        return multiply(multiply(turn, rotations), inverse(turn))

    skeleton = Skeleton.build(
        CANONICAL_JOINTS,
        clip.skeleton.parents,
        rotate(turn, clip.skeleton.rest_translations),
        turned(clip.skeleton.rest_rotations),
    )
    z_up = Clip(skeleton, 30.0, turned(clip.local_rotations), rotate(turn, clip.local_translations))
    np.testing.assert_allclose(canonicalise(z_up).world()[1], canonicalise(clip).world()[1], atol=1e-6)


def test_a_lying_character_is_not_stood_up(walk: PoseBlock) -> None:
    clip = as_clip(walk)
    lying = clip.local_rotations.copy()
    lying[:, 0] = multiply(from_axis_angle([1.0, 0.0, 0.0], -np.pi / 2), lying[:, 0])
    heights = canonicalise(replace(clip, local_rotations=lying)).world()[1][..., 1]
    assert np.ptp(heights, axis=1).max() < 1.2


def test_a_useless_rest_pose_is_replaced_by_the_most_upright_frame(walk: PoseBlock) -> None:
    """The legs point up at rest, as in exports that lost their joint orientations; in the motion they do not."""
    clip = as_clip(walk)
    flip = from_axis_angle([0.0, 0.0, 1.0], np.pi)
    hips = [CANONICAL_JOINTS.index(f"{side}_hip") for side in ("left", "right")]
    below = [i for i, name in enumerate(CANONICAL_JOINTS) if name.split("_")[-1] in ("knee", "ankle", "foot")]
    offsets, rotations = clip.skeleton.rest_translations.copy(), clip.local_rotations.copy()
    offsets[below] = rotate(flip, offsets[below])
    rotations[:, hips] = multiply(rotations[:, hips], inverse(flip))
    rotations[:, below] = multiply(multiply(flip, rotations[:, below]), inverse(flip))
    skeleton = Skeleton.build(CANONICAL_JOINTS, clip.skeleton.parents, offsets)
    broken = Clip.from_root(skeleton, 30.0, rotations, clip.root_positions)
    np.testing.assert_allclose(broken.world()[1], clip.world()[1], atol=1e-9)
    knees = [CANONICAL_JOINTS.index(f"{side}_{j}") for side in ("left", "right") for j in ("knee", "ankle")]
    np.testing.assert_allclose(canonicalise(broken).world()[1][:, knees], clip.world()[1][:, knees], atol=0.03)


def test_missing_spine_neck_and_toes_are_filled(walk: PoseBlock) -> None:
    clip = as_clip(walk)
    gone = {"spine2", "neck", "left_foot", "right_foot", "left_collar", "right_collar"}
    keep = [i for i, name in enumerate(CANONICAL_JOINTS) if name not in gone]
    world_rotations, world_positions = clip.world()
    parents, rest = [], []
    for i in keep:
        p = int(clip.skeleton.parents[i])
        while p >= 0 and p not in keep:
            p = int(clip.skeleton.parents[p])
        parents.append(keep.index(p) if p >= 0 else -1)
        rest.append(clip.skeleton.rest_model[1][i] - (clip.skeleton.rest_model[1][p] if p >= 0 else 0))
    names = [CANONICAL_JOINTS[i] for i in keep]
    skeleton = Skeleton.build(names, parents, rest)
    local = world_rotations[:, keep].copy()
    for j, p in enumerate(parents):
        if p >= 0:
            local[:, j] = multiply(inverse(world_rotations[:, keep[p]]), world_rotations[:, keep[j]])
    back = canonicalise(Clip.from_root(skeleton, 30.0, local, world_positions[:, 0]))
    assert limb_error_deg(clip, back) < 6.0  # the collars' share moves into the shoulders
    assert np.isfinite(back.local_rotations).all()


def test_ue5_is_not_mistaken_for_ue4() -> None:
    assert match_profile(rig_profile("ue5_manny").skeleton) in ("ue5_manny_quinn", "metahuman_body")
    assert match_profile(rig_profile("ue4_mannequin").skeleton) == "ue4_mannequin"


def test_meaningless_names_have_no_roles() -> None:
    skeleton = canonical_skeleton()
    nameless = Skeleton.build([f"bone_{i}" for i in range(22)], skeleton.parents, skeleton.rest_translations)
    assert find_roles(nameless) == {}


def cmu_like(block: PoseBlock) -> Clip:
    """The canonical motion on a skeleton that rests as CMU's: legs 20 degrees out with the feet square to the shins,
    arms turned by 30 degrees about themselves."""
    clip = as_clip(block)
    turns = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        out = from_axis_angle([0, 0, 1], sign * np.radians(20.0))
        turns |= {f"{side}_{joint}": out for joint in ("hip", "knee", "ankle", "foot")}
        turns |= {f"{side}_{joint}": from_axis_angle([1, 0, 0], np.radians(-30)) for joint in ("shoulder", "elbow")}
    rest = np.stack([turns.get(name, np.array([0.0, 0, 0, 1])) for name in CANONICAL_JOINTS])
    parents = clip.skeleton.parents
    model_rest = np.stack([multiply(rest[i], np.array([0.0, 0, 0, 1])) for i in range(22)])
    # Axes of every joint stay those of the world at rest, as in a BVH file: the bones lean instead.
    arms = [CANONICAL_JOINTS.index(f"{s}_{j}") for s in ("left", "right") for j in ("shoulder", "elbow")]
    leaning = model_rest.copy()
    leaning[arms] = [0.0, 0, 0, 1]
    offsets = clip.skeleton.rest_translations.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            offsets[joint] = rotate(leaning[parent], offsets[joint])
    world = clip.world()[0]
    own = multiply(world, inverse(model_rest)[None])
    local = own.copy()
    local[:, 1:] = multiply(inverse(own[:, parents[1:]]), own[:, 1:])
    return Clip.from_root(Skeleton.build(CANONICAL_JOINTS, parents, offsets), 30.0, local, block.root_positions)


def test_a_rest_pose_as_cmus_gives_flat_soles_and_elbows_that_hinge_as_ours(walk: PoseBlock) -> None:
    back = canonicalise(cmu_like(walk))
    errors = np.degrees(angle(multiply(inverse(walk.local_rotations), back.local_rotations)))
    assert errors.max() < 1e-4


def test_standing_feet_slide_no_more_than_the_rigs_own(walk: PoseBlock) -> None:
    """Short shins below long thighs: on the rig's path our feet would slide."""
    clip = as_clip(walk)
    offsets = clip.skeleton.rest_translations.copy()
    for side in ("left", "right"):
        offsets[CANONICAL_JOINTS.index(f"{side}_knee")] *= 1.4
        offsets[CANONICAL_JOINTS.index(f"{side}_ankle")] *= 0.6
    rig = Skeleton.build(CANONICAL_JOINTS, clip.skeleton.parents, offsets)
    own = Clip.from_root(rig, 30.0, planted_rotations(walk), still_root(rig, planted_rotations(walk)))
    feet = canonicalise(own).world()[1][:, CANONICAL_JOINTS.index("left_foot")]
    assert np.linalg.norm(np.diff(feet[:, [0, 2]], axis=0), axis=-1).max() * 30 < 0.02


def planted_rotations(block: PoseBlock) -> np.ndarray:
    """The left leg swings back over a foot that stays flat; the right knee is up."""
    rotations = np.tile([0.0, 0.0, 0.0, 1.0], (30, 22, 1))
    swing = np.linspace(-0.35, 0.35, 30)
    bend = np.linspace(0.1, 0.5, 30)
    left = (("left_hip", swing), ("left_knee", bend), ("left_ankle", -swing - bend))
    for joint, radians in (*left, ("right_hip", np.full(30, -1.2)), ("right_knee", np.full(30, 1.5))):
        rotations[:, CANONICAL_JOINTS.index(joint)] = from_axis_angle([1.0, 0.0, 0.0], radians)
    return rotations


def still_root(rig: Skeleton, rotations: np.ndarray) -> np.ndarray:
    """(30, 3) the path of the pelvis on which the left foot of the rig stays in one place."""
    clip = Clip.from_root(rig, 30.0, rotations, np.zeros((30, 3)))
    feet: np.ndarray = clip.world()[1][:, CANONICAL_JOINTS.index("left_foot")]
    return [0.0, 0.02, 0.0] - feet


def test_nothing_is_below_the_floor_and_lying_people_lie_on_it(t_pose: PoseBlock) -> None:
    rotations = np.tile(t_pose.local_rotations[:1], (40, 1, 1))
    root = np.tile(t_pose.root_positions[:1], (40, 1))
    root[20] -= [0.0, 0.03, 0.0]  # sinks in for a moment
    dipped = canonicalise(Clip.from_root(canonical_skeleton(), 30.0, rotations, root)).root_positions[:, 1]
    assert dipped[20] == pytest.approx(0.97, abs=1e-9)
    assert np.abs(np.diff(dipped)).max() < 0.031
    rotations[:, 0] = from_axis_angle([1.0, 0.0, 0.0], -np.pi / 2)  # on the back
    lying = canonicalise(Clip.from_root(canonical_skeleton(), 30.0, rotations, root + [0.0, 5.0, 0.0]))
    assert 0.05 < lying.world()[1][0, :, 1].min() < 0.15
