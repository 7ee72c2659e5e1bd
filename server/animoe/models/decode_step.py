"""One step of the motion LM as a plain graph: key/value cache, code heads and sampling in, codes and new cache out.

This is what is exported to ONNX. It re-states the Llama forward pass over the *same* parameters as `MotionLM`, because
the library's cache objects do not export; `MotionLM.hidden` stays the oracle that tests compare against. Experts are
inputs, stacked per kind of layer, and each character names the few that it uses: a batch may mix any experts at any
weights, an expert is added without another export, and the cost does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animoe.errors import InvalidRequest
from animoe.models.motion_lm import LMInputs, MotionLM
from animoe.models.samoe import ExpertLinear
from animoe.models.sequence import ADAPTED, EXPERT_INPUTS

EXPORTED = ("llama", "mistral", "qwen2")
"""Model types of one forward pass: Mistral's window is longer than any of our sequences, Qwen2 adds biases."""
MOST_WEIGHTS = 500_000_000
"""Of an exported generator: ONNX keeps a graph with its weights in one message of at most 2 GiB while it is made."""
MIN_TEMPERATURE = 1e-3
INPUT_NAMES = (
    "sentence",
    "shift",
    "basis",
    "expert_ids",
    "expert_weights",
    "slots",
    "codes",
    "emotion",
    "inferred",
    "left",
    "positions",
    "past",
    "past_mask",
    "uniform",
    "temperature",
    "top_p",
    *EXPERT_INPUTS,
)
OUTPUT_NAMES = ("next_codes", "present")


