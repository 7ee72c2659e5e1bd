"""Refined codes: never farther from the motion than the encoder's, and only the codes change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animoe.models.kinematics import heading_kinematics
from animoe.models.tokenizer import Tokenizer, TokenizerConfig
from animoe.motion.features import FEATURE_COUNT
from animoe.motion.root_codes import ROOT_GROUPS
from animoe_trainer.refine import refine_all
from animoe_trainer.tokenizer import tokenise_all, whole_tokens


@pytest.fixture(scope="module")
def model() -> Tokenizer:
    torch.manual_seed(0)
    return Tokenizer(TokenizerConfig(pose_groups=2, width=140, encoder_dilations=(1,), decoder_dilations=(1,))).eval()


@pytest.fixture(scope="module")
def motions() -> list[np.ndarray]:
    """Three wavering postures of 9, 20 and 42 frames, as (T, 203) inputs."""
    rng = np.random.default_rng(0)
    found = []
    for count in (9, 20, 42):
        features = np.tile([1, 0, 0, 0, 1, 0], (count, 24))[:, :FEATURE_COUNT].astype(np.float32)
        features = np.roll(features, 4, axis=1) + rng.normal(0, 0.1, (1, FEATURE_COUNT)).astype(np.float32)
        features[:, 3] = 1.0
        positions, _ = heading_kinematics(torch.from_numpy(features)[None])
        found.append(np.concatenate([features, positions[0, :, 1:].reshape(count, -1).numpy()], axis=-1))
    return found


def error_m(model: Tokenizer, motion: np.ndarray, codes: np.ndarray) -> float:
    with torch.no_grad():
        features, _ = model.decode(torch.from_numpy(codes)[None])
    wanted = torch.from_numpy(whole_tokens(motion)[None, :, :FEATURE_COUNT])
    return float((heading_kinematics(features)[0] - heading_kinematics(wanted)[0]).norm(dim=-1).mean())


def test_batches_give_the_codes_of_one_by_one(model: Tokenizer, motions: list[np.ndarray]) -> None:
    for motion, codes in zip(motions, tokenise_all(model, motions), strict=True):
        assert len(codes) == len(motion) // 4
        np.testing.assert_array_equal(codes, tokenise_all(model, [motion])[0])


def test_refined_codes_are_nearer(model: Tokenizer, motions: list[np.ndarray]) -> None:
    before = [error_m(model, m, c) for m, c in zip(motions, tokenise_all(model, motions), strict=True)]
    after = [error_m(model, m, c) for m, c in zip(motions, refine_all(model, motions, steps=30), strict=True)]
    assert all(a <= b + 1e-6 for a, b in zip(after, before, strict=True))
    assert np.mean(after) < 0.9 * np.mean(before)


def test_without_steps_the_encoder_decides(model: Tokenizer, motions: list[np.ndarray]) -> None:
    for refined, plain in zip(refine_all(model, motions, steps=0), tokenise_all(model, motions), strict=True):
        np.testing.assert_array_equal(refined, plain)


def test_the_root_and_the_model_stay_as_they_are(model: Tokenizer, motions: list[np.ndarray]) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    refined = refine_all(model, motions, steps=3)
    for codes, plain in zip(refined, tokenise_all(model, motions), strict=True):
        np.testing.assert_array_equal(codes[:, :ROOT_GROUPS], plain[:, :ROOT_GROUPS])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
