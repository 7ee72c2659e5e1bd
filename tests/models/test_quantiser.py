"""Finite scalar quantisation and the EMA codebook."""

from __future__ import annotations

import itertools

import pytest
import torch

from animoe.models.quantiser import EmaCodebook, FiniteScalarQuantiser


def test_fsq_counts_codes_and_latent_numbers() -> None:
    fsq = FiniteScalarQuantiser((8, 5, 5, 5), groups=3)
    assert (fsq.codebook_size, fsq.latent_dim) == (1000, 12)


@pytest.mark.parametrize(("levels", "expected"), [(5, [-1, -0.5, 0, 0.5, 1]), (4, [-1, -0.5, 0, 0.5])])
def test_fsq_gives_exactly_its_levels(levels: int, expected: list[float]) -> None:
    values = FiniteScalarQuantiser((levels,), 1)(torch.linspace(-6, 6, 400)[:, None])[0]
    assert sorted(set(values.flatten().tolist())) == expected


@pytest.mark.parametrize("levels", [(5,), (8, 5), (4, 4, 3)])
def test_fsq_lookup_of_every_code_is_distinct_and_comes_back(levels: tuple[int, ...]) -> None:
    fsq = FiniteScalarQuantiser(levels, 1)
    codes = torch.arange(fsq.codebook_size)[:, None]
    latents = fsq.lookup(codes)
    assert len(latents.unique(dim=0)) == fsq.codebook_size
    digits = [round(float(x)) for x in (latents[7 % len(latents)] + 1)]
    assert all(digit in range(3) for digit in digits)


def test_fsq_codes_by_hand() -> None:
    """Codes count level by level, the first number fastest: (-1, -1) is 0, (1, -1) of 5 levels is 4, (-1, 1) is 20."""
    fsq = FiniteScalarQuantiser((5, 5), 1)
    far = torch.tensor([[-9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, 9.0], [0.0, 0.0]])
    assert fsq(far)[1].flatten().tolist() == [0, 4, 20, 24, 12]


@pytest.mark.parametrize(
    "quantiser", [FiniteScalarQuantiser((8, 5, 5), 3), EmaCodebook(16, 4, 2).eval()], ids=["fsq", "vq"]
)
def test_lookup_gives_what_the_forward_pass_gave(quantiser: FiniteScalarQuantiser | EmaCodebook) -> None:
    torch.manual_seed(0)
    latent = torch.randn(2, 50, quantiser.latent_dim) * 2
    quantised, codes, _ = quantiser(latent)
    assert codes.min() >= 0 and codes.max() < quantiser.codebook_size
    torch.testing.assert_close(quantiser.lookup(codes), quantised, atol=1e-6, rtol=0)


def test_fsq_gradient_passes_the_rounding() -> None:
    """Straight through: the gradient is that of the bounding function alone, positive everywhere."""
    fsq = FiniteScalarQuantiser((5, 8), 1)
    latent = torch.linspace(-2, 2, 22).reshape(11, 2).requires_grad_()
    fsq(latent)[0].sum().backward()
    z = latent.detach() + fsq.shift
    expected = (1 - torch.tanh(z) ** 2) * fsq.bound / (fsq.bound + 0.5).floor()
    assert latent.grad is not None
    torch.testing.assert_close(latent.grad, expected)


def test_vq_gradient_is_copied_and_commitment_pulls_to_the_code() -> None:
    vq = EmaCodebook(8, 2, 1, commit=0.5).eval()
    latent = torch.randn(5, 2, requires_grad=True)
    quantised, _, loss = vq(latent)
    (quantised * torch.arange(10.0).reshape(5, 2)).sum().backward(retain_graph=True)
    torch.testing.assert_close(latent.grad, torch.arange(10.0).reshape(5, 2))
    latent.grad = None
    loss.backward()
    assert latent.grad is not None and ((latent.grad * (latent - quantised).detach()).sum(-1) > 0).all()


def test_vq_takes_the_nearest_code() -> None:
    vq = EmaCodebook(4, 2, 1).eval()
    vq.codebook.copy_(torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]))
    assert vq(torch.tensor([[0.9, 0.2], [0.1, 0.7], [0.6, 0.9]]))[1].flatten().tolist() == [1, 2, 3]


def test_vq_codebook_follows_its_data_and_revives_dead_codes() -> None:
    torch.manual_seed(0)
    vq = EmaCodebook(8, 2, 1, decay=0.8).train()
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=2)))
    vq.initialised.fill_(True)
    vq.codebook.fill_(50.0)  # seven codes far from all data, one among it
    vq.codebook[0, 0] = 0.0
    vq.cluster_sum.copy_(vq.codebook)
    for _ in range(60):
        _, codes, _ = vq(corners.repeat(16, 1) + 0.01 * torch.randn(64, 2))
    assert len(codes.unique()) >= 4
    distance = torch.cdist(corners, vq.codebook[0]).min(1).values
    assert distance.max() < 0.05


def test_vq_does_not_learn_in_evaluation() -> None:
    vq = EmaCodebook(8, 2, 1).eval()
    before = vq.codebook.clone()
    vq(torch.randn(20, 2))
    assert torch.equal(vq.codebook, before)


def test_vq_trains_in_half_precision() -> None:
    quantiser = EmaCodebook(codebook_size=8, code_dim=4, groups=2).train()
    with torch.autocast("cpu", torch.bfloat16):
        layer = torch.nn.Linear(8, 8)
        quantised, codes, loss = quantiser(layer(torch.randn(16, 8)))
    loss.backward()
    assert quantised.dtype == torch.float32 and codes.shape == (16, 2)
    assert layer.weight.grad is not None and torch.isfinite(layer.weight.grad).all()
