"""One step of the motion LM as a plain graph: key/value cache, code heads and sampling in, codes and new cache out.

This is what is exported to ONNX, and what torch runs for large backbones (`engine.torch_step`). It re-states the Llama
forward pass over the *same* parameters as `MotionLM`, because the library's cache objects do not export;
`MotionLM.hidden` stays the oracle that tests compare against.

Made for crowds. The cache of a character has a place in a larger one (`past_key_*`, `past_value_*`: n places) that the
step reads where it lies; the batch may hold any of those characters, in any order. Experts are inputs
(`bundle.stacks`): a batch may mix any experts at any weights, and one is added without another export. Several
candidates may be drawn from one character's hidden state. Nothing in a row depends on the other rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animoe.errors import InvalidRequest
from animoe.models.backbone import DTYPES
from animoe.models.motion_lm import LMInputs, MotionLM
from animoe.models.samoe import ExpertLinear, SAMoEConfig
from animoe.models.sequence import ADAPTED, FAMILIES, PROMPT_SLOTS, SLOT_TOKEN, step_stack_names

EXPORTED = ("llama", "mistral", "qwen2")
"""Model types of one forward pass: Mistral's window is longer than any of our sequences, Qwen2 adds biases."""
MOST_WEIGHTS = 500_000_000
"""Of an exported generator: ONNX keeps a graph with its weights in one message of at most 2 GiB while it is made."""
MIN_TEMPERATURE = 1e-3
FAR = -1e9
"""Added to attention where nothing may be seen: its weight is exactly 0."""
MOST_CODES = 64
"""Likeliest codes that may be drawn: to sort a whole codebook costs more than the heads. Where a window begins the
nucleus may be larger; what it loses there makes motion no worse (a lower jerk by 2 %)."""


