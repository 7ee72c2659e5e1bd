"""Networks of the evaluator: true lengths, reversal, embedding length."""

from __future__ import annotations

import pytest
import torch

from animoe.models.evaluator import (
    EMBEDDING_NORM,
    MIN_FRAMES,
    MOTION_COUNT,
    EvaluatorConfig,
    EvaluatorNets,
    MotionEncoder,
    Referee,
    _reversed,
)

ATOL = 1e-5  # float32 through two convolutions and a recurrence


def encoder(width: int = 12) -> MotionEncoder:
    torch.manual_seed(0)
    return MotionEncoder(width, 8, 0.1).eval()


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        EvaluatorConfig(embedding=0)


def test_reversal_leaves_the_padding_behind() -> None:
    tokens = torch.arange(1.0, 6.0).view(1, 5, 1).expand(2, 5, 1)
    found = _reversed(tokens, torch.tensor([5, 3]))[..., 0].tolist()
    assert found == [[5, 4, 3, 2, 1], [3, 2, 1, 4, 5]]


@pytest.mark.parametrize("length", [MIN_FRAMES, 5, 6, 7, 30, 33])
def test_frames_behind_the_true_length_change_nothing(length: int) -> None:
    model, frames = encoder(), torch.randn(1, length, MOTION_COUNT)
    junk = torch.full((1, 11, MOTION_COUNT), 7.0)
    with torch.no_grad():
        alone = model(frames, torch.tensor([length]))
        padded = model(torch.cat([frames, junk], dim=1), torch.tensor([length]))
    torch.testing.assert_close(padded, alone, atol=ATOL, rtol=0)


def test_the_last_true_frames_do_count() -> None:
    model, frames = encoder(), torch.randn(1, 32, MOTION_COUNT)
    with torch.no_grad():
        assert not torch.allclose(model(frames, torch.tensor([32])), model(frames, torch.tensor([28])), atol=1e-3)


def test_time_order_counts() -> None:
    model, frames = encoder(), torch.randn(1, 32, MOTION_COUNT)
    with torch.no_grad():
        assert not torch.allclose(
            model(frames, torch.tensor([32])), model(frames.flip(1), torch.tensor([32])), atol=1e-3
        )


def test_embeddings_have_one_length() -> None:
    nets = EvaluatorNets(EvaluatorConfig(sentence_dim=6, width=8, embedding=16, text_width=8, statistics=3)).eval()
    with torch.no_grad():
        texts = nets.extractor.embed_text(torch.randn(5, 6))
        motions = nets.extractor.embed_motion(torch.randn(5, 20, MOTION_COUNT), torch.full((5,), 20))
    for found in (texts, motions):
        torch.testing.assert_close(found.norm(dim=-1), torch.full((5,), EMBEDDING_NORM))


def test_the_referee_averages_members_that_differ() -> None:
    torch.manual_seed(1)
    referee = Referee(EvaluatorConfig(statistics=5, members=4)).eval()
    with torch.no_grad():
        logits, found = referee.member_logits(torch.randn(3, 5)), referee(torch.randn(3, 5))
    assert logits.shape == (4, 3, 8) and not torch.allclose(logits[0], logits[1])
    torch.testing.assert_close(found.sum(-1), torch.ones(3))
