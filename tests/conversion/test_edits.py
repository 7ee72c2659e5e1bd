"""Parts, the way up and staying in place, on the clip's own skeleton."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from animoe.conversion.edits import in_place, part_of, take_part, travelling_joint, upright
from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.rig.rotations import from_axis_angle, inverse, multiply, rotate
from animoe.rig.skeleton import Skeleton

_ATOL_M = 1e-9


def below_a_turned_root(clip: Clip) -> Clip:
    """The clip with a root that stays at the origin, tilted, above the pelvis that travels."""
    tilt = from_axis_angle([1, 0.3, 0], 1.1)
    old = clip.skeleton
    skeleton = Skeleton.build(
        ("root", *old.joint_names),
        [-1, *(old.parents + 1)],
        np.concatenate([np.zeros((1, 3)), old.rest_translations]),
        np.concatenate([tilt[None], multiply(inverse(tilt), old.rest_rotations[:1]), old.rest_rotations[1:]]),
    )
    count = clip.frame_count
    rotations = np.concatenate([np.tile(tilt, (count, 1, 1)), clip.local_rotations], axis=1)
    rotations[:, 1] = multiply(inverse(tilt), rotations[:, 1])
    translations = np.concatenate([np.zeros((count, 1, 3)), clip.local_translations], axis=1)
    translations[:, 1] = rotate(inverse(tilt), translations[:, 1])
    return Clip(skeleton, clip.frame_rate_hz, rotations, translations, clip.name)


def test_a_part_begins_and_ends_at_its_seconds(walk: Clip) -> None:
    part = take_part(walk, part_of(walk, 0.5, 1.0))
    assert part.frame_count == 15
    np.testing.assert_array_equal(part.local_rotations, walk.local_rotations[15:30])
    assert take_part(walk, part_of(walk, None, None)).frame_count == walk.frame_count
    assert take_part(walk, part_of(walk, 1.0, 99.0)).frame_count == 15


def test_a_part_behind_the_end_is_refused(walk: Clip) -> None:
    with pytest.raises(InvalidRequest, match=r"--start 1.5 lies behind the end of clip 'walk' \(1.50 s\)"):
        part_of(walk, 1.5, None)


@pytest.mark.parametrize("rooted", [False, True])
def test_in_place_keeps_the_pose_and_the_height_and_leaves_the_way_out(walk: Clip, rooted: bool) -> None:
    clip = below_a_turned_root(walk) if rooted else walk
    joint = travelling_joint(clip)
    assert clip.skeleton.joint_names[joint] == "pelvis"
    before, after = clip.world(), in_place(clip).world()
    np.testing.assert_allclose(after[0], before[0], atol=_ATOL_M)
    np.testing.assert_allclose(np.ptp(after[1][:, joint], axis=0)[[0, 2]], 0, atol=_ATOL_M)
    np.testing.assert_allclose(after[1][..., 1], before[1][..., 1], atol=_ATOL_M)
    arms = [p[:, joint:] - p[:, joint, None] for p in (before[1], after[1])]
    np.testing.assert_allclose(arms[0], arms[1], atol=_ATOL_M)


def test_a_constant_offset_is_no_travelling(walk: Clip) -> None:
    clip = below_a_turned_root(walk)
    clip.local_translations[:, 0] += [0.0, 0.2, 0.1]
    assert clip.skeleton.joint_names[travelling_joint(clip)] == "pelvis"


def test_a_file_along_z_is_turned_upright_rest_pose_and_motion(walk: Clip) -> None:
    turn = from_axis_angle([1, 0, 0], np.pi / 2)
    old = walk.skeleton
    rest = (old.rest_rotations.copy(), old.rest_translations.copy())
    rest[0][0], rest[1][0] = multiply(turn, rest[0][0]), rotate(turn, rest[1][0])
    rotations, translations = walk.local_rotations.copy(), walk.local_translations.copy()
    rotations[:, 0], translations[:, 0] = multiply(turn, rotations[:, 0]), rotate(turn, translations[:, 0])
    along_z = Clip(replace(old, rest_rotations=rest[0], rest_translations=rest[1]), 30.0, rotations, translations)
    back = upright(along_z)
    np.testing.assert_allclose(back.world()[1], walk.world()[1], atol=1e-9)
    np.testing.assert_allclose(back.skeleton.rest_model[1], old.rest_model[1], atol=1e-9)
    assert upright(walk) is walk


def test_what_is_no_body_stays_as_it_is() -> None:
    skeleton = Skeleton.build(("door", "hinge"), (-1, 0), [[0, 0, 0], [1, 0, 0]])
    door = Clip.from_root(skeleton, 30.0, np.tile([0.0, 0, 0, 1], (4, 2, 1)), np.zeros((4, 3)))
    assert upright(door) is door
    np.testing.assert_array_equal(in_place(door).local_translations, door.local_translations)
