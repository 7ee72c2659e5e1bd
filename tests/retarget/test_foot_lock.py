"""Foot locking: standing feet stand, nothing pops, whatever the chunks and the rig."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from animoe.errors import InvalidRequest, ShapeError
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.foot_lock import OFF, ON, FootLock
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.solver import Retargeter, RetargetOptions, RigBlock
from animoe.rig import Skeleton, canonical_skeleton

LOCKED = RetargetOptions(foot_lock=True)
NAMES = [profile.name for profile in rig_profiles()]
FPS = 30.0
STILL_M = 1e-3
Stride = Callable[..., PoseBlock]


def cut(block: PoseBlock, start: int, end: int) -> PoseBlock:
    headings = None if block.headings is None else block.headings[start:end]
    parts = (block.local_rotations, block.root_positions, block.contacts)
    return PoseBlock(start, *(part[start:end] for part in parts), headings)


def feet(
    rig: Rig, block: PoseBlock, *, lock: bool, roles: tuple[str, ...] = ("left_ankle", "right_ankle")
) -> np.ndarray:
    """(T, feet, 3) world positions."""
    retargeter = Retargeter(rig, options=RetargetOptions(foot_lock=lock))
    positions = retargeter.to_clip([retargeter.apply(block)]).world()[1]
    return positions[:, [rig.roles[role][0] for role in roles]]


def held(block: PoseBlock, ankle: int, landing: int = 2) -> np.ndarray:
    """Frames in which a foot has stood for more than `landing` frames: their index."""
    stands = block.contacts[:, ankle] > ON
    return np.array([t for t in range(landing + 1, len(stands)) if stands[t - landing - 1 : t + 1].all()])


def joined(blocks: list[RigBlock]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([b.local_rotations for b in blocks]), np.concatenate([b.local_translations for b in blocks])


@pytest.mark.parametrize("name", NAMES)
def test_a_foot_that_stands_does_not_move(name: str, stride: Stride) -> None:
    rig, block = rig_profile(name), stride(slide=0.1)
    for side, roles in enumerate((("left_ankle", "left_foot"), ("right_ankle", "right_foot"))):
        frames = held(block, 2 * side)
        with_lock, without = (feet(rig, block, lock=lock, roles=roles) for lock in (True, False))
        steps, slid = (np.diff(places, axis=0)[frames - 1] for places in (with_lock, without))
        slid_m = np.linalg.norm(slid[..., [0, 2]], axis=-1)
        assert np.linalg.norm(steps[..., [0, 2]], axis=-1).max() < STILL_M
        assert np.abs(steps - slid)[..., 1].max() < STILL_M, "its height is the source's"
        assert slid_m.max() > 2e-3 * min(1.0, rig.skeleton.rest_model[1][:, 1].max()), "the source slides"


def test_feet_keep_height_and_orientation(stride: Stride) -> None:
    rig, block = rig_profile("ue5_manny"), stride()
    clips = []
    for options in (LOCKED, RetargetOptions()):
        retargeter = Retargeter(rig, options=options)
        clips.append(retargeter.to_clip([retargeter.apply(block)]).world())
    for role in ("left_ankle", "right_ankle"):
        joint = rig.roles[role][0]
        (q, p), (q0, p0) = [(c[0][:, joint], c[1][:, joint]) for c in clips]
        np.testing.assert_allclose(np.abs(np.sum(q * q0, axis=-1)), 1.0, atol=1e-9)
        np.testing.assert_allclose(p[:, 1], p0[:, 1], atol=1e-3)


@pytest.mark.parametrize(("slide", "speed"), [(0.05, 0.8), (0.1, 0.8), (-0.1, 0.6)])
def test_neither_landing_nor_release_pops(slide: float, speed: float, stride: Stride) -> None:
    rig, block = rig_profile("ue5_manny"), stride(slide=slide, speed=speed)
    peaks = [
        np.linalg.norm(np.diff(feet(rig, block, lock=lock), n=2, axis=0), axis=-1).max() * FPS**2
        for lock in (True, False)
    ]
    assert peaks[0] < 1.5 * peaks[1]


def test_a_released_foot_returns_to_its_source(stride: Stride) -> None:
    rig, block = rig_profile("ue5_manny"), stride(slide=0.1, frames=60)
    contacts = block.contacts.copy()
    contacts[18:] = 0.0
    block = replace(block, contacts=contacts)
    apart = np.linalg.norm(feet(rig, block, lock=True) - feet(rig, block, lock=False), axis=-1)[:, 0]
    assert apart[17] > 0.03
    assert apart[36] < 5e-3 and apart[-1] < 1e-4


def test_a_body_with_odd_hips_follows_its_standing_feet_and_says_so(stride: Stride) -> None:
    """KayKit's hips are three times as far apart as ours in leg lengths: legs alone would be pulled askew."""
    block = stride(slide=0.3)
    for name, follows in (("kaykit_medium", True), ("ue5_manny", False)):
        rig, moved = rig_profile(name), []
        for options in (LOCKED, RetargetOptions()):
            retargeter = Retargeter(rig, options=options)
            out = retargeter.apply(block)
            pelvis = retargeter.to_clip([out]).world()[1][:, rig.roles["pelvis"][0]]
            moved.append((pelvis[:, [0, 2]], out.root_positions[:, [0, 2]]))
        (pelvis, way), (free_pelvis, free_way) = moved
        left = np.abs(pelvis - free_pelvis).max()
        assert (left > 0.01) == follows
        np.testing.assert_allclose(pelvis - free_pelvis, way - free_way, atol=1e-9)


