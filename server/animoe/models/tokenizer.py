"""Causal, streaming VQ-VAE: 4 frames = 1 token (7.5 tokens/s).

Four frames are patched into one vector, every convolution runs at token rate and looks back only, and the decoder
emits the four frames of a token at once. Each convolution keeps the few inputs it still needs as explicit state, so
decoding in chunks of any size equals decoding the whole (T2M-GPT made causal; see also MotionStreamer's causal TAE).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animoe.models.quantiser import EmaCodebook, FiniteScalarQuantiser, Quantiser
from animoe.motion.features import FEATURE_COUNT, POSITION_COUNT

FRAMES_PER_TOKEN = 4
INPUT_COUNT = FEATURE_COUNT + POSITION_COUNT


@dataclass(frozen=True)
class TokenizerConfig:
    """Shape of the tokenizer.

    quantiser: "fsq" (levels, groups) or "vq" (codebook_size, code_dim, groups).
    """

    quantiser: Literal["fsq", "vq"] = "fsq"
    groups: int = 6
    levels: tuple[int, ...] = (4, 4, 4, 4)
    codebook_size: int = 512
    code_dim: int = 16
    width: int = 384
    encoder_dilations: tuple[int, ...] = (1, 2, 4, 1)
    decoder_dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 1)

    def __post_init__(self) -> None:
        if self.quantiser not in ("fsq", "vq"):
            raise ValueError(f"quantiser must be 'fsq' or 'vq', got {self.quantiser!r}")
        if self.groups < 1 or self.width < 8:
            raise ValueError(f"groups must be >= 1 and width >= 8, got {self.groups} and {self.width}")


class CausalConv(nn.Module):
    """Kernel-3 convolution over tokens that sees inputs t, t - d and t - 2d; written as one matrix product."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation, self.history = dilation, 2 * dilation
        self.linear = nn.Linear(3 * width, width)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, W), state (B, history, W) -> output (B, N, W), next state."""
        seen = torch.cat([state, x], dim=1)
        count, d = x.shape[1], self.dilation
        taps = [seen[:, k * d : k * d + count] for k in range(3)]
        out: Tensor = self.linear(torch.cat(taps, dim=-1))
        return out, seen[:, count:]


class CausalBlock(nn.Module):
    """Residual block: LayerNorm, causal convolution, SiLU, projection."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = CausalConv(width, dilation)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h, state = self.conv(self.norm(x), state.to(x.dtype))
        out: Tensor = x + self.project(F.silu(h))
        return out, state


class CausalStack(nn.Module):
    """Blocks in sequence with one state tensor (B, history, W) for all of them."""

    def __init__(self, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.ModuleList(CausalBlock(width, d) for d in dilations)
        self.histories = [2 * d for d in dilations]

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, sum(self.histories), self.width)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        parts = []
        for block, part in zip(self.blocks, state.split(self.histories, dim=1), strict=True):
            x, part = block(x, part)
            parts.append(part)
        return x, torch.cat(parts, dim=1)


class Decoder(nn.Module):
    """Quantised latents -> frames, carrying its state explicitly."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TokenizerConfig, latent_dim: int) -> None:
        super().__init__()
        self.lift = nn.Linear(latent_dim, config.width)
        self.stack = CausalStack(config.width, config.decoder_dilations)
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, FRAMES_PER_TOKEN * FEATURE_COUNT)
        self.register_buffer("mean", torch.zeros(FEATURE_COUNT))
        self.register_buffer("std", torch.ones(FEATURE_COUNT))

    def forward(self, latent: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, latent), (B, history, W) -> features (B, 4N, 140), next state."""
        h, state = self.stack(self.lift(latent), state)
        with torch.autocast(h.device.type, enabled=False):  # half precision here would show as trembling joints
            frames = self.out(self.norm(h.float()))
        frames = frames.unflatten(-1, (FRAMES_PER_TOKEN, FEATURE_COUNT)).flatten(1, 2)
        return frames * self.std + self.mean, state


class Tokenizer(nn.Module):
    """Features <-> codes. See the module docstring."""

    input_mean: Tensor
    input_std: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        quantiser: nn.Module
        if config.quantiser == "fsq":
            quantiser = FiniteScalarQuantiser(config.levels, config.groups)
        else:
            quantiser = EmaCodebook(config.codebook_size, config.code_dim, config.groups)
        self.quantiser: Quantiser = quantiser  # type: ignore[assignment]
        self.lift = nn.Linear(FRAMES_PER_TOKEN * INPUT_COUNT, config.width)
        self.encoder = CausalStack(config.width, config.encoder_dilations)
        self.encoder_norm = nn.LayerNorm(config.width)
        self.to_latent = nn.Linear(config.width, self.quantiser.latent_dim)
        self.decoder = Decoder(config, self.quantiser.latent_dim)
        self.register_buffer("input_mean", torch.zeros(INPUT_COUNT))
        self.register_buffer("input_std", torch.ones(INPUT_COUNT))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Normalisation constants (203,): of all inputs, and of the first 140 for the output."""
        self.input_mean.copy_(mean)
        self.input_std.copy_(std)
        self.decoder.mean.copy_(mean[:FEATURE_COUNT])
        self.decoder.std.copy_(std[:FEATURE_COUNT])

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 4N, 203) features and heading positions -> latent (B, N, D), codes (B, N, G), auxiliary loss."""
        x = ((inputs - self.input_mean) / self.input_std).unflatten(1, (-1, FRAMES_PER_TOKEN)).flatten(2)
        h = self.lift(x)
        h, _ = self.encoder(h, self.encoder.initial_state(len(inputs)).to(h))
        result: tuple[Tensor, Tensor, Tensor] = self.quantiser(self.to_latent(self.encoder_norm(h)))
        return result

    def decode(self, codes: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Codes (B, N, G) -> features (B, 4N, 140) and the state to continue with; None starts a stream."""
        if state is None:
            state = self.decoder.stack.initial_state(len(codes)).to(self.decoder.lift.weight)
        result: tuple[Tensor, Tensor] = self.decoder(self.quantiser.lookup(codes), state)
        return result

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (B, 4N, 203) -> reconstruction (B, 4N, 140), codes (B, N, G), auxiliary loss."""
        latent, codes, loss = self.encode(inputs)
        state = self.decoder.stack.initial_state(len(inputs)).to(latent)
        frames, _ = self.decoder(latent, state)
        return frames, codes, loss