class DecodeStep(nn.Module):
    """Feeds S new positions per character and draws the token that follows the last of them.

    The backbone computes in the precision of its weights, everything around it in float32.

    Args:
        rank: of experts; None = what the planner of `lm` says.

    Raises:
        InvalidRequest: the backbone is none of EXPORTED (it still trains).
    """

    frequency: Tensor

    def __init__(self, lm: MotionLM, rank: int | None = None) -> None:
        super().__init__()
        config: Any = lm.backbone.config
        if config.model_type not in EXPORTED:
            raise InvalidRequest(
                f"only {', '.join(EXPORTED)} backbones are exported and performed live, this one is "
                f"{config.model_type!r}; choose one of them"
            )
        self.lm = lm
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_dim: int = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.layers: int = config.num_hidden_layers
        self.rank: int = rank or (lm.planner.config.samoe if lm.planner is not None else SAMoEConfig()).rank
        self.dtype: torch.dtype = DTYPES[lm.config.dtype]
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type", "default") != "default" or config.hidden_act != "silu":
            raise InvalidRequest(
                f"only plain rotary positions and SiLU are exported and performed live, this Llama has "
                f"{rope.get('rope_type')!r} and {config.hidden_act!r}; choose another config"
            )
        theta = float(rope.get("rope_theta", getattr(config, "rope_theta", 10000.0)))
        frequency = theta ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(
        self,
        given: Tensor,
        slots: Tensor,
        codes: Tensor,
        left: Tensor,
        positions: Tensor,
        rows: Tensor,
        active: Tensor,
        past_mask: Tensor,
        draws: Tensor,
        uniform: Tensor,
        temperature: Tensor,
        top_p: Tensor,
        shares: Tensor,
        *rest: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step for B characters with S new positions each; R tokens are drawn.

        Args:
            given: (B, S, W) what the host worked out once per prompt and emotion: prompt slots and what is felt
                (`prompt_content`, `felt`).
            slots, left: (B, S), codes: (B, S, G) int64, see `LMInputs`.
            positions: (B, S) int64 place in the sequence, 0 = first prompt slot.
            rows: (B,) int64 place of each character's cache among n; any for a character without past.
            active: (n,) int64 which of the batch has its cache in that place; any where none has.
            past_mask: (n, P) added to attention: 0 where the cache holds something, FAR elsewhere.
            draws: (R,) int64 of the batch: whose next token is drawn. uniform: (R, G) in [0, 1), one per code.
            temperature: (R,); 0 takes the likeliest code. top_p: (R,) nucleus in (0, 1].
            shares: (B, N) gate weight times scale of every expert, 0 for those that a character does not use.
            rest: keys (already rotated), then values of earlier positions, (n, H, P, D) per layer; then experts, see
                `decode_names.input_names`. They and `past_mask` are in the backbone's precision, the others in float32.

        Returns:
            codes of the next tokens (R, G) int64, and keys and values (L, B, H, S, D) to put into the cache.
        """
        x = self._embed(given, slots, codes, left).to(self.dtype)
        angle = positions[..., None].float() * self.frequency  # (B, S, D/2)
        cos, sin = angle.cos().to(self.dtype), angle.sin().to(self.dtype)
        causal = ((positions[:, None, :] > positions[:, :, None]).to(self.dtype) * FAR)[:, None]  # (B, 1, S, S)
        shares = shares.to(self.dtype)
        share = shares[:, :, None].expand(-1, -1, self.rank).flatten(1)[:, None, None]  # (B, 1, 1, N * r)
        keys, values, stacks = rest[: self.layers], rest[self.layers : 2 * self.layers], rest[2 * self.layers :]
        per_layer = len(stacks) // self.layers
        fresh_keys, fresh_values = [], []
        layers: Any = self.lm.backbone.layers
        for index, layer in enumerate(layers):
            experts = _Experts(stacks[index * per_layer : (index + 1) * per_layer], share)
            attention, mlp = layer.self_attn, layer.mlp
            h = _norm(layer.input_layernorm, x)
            q, k, v = experts("qkv", (attention.q_proj, attention.k_proj, attention.v_proj), h)
            q = self._by_head(torch.onnx.ops.rotary_embedding(q, cos, sin, num_heads=self.heads), self.heads)
            k = self._by_head(torch.onnx.ops.rotary_embedding(k, cos, sin, num_heads=self.kv_heads), self.kv_heads)
            v = self._by_head(v, self.kv_heads)
            past = _Past(keys[index], values[index], past_mask, rows, active)
            (attended,) = experts("out", (attention.o_proj,), self._attend(q, k, v, past, causal))
            x = x + attended
            gate, up = experts("gate_up", (mlp.gate_proj, mlp.up_proj), _norm(layer.post_attention_layernorm, x))
            (changed,) = experts("mlp_out", (mlp.down_proj,), F.silu(gate) * up)
            x = x + changed
            fresh_keys.append(k)
            fresh_values.append(v)
        hidden = _norm(self.lm.backbone.norm, x[:, -1]).float().index_select(0, draws)
        return self._draw(hidden, uniform, temperature, top_p), torch.stack(fresh_keys), torch.stack(fresh_values)

    def _embed(self, given: Tensor, slots: Tensor, codes: Tensor, left: Tensor) -> Tensor:
        lm = self.lm
        token: Tensor = lm.code[0](codes[..., 0])
        for group in range(1, len(lm.code)):
            token = token + lm.code[group](codes[..., group])
        is_token = (slots == SLOT_TOKEN).to(given.dtype)[..., None]
        result: Tensor = given + lm.slot(slots) + lm.left(left) + token * is_token
        return result

    def _by_head(self, x: Tensor, heads: int) -> Tensor:
        """(B, S, H * D) -> (B, H, S, D)."""
        split: Tensor = x.unflatten(-1, (heads, self.head_dim))
        return split.transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, past: _Past, causal: Tensor) -> Tensor:
        """(B, S, H * D). Query heads that share a key head are attended as further rows of it."""
        shared = self.heads // self.kv_heads
        q = q * self.head_dim**-0.5
        if shared > 1:
            q = q.unflatten(1, (self.kv_heads, shared)).flatten(2, 3)
            causal = causal.repeat(1, 1, shared, 1)
        now = q @ k.transpose(-1, -2) + causal
        weights = torch.cat([now, past.scores(q)], dim=-1).softmax(-1)
        count = now.shape[-1]
        mixed = past.mixed(weights[..., count:]) + weights[..., :count] @ v
        if shared > 1:
            mixed = mixed.unflatten(2, (shared, -1)).flatten(1, 2)
        return mixed.transpose(1, 2).flatten(2)

    def _draw(self, hidden: Tensor, uniform: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
        heads: Any = self.lm.heads
        drawn: list[Tensor] = []
        seen: Tensor | None = None
        for group in range(heads.groups):
            start = heads.start[group](hidden)
            logits = heads.group_logits(start if seen is None else start + seen, group)
            drawn.append(sample_nucleus(logits, uniform[:, group], temperature, top_p))
            if group < heads.groups - 1:
                table = heads.previous[group](drawn[-1])
                seen = table if seen is None else seen + table
        return torch.stack(drawn, dim=-1)


class _Past:
    """One layer's cache of n characters, of which the batch is a selection; it is never copied."""

    def __init__(self, keys: Tensor, values: Tensor, mask: Tensor, rows: Tensor, active: Tensor) -> None:
        self._keys, self._values, self._mask = keys, values, mask
        self._rows, self._active = rows, active

    def scores(self, q: Tensor) -> Tensor:
        """(B, H, S, D) -> (B, H, S, P)."""
        found = q.index_select(0, self._active) @ self._keys.transpose(-1, -2) + self._mask[:, None, None]
        return found.index_select(0, self._rows)

    def mixed(self, weights: Tensor) -> Tensor:
        """(B, H, S, P) -> (B, H, S, D)."""
        return (weights.index_select(0, self._active) @ self._values).index_select(0, self._rows)


class _Experts:
    """Linear layers with all experts beside them (`samoe.ExpertLinear`), each character's shares of them mixed in."""

    def __init__(self, stacks: Sequence[Tensor], share: Tensor) -> None:
        names = (name.rsplit("_", 1)[0] for name in step_stack_names(0))
        self._stacks = dict(zip(names, stacks, strict=True))
        self._share = share

    def __call__(self, family: str, layers: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
        """Outputs of the layers of one family (B, S, out)."""
        kinds = FAMILIES[family]
        low = (x @ self._stacks[f"{family}_in"]).unflatten(-1, (len(kinds), -1))  # (B, S, c, N * r)
        low = low * (self._share * self._stacks[f"{family}_scale"])
        found = []
        for index, (kind, layer) in enumerate(zip(kinds, layers, strict=True)):
            base = layer.base if isinstance(layer, ExpertLinear) else layer
            found.append(base(x) + low[:, :, index] @ self._stacks[f"{kind}_out"])
        return found


def given_inputs(lm: MotionLM, inputs: LMInputs, shift: Tensor, basis: Tensor) -> Tensor:
    """(B, S, W) the step's input `given`: of `MotionLM.embed_with`, what does not change from token to token.

    The engine works the same out in numpy (`engine.conditions`).
    """
    prompt = lm.prompt(inputs.sentence).unflatten(-1, (PROMPT_SLOTS, lm.width)) + shift
    places = inputs.slots.clamp(max=PROMPT_SLOTS - 1)[..., None].expand(-1, -1, lm.width)
    content = torch.where((inputs.slots < PROMPT_SLOTS)[..., None], prompt.gather(1, places), 0.0)
    found: Tensor = content + inputs.emotion @ basis + inputs.inferred[..., None] * lm.inferred
    return found


def check_exportable(lm: MotionLM) -> None:
    """Of an ONNX graph; torch performs what is larger.

    Raises:
        InvalidRequest: the generator is too large, or its backbone in half precision.
    """
    count = sum(parameter.numel() for parameter in lm.parameters())
    if count > MOST_WEIGHTS:
        raise InvalidRequest(
            f"the generator has {count / 1e6:.0f} million weights, at most {MOST_WEIGHTS // 10**6} million are "
            "exported to ONNX; torch performs it live"
        )
    if lm.config.dtype != "float32":
        raise InvalidRequest(
            f"a backbone in {lm.config.dtype} is not exported to ONNX; torch performs it live, or train it in float32"
        )


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
        logits: (B, K), of which at most the MOST_CODES likeliest are drawn. uniform, temperature, top_p: (B,).
    """
    sharp = 1.0 / temperature.clamp(min=MIN_TEMPERATURE)[:, None]
    ordered, order = torch.topk(logits * sharp, min(MOST_CODES, logits.shape[-1]), dim=-1)
    probability = ordered.softmax(-1)
    reached = probability.cumsum(-1)
    mass = torch.where(reached - probability < top_p[:, None], reached, 0.0).amax(-1, keepdim=True)
    drawn = torch.where(temperature < MIN_TEMPERATURE, 0.0, uniform)[:, None]
    index = (reached <= drawn * mass).long().sum(-1, keepdim=True).clamp(max=ordered.shape[-1] - 1)
    return order.gather(-1, index)[:, 0]


def _norm(module: Any, x: Tensor) -> Tensor:
    scale: Tensor = module.weight
    found: Tensor = F.rms_norm(x, (x.shape[-1],), scale, module.variance_epsilon)
    return found