def test_without_contacts_nothing_changes(stride: Stride) -> None:
    block = stride()
    block = replace(block, contacts=np.zeros_like(block.contacts))
    rig = rig_profile("ue5_manny")
    np.testing.assert_allclose(feet(rig, block, lock=True), feet(rig, block, lock=False), atol=1e-9)


def test_a_character_put_elsewhere_takes_its_feet_along(stride: Stride) -> None:
    block = stride(slide=0.1)
    root = block.root_positions.copy()
    root[10:] += [2.0, 0.0, -3.0]
    block, rig = replace(block, root_positions=root), rig_profile("ue5_manny")
    with_lock, without = feet(rig, block, lock=True), feet(rig, block, lock=False)
    np.testing.assert_allclose(with_lock[10], without[10], atol=1e-6)


@pytest.mark.parametrize("sizes", [(1,), (4,), (3, 7, 1), (90,)])
@pytest.mark.parametrize("reach", [0.0, 1.0])
def test_blocks_of_any_size_give_the_same_frames(sizes: tuple[int, ...], reach: float, stride: Stride) -> None:
    block = stride()
    retargeter = Retargeter(rig_profile("ue5_manny"), options=RetargetOptions(foot_lock=True, reach=reach))
    state, parts, start = retargeter.start(), list[RigBlock](), 0
    while start < block.frame_count:
        size = sizes[len(parts) % len(sizes)]
        parts.append(retargeter.apply(cut(block, start, start + size), state))
        start += size
    whole = retargeter.apply(block)
    for found, wanted in zip(joined(parts), joined([whole]), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_many_characters_at_once_are_as_one_by_one(stride: Stride) -> None:
    retargeter = Retargeter(rig_profile("ue5_manny"), options=LOCKED)
    clips = [stride(slide=slide) for slide in (0.0, 0.05, 0.1, 0.3)]
    together, alone = ([retargeter.start() for _ in clips] for _ in range(2))
    for start in range(0, 88, 4):
        blocks = [cut(clip, start, start + 4 - k % 2) for k, clip in enumerate(clips)]  # 3 and 4 frames
        for k, found in enumerate(retargeter.apply_many(blocks, together)):
            wanted = retargeter.apply(blocks[k], alone[k])
            np.testing.assert_allclose(found.local_rotations, wanted.local_rotations, atol=1e-9)
            np.testing.assert_allclose(found.local_translations, wanted.local_translations, atol=1e-9)
            np.testing.assert_array_equal(found.contacts, wanted.contacts)
            assert found.first_frame == blocks[k].first_frame


def test_characters_need_a_state_each(stride: Stride) -> None:
    retargeter = Retargeter(rig_profile("ue5_manny"), options=LOCKED)
    with pytest.raises(ShapeError, match="2 blocks need as many states, got 1"):
        retargeter.apply_many([stride(), stride()], [retargeter.start()])
    assert retargeter.apply_many([], []) == []


@pytest.mark.parametrize(
    ("field", "what"),
    [("local_rotations", "local rotations"), ("root_positions", "root positions"), ("contacts", "contacts")],
)
def test_a_frame_of_nan_is_refused_and_leaves_the_feet_as_they_were(field: str, what: str, stride: Stride) -> None:
    block, retargeter = stride(), Retargeter(rig_profile("ue5_manny"), options=LOCKED)
    broken = getattr(block, field)[4:8].copy()
    broken[2, 1] = np.nan
    state, clean = retargeter.start(), retargeter.start()
    for each in (state, clean):
        retargeter.apply(cut(block, 0, 4), each)
    with pytest.raises(InvalidRequest, match=f"{what} of frame 2 of a block hold NaN"):
        retargeter.apply(replace(cut(block, 4, 8), **{field: broken}), state)
    found, wanted = (retargeter.apply(cut(block, 4, 8), each) for each in (state, clean))
    np.testing.assert_array_equal(found.local_rotations, wanted.local_rotations)


# One foot on the floor, by itself.

LEG_M, FARTHEST_M = 0.8, 0.12
STEP_M = 0.005


def run(lock: FootLock, places: np.ndarray, contacts: np.ndarray) -> np.ndarray:
    """(T,) where the ankle comes out along x; toes lie 0.1 ahead and share its contact."""
    return np.array(
        [x + lock.advance((x, 0.0), (x, 0.1), c, c)[0] for x, c in zip(places.tolist(), contacts.tolist(), strict=True)]
    )


def test_a_landing_foot_slows_down_and_never_turns_back() -> None:
    places, contacts = np.arange(30) * STEP_M, np.arange(30) >= 10
    out = run(FootLock(LEG_M, FARTHEST_M), places, contacts.astype(float))
    steps = np.diff(out)
    np.testing.assert_allclose(steps[:9], STEP_M, atol=1e-12)
    assert (steps[9:] >= -1e-12).all() and (np.diff(steps[8:]) <= 1e-12).all()
    assert steps[12:].max() < 1e-5


def test_locking_needs_more_certainty_than_staying_locked() -> None:
    middle = (ON + OFF) / 2
    places = np.arange(40) * 0.001
    unsure = run(FootLock(LEG_M, FARTHEST_M), places, np.full(40, middle))
    np.testing.assert_allclose(unsure, places, atol=1e-12)
    contacts = np.full(40, middle)
    contacts[5], contacts[30:] = ON + 0.01, OFF - 0.01
    out = run(FootLock(LEG_M, FARTHEST_M), places, contacts)
    assert abs(out[29] - out[8]) < 1e-6, "still locked at a probability that would not have locked it"
    assert out[-1] - out[29] > 0.9 * (places[-1] - out[29]), "let go"


def test_a_source_that_slides_too_far_is_let_go_until_its_contact_ends() -> None:
    step = 0.02
    places, contacts = np.arange(60) * step, np.ones(60)
    contacts[40:45] = 0.0
    out = run(FootLock(LEG_M, FARTHEST_M), places, contacts)
    apart = np.abs(out - places)
    assert apart.max() < FARTHEST_M + step
    assert apart[25:40].max() < 2e-3, "banned: it follows its source although it stands"
    assert apart[49] > 0.05, "a new contact locks again"


def test_a_foot_that_was_let_go_stands_again_when_its_source_does_though_the_contact_lasts() -> None:
    sliding, drifting = np.arange(20) * 0.02, 19 * 0.02 + np.arange(1, 81) * 0.001
    places = np.concatenate([sliding, drifting])
    out = run(FootLock(LEG_M, FARTHEST_M), places, np.ones(100))
    assert np.abs(out - places).max() < FARTHEST_M + 0.02
    assert np.abs(np.diff(out)).max() < 0.04, "it comes back without a jump"
    assert np.abs(np.diff(out[50:])).max() < 1e-5, "while the source drifts on"


def test_a_held_joint_may_change_from_heel_to_toe_without_a_jump() -> None:
    lock, before = FootLock(LEG_M, FARTHEST_M), 0.0
    for frame in range(30):
        x = frame * 0.002
        offset = lock.advance((x, 0.0), (x, 0.1), float(frame < 15), float(frame >= 10))[0]
        assert abs(x + offset - before) <= 0.002 + 1e-9
        before = x + offset


# Rigs that lack joints, or have more.


def without(*names: str) -> Skeleton:
    """The canonical skeleton less some joints; their children hang on what is above."""
    skeleton = canonical_skeleton()
    keep = [j for j, name in enumerate(skeleton.joint_names) if name not in names]
    above = {-1: -1}
    for joint, parent in enumerate(skeleton.parents.tolist()):
        above[joint] = joint if joint in keep else above[parent]
    parents = [above[int(skeleton.parents[j])] for j in keep]
    at = skeleton.rest_model[1]
    offsets = [at[j] - (at[p] if p >= 0 else 0) for j, p in zip(keep, parents, strict=True)]
    return Skeleton.build(
        [skeleton.joint_names[j] for j in keep], [keep.index(p) if p >= 0 else -1 for p in parents], offsets
    )


def with_roots(count: int) -> Skeleton:
    """The canonical skeleton below `count` more joints on the floor."""
    skeleton = canonical_skeleton()
    names = [f"Root{k}" for k in range(count)] + list(skeleton.joint_names)
    parents = [*range(-1, count - 1), *(max(int(p) + count, count - 1) for p in skeleton.parents)]
    return Skeleton.build(names, parents, [[0, 0, 0]] * count + skeleton.rest_translations.tolist())


def with_spines(count: int) -> Skeleton:
    """The canonical skeleton with `count` joints between hips and shoulders."""
    skeleton = without("spine1", "spine2", "spine3")
    names, parents = list(skeleton.joint_names), skeleton.parents.tolist()
    at = [*skeleton.rest_model[1]]
    bottom, top = np.array([0.0, 1.07, -0.01]), np.array([0.0, 1.29, -0.01])
    order = [0, *range(-count, 0), *range(1, len(names))]
    names += [f"spine_{k + 1:02d}" for k in range(count)]
    first = len(parents)
    parents += [0 if k == 0 else first + k - 1 for k in range(count)]
    at += [bottom + (top - bottom) * k / max(count - 1, 1) for k in range(count)]
    for name in ("neck", "left_collar", "right_collar"):
        parents[names.index(name)] = len(names) - 1
    order = [j % len(names) for j in order][: len(names)]
    new = {old: i for i, old in enumerate(order)}
    offsets = [at[j] - (at[parents[j]] if parents[j] >= 0 else 0) for j in order]
    return Skeleton.build(
        [names[j] for j in order], [new[parents[j]] if parents[j] >= 0 else -1 for j in order], offsets
    )


SKELETONS: dict[str, Callable[[], Skeleton]] = {
    "no toes": lambda: without("left_foot", "right_foot"),
    "toes on one side": lambda: without("left_foot"),
    "no clavicles": lambda: without("left_collar", "right_collar"),
    "no neck": lambda: without("neck"),
    "no head": lambda: without("neck", "head"),
    **{f"{count} spine joints": lambda count=count: with_spines(count) for count in (1, 2, 3, 4, 5)},  # type: ignore[misc]
    "a root": lambda: with_roots(1),
    "three roots": lambda: with_roots(3),
}


@pytest.mark.parametrize("kind", SKELETONS)
def test_feet_stand_on_rigs_that_lack_joints_or_have_more(kind: str, stride: Stride) -> None:
    rig, block = rig_from_skeleton(SKELETONS[kind]()), stride(slide=0.1)
    retargeter = Retargeter(rig, options=RetargetOptions(foot_lock=True, reach=0.5))
    state = retargeter.start()
    parts = [retargeter.apply(cut(block, s, s + 4), state) for s in range(0, 88, 4)]
    positions = retargeter.to_clip(parts).world()[1]
    assert np.isfinite(positions).all()
    for side, role in enumerate(("left_ankle", "right_ankle")):
        frames = held(block, 2 * side)
        frames = frames[frames < 88]
        steps = np.linalg.norm(np.diff(positions[:, rig.roles[role][0]], axis=0), axis=-1)[frames - 1]
        assert steps.max() < STILL_M