class DecodeStep(nn.Module):
    """Feeds S new positions per character and draws the token that follows the last of them.

    Raises:
        InvalidRequest: the backbone is none of EXPORTED, too large, or in half precision (it still trains, and runs in
            torch).
    """

    frequency: Tensor

    def __init__(self, lm: MotionLM) -> None:
        super().__init__()
        config: Any = lm.backbone.config
        if config.model_type not in EXPORTED:
            raise InvalidRequest(
                f"only {', '.join(EXPORTED)} backbones are exported to ONNX, this one is {config.model_type!r}; choose "
                "one of them, or run the model in torch"
            )
        _check_size(lm)
        self.lm = lm
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_dim: int = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.layers: int = config.num_hidden_layers
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type", "default") != "default" or config.hidden_act != "silu":
            raise InvalidRequest(
                f"only plain rotary positions and SiLU are exported to ONNX, this Llama has "
                f"{rope.get('rope_type')!r} and {config.hidden_act!r}; choose another config, or run the model in torch"
            )
        theta = float(rope.get("rope_theta", getattr(config, "rope_theta", 10000.0)))
        frequency = theta ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(
        self,
        sentence: Tensor,
        shift: Tensor,
        basis: Tensor,
        expert_ids: Tensor,
        expert_weights: Tensor,
        slots: Tensor,
        codes: Tensor,
        emotion: Tensor,
        inferred: Tensor,
        left: Tensor,
        positions: Tensor,
        past: Tensor,
        past_mask: Tensor,
        uniform: Tensor,
        temperature: Tensor,
        top_p: Tensor,
        *stacks: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One step for B characters.

        Args:
            sentence, slots ... left: see `LMInputs`; S new positions each.
            shift: (B, K, W) and basis: (B, E, W) as the planner gives them (`MotionLM.embed_with`).
            expert_ids: (B, k) int64 rows of the stacks; expert_weights: (B, k) gate weight times scale.
            positions: (B, S) int64 place in the sequence, 0 = first prompt slot.
            past: (B, L, 2, P, H, D) keys (already rotated) and values of earlier positions.
            past_mask: (B, P) float, 1 where `past` holds something.
            uniform: (B, G) random numbers in [0, 1), one per code.
            temperature: (B,); 0 takes the likeliest code. top_p: (B,) nucleus in (0, 1].
            stacks: in the order of EXPERT_INPUTS.

        Returns:
            codes of the next token (B, G) int64, and present (B, L, 2, S, H, D) to append to the cache.
        """
        x = self.lm.embed_with(LMInputs(sentence, slots, codes, emotion, inferred, left), shift, basis)
        cos, sin = self._rotary(positions)
        mask = self._mask(positions, past_mask)
        mixture = _Mixture(expert_ids, expert_weights, stacks)
        fresh = []
        layers: Any = self.lm.backbone.layers
        for index, layer in enumerate(layers):
            h = _norm(layer.input_layernorm, x)
            attended, pair = self._attend(layer.self_attn, h, past[:, index], cos, sin, mask, mixture, index)
            x = x + attended
            h = _norm(layer.post_attention_layernorm, x)
            gated = F.silu(mixture(layer.mlp.gate_proj, "gate_proj", index, h))
            h = gated * mixture(layer.mlp.up_proj, "up_proj", index, h)
            x = x + mixture(layer.mlp.down_proj, "down_proj", index, h)
            fresh.append(pair)
        last = _norm(self.lm.backbone.norm, x[:, -1])
        return self._draw(last, uniform, temperature, top_p), torch.stack(fresh, dim=1)

    def _rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        angle = positions[..., None].float() * self.frequency  # (B, S, D/2)
        angle = torch.cat([angle, angle], dim=-1)[:, :, None]
        return angle.cos(), angle.sin()

    def _mask(self, positions: Tensor, past_mask: Tensor) -> Tensor:
        """(B, 1, S, P + S) additive: the valid past, and the new positions up to one's own."""
        causal = (positions[:, None, :] <= positions[:, :, None]).float()
        past = past_mask[:, None, :].expand(-1, positions.shape[1], -1)
        return ((1.0 - torch.cat([past, causal], dim=-1)) * -1e9)[:, None]

    def _attend(
        self,
        attention: Any,
        x: Tensor,
        past: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor,
        mixture: _Mixture,
        index: int,
    ) -> tuple[Tensor, Tensor]:
        q, k, v = (mixture(getattr(attention, name), name, index, x) for name in ("q_proj", "k_proj", "v_proj"))
        q = _rotate(q.unflatten(-1, (self.heads, self.head_dim)), cos, sin)
        k = _rotate(k.unflatten(-1, (self.kv_heads, self.head_dim)), cos, sin)
        v = v.unflatten(-1, (self.kv_heads, self.head_dim))
        keys = torch.cat([past[:, 0], k], dim=1).repeat_interleave(self.heads // self.kv_heads, dim=2)
        values = torch.cat([past[:, 1], v], dim=1).repeat_interleave(self.heads // self.kv_heads, dim=2)
        scores = q.transpose(1, 2) @ keys.permute(0, 2, 3, 1) / self.head_dim**0.5 + mask
        mixed = scores.softmax(-1) @ values.transpose(1, 2)
        out = mixture(attention.o_proj, "o_proj", index, mixed.transpose(1, 2).flatten(2))
        return out, torch.stack([k, v], dim=1)

    def _draw(self, hidden: Tensor, uniform: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
        heads = self.lm.heads
        drawn: list[Tensor] = []
        for group in range(heads.groups):
            logits = heads.logits(hidden, group, torch.stack(drawn, dim=-1) if drawn else hidden)
            drawn.append(sample_nucleus(logits, uniform[:, group], temperature, top_p))
        return torch.stack(drawn, dim=-1)


def _check_size(lm: MotionLM) -> None:
    count = sum(parameter.numel() for parameter in lm.parameters())
    if count > MOST_WEIGHTS:
        raise InvalidRequest(
            f"the generator has {count / 1e6:.0f} million weights, at most {MOST_WEIGHTS // 10**6} million are "
            "exported for live characters; choose a smaller backbone, or run the model in torch"
        )
    if lm.config.dtype != "float32":
        raise InvalidRequest(
            f"a backbone in {lm.config.dtype} is not exported for live characters; train it in float32, or run the "
            "model in torch"
        )


class _Mixture:
    """Linear layers with each character's experts beside them (`samoe.ExpertLinear`, gathered)."""

    def __init__(self, ids: Tensor, weights: Tensor, stacks: Sequence[Tensor]) -> None:
        self._weights = weights
        self._chosen = {name: stack[ids] for name, stack in zip(EXPERT_INPUTS, stacks, strict=True)}  # (B, k, L, r, .)

    def __call__(self, layer: nn.Module, name: str, index: int, x: Tensor) -> Tensor:
        base = layer.base if isinstance(layer, ExpertLinear) else layer
        down, up = (self._chosen[f"{name}_{side}"][:, :, index] for side in ("down", "up"))
        low = x[:, None] @ down.transpose(-1, -2)  # (B, k, S, r)
        mixed: Tensor = base(x) + ((low * self._weights[:, :, None, None]) @ up).sum(1)
        return mixed


def stack_experts(experts: Sequence[Mapping[str, tuple[Tensor, Tensor]]], layers: int) -> list[Tensor]:
    """Experts (layer name -> A, B) as stacks in the order of EXPERT_INPUTS.

    Args:
        experts: one or more. layers: of the backbone.
    """
    stacks = []
    for kind in ADAPTED:
        part = "mlp" if kind in ("gate_proj", "up_proj", "down_proj") else "self_attn"
        names = [f"layers.{index}.{part}.{kind}" for index in range(layers)]
        stacks.append(torch.stack([torch.stack([expert[name][0] for name in names]) for expert in experts]))
        stacks.append(torch.stack([torch.stack([expert[name][1].T for name in names]) for expert in experts]))
    return stacks


def sample_nucleus(logits: Tensor, uniform: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
    """Draws one index per row by inverse transform over the nucleus (Holtzman et al. 2019, arXiv 1904.09751).

    Args:
        logits: (B, K). uniform, temperature, top_p: (B,).
    """
    scaled = logits / temperature.clamp(min=MIN_TEMPERATURE)[:, None]
    ordered, order = torch.topk(scaled, scaled.shape[-1], dim=-1)
    probability = ordered.softmax(-1)
    cumulative = probability.cumsum(-1)
    kept = torch.where(cumulative - probability < top_p[:, None], probability, 0.0)
    mass = kept.cumsum(-1)
    target = uniform[:, None] * mass[:, -1:]
    index = (mass <= target).long().sum(-1, keepdim=True).clamp(max=scaled.shape[-1] - 1)
    index = torch.where(temperature[:, None] < MIN_TEMPERATURE, 0, index)
    return order.gather(-1, index)[:, 0]


def _norm(module: Any, x: Tensor) -> Tensor:
    """RMSNorm."""
    scale: Tensor = module.weight
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon) * scale


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding on (B, S, H, D), halves layout as in transformers' Llama."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
