"""Causal, streaming VQ-VAE: 4 frames = 1 token (7.5 tokens/s).

A token is three root codes (`motion.root_codes`, no network) and the codes of a learnt, quantised pose. Four frames are
patched into one vector, every convolution runs at token rate and looks back only. The decoder emits two control points
of a cubic B-spline per token, not frames: joints then move with continuous acceleration, and quantisation noise cannot
show as trembling. Everything that a later token needs is explicit state, so decoding in chunks of any size equals
decoding the whole (T2M-GPT made causal; see also MotionStreamer's causal TAE).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animoe.models.quantiser import EmaCodebook, FiniteScalarQuantiser, Quantiser
from animoe.motion.features import FEATURE_COUNT, POSITION_COUNT
from animoe.motion.root_codes import FRAMES_PER_TOKEN, ROOT_GROUPS, ROOT_LEVELS, root_table
from animoe.motion.spline import SPLINE

INPUT_COUNT = FEATURE_COUNT + POSITION_COUNT
ROOT_COUNT = 3
"""Leading features that the root codes carry: yaw rate and planar velocity."""
POSE_COUNT = FEATURE_COUNT - ROOT_COUNT
POINTS_PER_TOKEN = 2
_KEPT_POINTS = 3
_STATE_ROWS = _KEPT_POINTS + 1


@dataclass(frozen=True)
class TokenizerConfig:
    """Shape of the tokenizer.

    quantiser: "fsq" (levels) or "vq" (codebook_size, code_dim). pose_groups: pose codes per token.
    """

    quantiser: Literal["fsq", "vq"] = "fsq"
    pose_groups: int = 8
    levels: tuple[int, ...] = (4, 4, 4, 4)
    codebook_size: int = 512
    code_dim: int = 16
    width: int = 384
    encoder_dilations: tuple[int, ...] = (1, 2, 4, 1)
    decoder_dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 1)

    def __post_init__(self) -> None:
        if self.quantiser not in ("fsq", "vq"):
            raise ValueError(f"quantiser must be 'fsq' or 'vq', got {self.quantiser!r}")
        if self.pose_groups < 1 or self.width < POSE_COUNT:
            raise ValueError(
                f"pose_groups must be >= 1 and width >= {POSE_COUNT}, got {self.pose_groups} and {self.width}"
            )

    @property
    def groups(self) -> int:
        """Codes per token: root and pose."""
        return ROOT_GROUPS + self.pose_groups


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
    """Quantised latents and root codes -> frames, carrying its state explicitly.

    State (B, rows, W): the convolutions' history, three rows with the last control points, one row with the root
    velocity at the end of the last token and a flag that a stream has started. All zero = before the first token.
    """

    mean: Tensor
    std: Tensor
    spline: Tensor
    velocities: Tensor

    def __init__(self, config: TokenizerConfig, latent_dim: int) -> None:
        super().__init__()
        self.lift = nn.Linear(latent_dim, config.width)
        self.stack = CausalStack(config.width, config.decoder_dilations)
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, POINTS_PER_TOKEN * POSE_COUNT)
        self.opening = nn.Linear(config.width, _KEPT_POINTS * POSE_COUNT)
        self.register_buffer("mean", torch.zeros(FEATURE_COUNT))
        self.register_buffer("std", torch.ones(FEATURE_COUNT))
        self.register_buffer("spline", torch.from_numpy(SPLINE.copy()), persistent=False)
        self.register_buffer("velocities", torch.from_numpy(root_table()), persistent=False)

    def initial_state(self, batch: int) -> Tensor:
        """State before the first token, (B, rows, W) zeros."""
        return torch.zeros(batch, sum(self.stack.histories) + _STATE_ROWS, self.stack.width)

    def pose(self, latent: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, latent), state -> pose features (B, 4N, 137) and the new rows of history and control points."""
        history, kept, flags = torch.split(state, [sum(self.stack.histories), _KEPT_POINTS, 1], dim=1)
        h, history = self.stack(self.lift(latent), history)
        with torch.autocast(h.device.type, enabled=False):  # half precision here would show as trembling joints
            h = self.norm(h.float())
            points = self.out(h).unflatten(-1, (POINTS_PER_TOKEN, POSE_COUNT)).flatten(1, 2)
            opening = self.opening(h[:, 0]).unflatten(-1, (_KEPT_POINTS, POSE_COUNT))
            before = torch.where(flags[:, :, 3:4] > 0, kept[..., :POSE_COUNT].float(), opening)
            points = torch.cat([before, points], dim=1)
            count = points.shape[1] - _KEPT_POINTS
            windows = torch.stack([points[:, k : k + count : POINTS_PER_TOKEN] for k in range(5)], dim=2)
            frames = torch.einsum("fk,bnkc->bnfc", self.spline, windows).flatten(1, 2)
            frames = frames * self.std[ROOT_COUNT:] + self.mean[ROOT_COUNT:]
        kept = F.pad(points[:, count:], (0, self.stack.width - POSE_COUNT))
        return frames, torch.cat([history.float(), kept], dim=1)

    def root(self, codes: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Root codes (B, N, 3), state -> root features (B, 4N, 3) and the new last row."""
        levels = codes.clamp(max=ROOT_LEVELS - 1)
        ends = torch.stack([self.velocities[g][levels[..., g]] for g in range(ROOT_GROUPS)], dim=-1)
        last = state[:, -1:, :ROOT_GROUPS]
        before = torch.where(state[:, -1:, 3:4] > 0, last, ends[:, :1])
        starts = torch.cat([before, ends[:, :-1]], dim=1)
        share = torch.arange(1, FRAMES_PER_TOKEN + 1, device=codes.device) / FRAMES_PER_TOKEN
        frames = starts[:, :, None] + (ends - starts)[:, :, None] * share[:, None]
        row = torch.cat([ends[:, -1:], torch.ones_like(ends[:, -1:, :1])], dim=-1)
        return frames.flatten(1, 2), F.pad(row, (0, self.stack.width - ROOT_GROUPS - 1))

    def forward(self, latent: Tensor, root_codes: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, latent), (B, N, 3), state -> features (B, 4N, 140), next state."""
        pose, rows = self.pose(latent, state)
        root, row = self.root(root_codes, state)
        return torch.cat([root, pose], dim=-1), torch.cat([rows, row], dim=1)


class Tokenizer(nn.Module):
    """Features <-> codes. See the module docstring."""

    input_mean: Tensor
    input_std: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        quantiser: nn.Module
        if config.quantiser == "fsq":
            quantiser = FiniteScalarQuantiser(config.levels, config.pose_groups)
        else:
            quantiser = EmaCodebook(config.codebook_size, config.code_dim, config.pose_groups)
        self.quantiser: Quantiser = quantiser
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

    @property
    def codebook_size(self) -> int:
        """Every code, of the root or of the pose, is below this."""
        return max(self.quantiser.codebook_size, ROOT_LEVELS)

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 4N, 203) features and heading positions -> latent (B, N, D), pose codes (B, N, G - 3), auxiliary loss.

        The root codes come from `motion.root_codes.encode_root`.
        """
        return self.quantiser(self.encode_latent(inputs))

    def encode_latent(self, inputs: Tensor) -> Tensor:
        """(B, 4N, 203) -> latent before quantisation (B, N, D)."""
        x = ((inputs - self.input_mean) / self.input_std).unflatten(1, (-1, FRAMES_PER_TOKEN)).flatten(2)
        h = self.lift(x)
        h, _ = self.encoder(h, self.encoder.initial_state(len(inputs)).to(h))
        latent: Tensor = self.to_latent(self.encoder_norm(h))
        return latent

    def decode(self, codes: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Codes (B, N, G) -> features (B, 4N, 140) and the state to continue with; None starts a stream."""
        if state is None:
            state = self.decoder.initial_state(len(codes)).to(self.decoder.lift.weight)
        root_codes = codes[..., :ROOT_GROUPS]
        pose_codes = codes[..., ROOT_GROUPS:].clamp(max=self.quantiser.codebook_size - 1)
        result: tuple[Tensor, Tensor] = self.decoder(self.quantiser.lookup(pose_codes), root_codes, state)
        return result

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (B, 4N, 203) -> reconstruction (B, 4N, 140) with the true root, pose codes, auxiliary loss."""
        latent, codes, loss = self.encode(inputs)
        pose, _ = self.decoder.pose(latent, self.decoder.initial_state(len(inputs)).to(latent))
        return torch.cat([inputs[..., :ROOT_COUNT], pose], dim=-1), codes, loss
