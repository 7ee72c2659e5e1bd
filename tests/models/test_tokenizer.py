"""The tokenizer streams, looks back only, and its torch kinematics agree with numpy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animoe.models import kinematics
from animoe.models.tokenizer import INPUT_COUNT, POSE_COUNT, Tokenizer, TokenizerConfig
from animoe.motion.clip import Clip
from animoe.motion.features import clip_to_features, features_to_clip, heading_positions
from animoe.rig import canonical_skeleton
from animoe.rig.rotations import from_axis_angle, to_matrix

ATOL = 1e-5  # float32 sums in another order
SHAPES = {
    "fsq": TokenizerConfig(pose_groups=2, levels=(4, 4), width=POSE_COUNT),
    "vq": TokenizerConfig(quantiser="vq", pose_groups=2, codebook_size=16, code_dim=4, width=POSE_COUNT),
}


@pytest.fixture(params=SHAPES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    torch.manual_seed(0)
    model = Tokenizer(SHAPES[request.param])
    model.set_statistics(torch.randn(INPUT_COUNT), torch.rand(INPUT_COUNT) + 0.5)
    return model.eval()


def motion(frames: int = 40, seed: int = 0) -> Clip:
    """Smooth random turns of every joint on a random path."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / 30
    angles = 0.6 * np.sin(time * rng.uniform(1, 5, 22) + rng.uniform(0, 6, 22))
    axes = rng.normal(size=(22, 3))
    rotations = from_axis_angle(np.broadcast_to(axes, (frames, 22, 3)), angles)
    root = np.concatenate([np.sin(time * 2), 0.9 + 0.05 * np.sin(time * 5), time * 1.5], axis=-1)
    return Clip.from_root(canonical_skeleton(), 30.0, rotations, root)


@pytest.mark.parametrize("field", [{"quantiser": "pq"}, {"pose_groups": 0}, {"width": 4}])
def test_a_shape_that_cannot_be_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        TokenizerConfig(**field)  # type: ignore[arg-type]


@pytest.mark.parametrize("cuts", [[1], [2, 3, 9], [4, 8], list(range(1, 12))])
def test_decoding_in_chunks_equals_decoding_the_whole(tokenizer: Tokenizer, cuts: list[int]) -> None:
    codes = torch.randint(16, (2, 12, 5))
    with torch.no_grad():
        whole, end = tokenizer.decode(codes)
        state, parts = None, []
        for first, last in zip([0, *cuts], [*cuts, 12], strict=True):
            features, state = tokenizer.decode(codes[:, first:last], state)
            parts.append(features)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=ATOL, rtol=0)
    torch.testing.assert_close(state, end, atol=ATOL, rtol=0)


def test_a_token_is_four_frames(tokenizer: Tokenizer) -> None:
    features, codes, _ = tokenizer(torch.randn(3, 20, INPUT_COUNT))
    assert features.shape == (3, 20, 140)
    assert codes.shape == (3, 5, 2)


def test_later_frames_leave_earlier_tokens_untouched(tokenizer: Tokenizer) -> None:
    inputs = torch.randn(1, 40, INPUT_COUNT)
    changed = inputs.clone()
    changed[:, 20:] = torch.randn(1, 20, INPUT_COUNT)
    with torch.no_grad():
        before, after = tokenizer.encode(inputs)[1], tokenizer.encode(changed)[1]
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


def test_later_tokens_leave_earlier_frames_untouched(tokenizer: Tokenizer) -> None:
    codes = torch.randint(16, (1, 10, 5))
    changed = codes.clone()
    changed[:, 6:] = (codes[:, 6:] + 1) % 16
    with torch.no_grad():
        before, after = tokenizer.decode(codes)[0], tokenizer.decode(changed)[0]
    assert torch.equal(before[:, :24], after[:, :24])
    assert not torch.allclose(before[:, 24:], after[:, 24:])


def test_torch_rotations_equal_numpy_rotations() -> None:
    clip = motion()
    features, _ = clip_to_features(clip)
    rotations = kinematics.matrix_from_6d(torch.from_numpy(features[:, 10:136]).unflatten(-1, (21, 6)))
    np.testing.assert_allclose(rotations.numpy(), to_matrix(clip.local_rotations[:, 1:]), atol=ATOL)


def test_torch_heading_kinematics_equal_numpy() -> None:
    features, _ = clip_to_features(motion())
    positions, _ = kinematics.heading_kinematics(torch.from_numpy(features)[None])
    np.testing.assert_allclose(positions[0, :, 1:].flatten(1).numpy(), heading_positions(features), atol=ATOL)


def test_torch_world_positions_equal_numpy() -> None:
    features, _ = clip_to_features(motion())
    batch = torch.from_numpy(features)[None]
    world = kinematics.world_positions(batch, kinematics.heading_kinematics(batch)[0])
    np.testing.assert_allclose(world[0].numpy(), features_to_clip(features).world()[1], atol=ATOL)
