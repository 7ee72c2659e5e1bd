"""Forward kinematics: by hand, against 4x4 matrices, and back."""

from __future__ import annotations

import numpy as np

from animoe.rig import canonical_skeleton, local_to_model, model_to_local
from animoe.rig.rotations import IDENTITY, from_axis_angle, normalize, to_matrix

ATOL_M = 1e-12
PARENTS = canonical_skeleton().parents


def random_pose(frames: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return normalize(rng.normal(size=(frames, 22, 4))), rng.normal(size=(frames, 22, 3))


def test_identity_rotations_add_up_offsets() -> None:
    skeleton = canonical_skeleton()
    positions = local_to_model(np.tile(IDENTITY, (22, 1)), skeleton.rest_translations, PARENTS)[1]
    wrist = skeleton.index["left_wrist"]
    chain = [
        "pelvis",
        "spine1",
        "spine2",
        "spine3",
        "left_collar",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
    ]
    expected = sum(skeleton.rest_translations[skeleton.index[n]] for n in chain)
    np.testing.assert_allclose(positions[wrist], expected, atol=ATOL_M)


def test_bent_arm_by_hand() -> None:
    """An upper arm along +X turned a quarter about +Z points up; the forearm turned back points to +X."""
    quarter = np.pi / 2
    rotations = np.stack([from_axis_angle([0, 0, 1], quarter), from_axis_angle([0, 0, 1], -quarter), IDENTITY])
    translations = np.array([[0.0, 1, 0], [0.3, 0, 0], [0.2, 0, 0]])
    model_rotations, positions = local_to_model(rotations, translations, np.array([-1, 0, 1]))
    np.testing.assert_allclose(positions, [[0, 1, 0], [0, 1.3, 0], [0.2, 1.3, 0]], atol=ATOL_M)
    np.testing.assert_allclose(model_rotations[2], IDENTITY, atol=ATOL_M)


def test_agrees_with_homogeneous_matrices() -> None:
    rotations, translations = random_pose()
    model_rotations, positions = local_to_model(rotations, translations, PARENTS)
    local = np.zeros((*rotations.shape[:2], 4, 4))
    local[..., :3, :3], local[..., :3, 3], local[..., 3, 3] = to_matrix(rotations), translations, 1
    world = local.copy()
    for joint in range(1, 22):
        world[:, joint] = world[:, PARENTS[joint]] @ local[:, joint]
    np.testing.assert_allclose(to_matrix(model_rotations), world[..., :3, :3], atol=ATOL_M)
    np.testing.assert_allclose(positions, world[..., :3, 3], atol=ATOL_M)


def test_model_to_local_undoes_local_to_model() -> None:
    rotations, translations = random_pose()
    model_rotations, _ = local_to_model(rotations, translations, PARENTS)
    np.testing.assert_allclose(model_to_local(model_rotations, PARENTS), rotations, atol=ATOL_M)


def test_frames_do_not_influence_each_other_and_inputs_are_kept() -> None:
    rotations, translations = random_pose()
    before = rotations.copy(), translations.copy()
    together = local_to_model(rotations, translations, PARENTS)[1]
    alone = np.stack([local_to_model(r, t, PARENTS)[1] for r, t in zip(rotations, translations, strict=True)])
    model_to_local(rotations, PARENTS)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(rotations, before[0])
    np.testing.assert_array_equal(translations, before[1])


def test_turning_the_root_turns_the_whole_body_rigidly() -> None:
    rotations, translations = random_pose(1)
    straight = local_to_model(rotations, translations, PARENTS)[1][0]
    rotations[:, 0] = from_axis_angle([1, 2, 3], 1.0)
    turned = local_to_model(rotations, translations, PARENTS)[1][0]
    distances = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (straight, turned)]
    np.testing.assert_allclose(*distances, atol=ATOL_M)
    assert not np.allclose(straight, turned)
