"""Discrete bottlenecks for the tokenizer: finite scalar quantisation and an EMA codebook, both in groups.

A latent of G groups gives G codes per token. Groups keep each vocabulary small (the generator predicts them one after
another within a step) while the token carries enough bits for posture *and* the small cues that emotion lives in.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Quantiser(Protocol):
    """What the tokenizer needs. Codes are (..., G) int64 in [0, codebook_size)."""

    latent_dim: int
    codebook_size: int

    def __call__(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., latent_dim) -> quantised latent (straight-through), codes (..., G), auxiliary loss ()."""

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes (..., G) -> quantised latent (..., latent_dim)."""


class FiniteScalarQuantiser(nn.Module):
    """FSQ (Mentzer et al. 2023, arXiv 2309.15505): each latent number is bounded and rounded to one of L levels.

    Args:
        levels: levels per number within a group; the codebook of a group has prod(levels) entries.
        groups: G.
    """

    bound: Tensor
    offset: Tensor
    shift: Tensor
    basis: Tensor

    def __init__(self, levels: tuple[int, ...], groups: int) -> None:
        super().__init__()
        self.levels, self.groups = levels, groups
        self.latent_dim = len(levels) * groups
        count = torch.tensor(levels, dtype=torch.float32)
        self.codebook_size = int(count.prod().item())
        half = (count - 1) * (1 + 1e-3) / 2
        offset = torch.where(count % 2 == 0, 0.5, 0.0)
        self.register_buffer("bound", half, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("shift", torch.atanh(offset / half), persistent=False)
        basis = torch.cumprod(torch.tensor([1, *levels[:-1]]), dim=0)
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = latent.float().unflatten(-1, (self.groups, len(self.levels)))
        bounded = torch.tanh(z + self.shift) * self.bound - self.offset
        rounded = bounded + (bounded.round() - bounded).detach()
        width = (self.bound + 0.5).floor()
        digits = rounded.detach().round() + width
        codes = (digits.long() * self.basis).sum(-1)
        return (rounded / width).flatten(-2), codes, latent.new_zeros(())

    def lookup(self, codes: Tensor) -> Tensor:
        width = (self.bound + 0.5).floor()
        sizes = torch.tensor(self.levels, device=codes.device)
        digits = torch.div(codes[..., None], self.basis, rounding_mode="floor") % sizes
        return ((digits.float() - width) / width).flatten(-2)


class EmaCodebook(nn.Module):
    """Nearest-code quantiser with exponential moving averages and resets of dead codes (T2M-GPT, arXiv 2301.06052).

    One codebook per group; the latent is split evenly.
    """

    codebook: Tensor
    cluster_size: Tensor
    cluster_sum: Tensor
    initialised: Tensor

    def __init__(self, codebook_size: int, code_dim: int, groups: int, *, decay: float = 0.99, commit: float = 0.02):
        super().__init__()
        self.codebook_size, self.code_dim, self.groups = codebook_size, code_dim, groups
        self.latent_dim = code_dim * groups
        self.decay, self.commit = decay, commit
        self.register_buffer("codebook", torch.randn(groups, codebook_size, code_dim))
        self.register_buffer("cluster_size", torch.ones(groups, codebook_size))
        self.register_buffer("cluster_sum", self.codebook.clone())
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(latent.device.type, enabled=False):  # averages of codes need full precision
            return self._quantise(latent.float())

    def _quantise(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = latent.unflatten(-1, (self.groups, self.code_dim))
        flat = z.reshape(-1, self.groups, self.code_dim).transpose(0, 1)  # (G, N, D)
        if self.training and not bool(self.initialised):
            self._initialise(flat.detach())
        codes = torch.cdist(flat, self.codebook).argmin(-1)  # (G, N)
        if self.training:
            self._update(flat.detach(), codes)
        codes = codes.transpose(0, 1).reshape(z.shape[:-1])
        quantised = self.lookup(codes)
        loss = self.commit * F.mse_loss(latent, quantised)
        return latent + (quantised - latent).detach(), codes, loss

    def lookup(self, codes: Tensor) -> Tensor:
        picked = [self.codebook[g][codes[..., g]] for g in range(self.groups)]
        return torch.cat(picked, dim=-1)

    def _random_rows(self, flat: Tensor) -> Tensor:
        return flat[:, torch.randint(flat.shape[1], (self.codebook_size,), device=flat.device)]

    def _initialise(self, flat: Tensor) -> None:
        self.codebook.copy_(self._random_rows(flat))
        self.cluster_sum.copy_(self.codebook)
        self.cluster_size.fill_(1.0)
        self.initialised.fill_(True)

    def _update(self, flat: Tensor, codes: Tensor) -> None:
        one_hot = F.one_hot(codes, self.codebook_size).to(flat.dtype)  # (G, N, K)
        self.cluster_size.lerp_(one_hot.sum(1), 1 - self.decay)
        self.cluster_sum.lerp_(one_hot.transpose(1, 2) @ flat, 1 - self.decay)
        dead = (self.cluster_size < 0.1)[..., None]
        fresh = self._random_rows(flat)
        self.cluster_sum.copy_(torch.where(dead, fresh, self.cluster_sum))
        self.cluster_size.copy_(torch.where(dead[..., 0], 1.0, self.cluster_size))
        self.codebook.copy_(self.cluster_sum / self.cluster_size.clamp(min=1e-5)[..., None])
