"""The motion language model: prompt vectors and emotion in, motion codes out, one token (4 frames) per step.

Sequence:  [prompt x K] [begin] [token] [token] ...   Each position's input is a sum of embeddings:
- prompt slots: the sentence vector projected to K vectors (the experts of ES-MoE and CGED will act here and inside);
- `begin` opens a clip, `resume` opens a crop from its middle (and a live session that changes its prompt);
- tokens: the sum of their G code embeddings;
- everywhere: the emotion vector of that moment (weights times intensity, so that an emotion curve acts token by
  token) and how many tokens are left (or "open end").
The backbone is any Hugging Face decoder (own small Llama by default); it sees input embeddings only. The G codes of a
token are drawn one after another by small heads, each seeing the codes before it (as in RQ-Transformer, 2203.01941).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animoe.models.backbone import backbone_width, linear_layers, make_backbone, states
from animoe.models.planner import Plan, Planner, PlannerConfig
from animoe.models.samoe import ExpertBank
from animoe.models.sequence import LEFT_OPEN, PROMPT_SLOTS, SLOT_TOKEN
from animoe.motion.emotion import EMOTIONS

OWN_LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 1,
    "max_position_embeddings": 512,
    "attention_dropout": 0.1,
}


@dataclass(frozen=True)
class MotionLMConfig:
    """Shape of the generator.

    backbone: a Hugging Face config as a dict with "model_type" (made fresh), or a path / hub id (pretrained).
    dtype: of the backbone's weights, "float32" or "bfloat16"; all else is float32.
    groups, codebook_size: of the tokenizer. sentence_dim: of the prompt encoder.
    planner: `PlannerConfig` as a dict; None = plain generator without CGED and experts.
    """

    groups: int
    codebook_size: int
    sentence_dim: int = 384
    backbone: dict[str, Any] | str = field(default_factory=lambda: dict(OWN_LLAMA))
    dropout: float = 0.1
    planner: dict[str, Any] | None = None
    dtype: str = "float32"


@dataclass
class LMInputs:
    """A batch of sequences of length S.

    Attributes:
        sentence: (B, sentence_dim) prompt vectors.
        slots: (B, S) int64 what stands at a position: 0..K-1 prompt slot, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN.
        codes: (B, S, G) int64 codes of token positions, anything elsewhere.
        emotion: (B, S, E) float weights times intensity; all zero = neutral.
        inferred: (B, S) float, 1 where the emotion is left to the text (then `emotion` is zero).
        left: (B, S) int64 tokens still to come after this position, LEFT_OPEN for no planned end.
    """

    sentence: Tensor
    slots: Tensor
    codes: Tensor
    emotion: Tensor
    inferred: Tensor
    left: Tensor


class CodeHeads(nn.Module):
    """Predicts the G codes of a token, each given the hidden state and the codes before it."""

    def __init__(self, config: MotionLMConfig, hidden: int, width: int = 256) -> None:
        super().__init__()
        self.groups, self.size = config.groups, config.codebook_size
        self.start = nn.ModuleList(nn.Linear(hidden, width) for _ in range(self.groups))
        tables = [nn.Embedding(self.size, width) for _ in range(self.groups - 1)]
        for table in tables:
            nn.init.normal_(table.weight, std=0.3)
        self.previous = nn.ModuleList(tables)
        self.middle = nn.ModuleList(nn.Linear(width, width) for _ in range(self.groups))
        self.out = nn.ModuleList(nn.Linear(width, self.size) for _ in range(self.groups))
        self.dropout = nn.Dropout(config.dropout)

    def logits(self, hidden: Tensor, group: int, codes: Tensor) -> Tensor:
        """Logits (..., K) of one group; `codes` (..., >= group) are those already drawn."""
        return self.group_logits(self.start[group](hidden) + self._seen(codes, group), group)

    def all_logits(self, hidden: Tensor, codes: Tensor) -> list[Tensor]:
        """Logits (..., K) of every group, each given the true codes (..., G) before it."""
        found, seen = [], torch.zeros_like(self.start[0](hidden))
        for group in range(self.groups):
            found.append(self.group_logits(self.start[group](hidden) + seen, group))
            if group < self.groups - 1:
                seen = seen + self.previous[group](codes[..., group])
        return found

    def _seen(self, codes: Tensor, group: int) -> Tensor | float:
        total: Tensor | float = 0.0
        for earlier in range(group):
            total = total + self.previous[earlier](codes[..., earlier])
        return total

    def group_logits(self, x: Tensor, group: int) -> Tensor:
        """Logits (..., K) of one group from its start and what was seen of the codes before it."""
        x = F.silu(x)
        x = x + F.silu(self.middle[group](x))
        result: Tensor = self.out[group](self.dropout(x))
        return result


class MotionLM(nn.Module):
    """See the module docstring."""

    def __init__(self, config: MotionLMConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config.backbone, config.dtype)
        width = backbone_width(self.backbone)
        self.width = width
        self.prompt = nn.Sequential(
            nn.Linear(config.sentence_dim, width), nn.SiLU(), nn.Linear(width, PROMPT_SLOTS * width)
        )
        self.slot = nn.Embedding(SLOT_TOKEN + 1, width)
        self.code = nn.ModuleList(nn.Embedding(config.codebook_size, width) for _ in range(config.groups))
        self.emotion = nn.Linear(len(EMOTIONS), width, bias=False)
        self.inferred = nn.Parameter(torch.zeros(width))
        self.left = nn.Embedding(LEFT_OPEN + 1, width)
        self.heads = CodeHeads(config, width)
        self.dropout = nn.Dropout(config.dropout)
        for table in (self.slot, self.left, *self.code):
            nn.init.normal_(table.weight, std=0.02)
        nn.init.normal_(self.emotion.weight, std=0.02)
        self.planner: Planner | None = None
        if config.planner is not None:
            linear_layers(self.backbone)  # a backbone that cannot take experts is refused before it is trained
            self.planner = Planner(PlannerConfig.from_dict(config.planner), width)
        self.experts: ExpertBank | None = None

    def attach_experts(self) -> ExpertBank:
        """Makes room for experts on the backbone's linear layers (once; weights must be loaded before)."""
        if self.experts is None:
            assert self.planner is not None, "experts need a planner: its gate mixes them"
            self.experts = ExpertBank(self.backbone, self.planner.config.samoe)
        return self.experts

    def plan(self, words: Tensor, mask: Tensor) -> Plan:
        """What the planner makes of prompts: word vectors (B, T, D) and mask (B, T), 1 at words."""
        assert self.planner is not None, "this generator was made without a planner"
        found: Plan = self.planner(words, mask)
        return found

    def embed(self, inputs: LMInputs, plan: Plan | None = None) -> Tensor:
        """Input embeddings (B, S, width)."""
        count, own = len(inputs.sentence), self.emotion.weight.T
        if plan is None:
            shift = own.new_zeros(1, PROMPT_SLOTS, self.width).expand(count, -1, -1)
            return self.embed_with(inputs, shift, own[None].expand(count, -1, -1))
        suggested = inputs.inferred[..., None] * plan.emotion[:, None].to(inputs.emotion.dtype)
        felt = replace(inputs, emotion=inputs.emotion + suggested)
        return self.embed_with(felt, plan.slots, plan.basis + own)

    def embed_with(self, inputs: LMInputs, shift: Tensor, basis: Tensor) -> Tensor:
        """`embed` with what the planner gave: shift (B, K, width) of the prompt slots, and how each emotion is
        expressed, basis (B, E, width); an emotion left to the text is already in `inputs.emotion`."""
        prompt = self.prompt(inputs.sentence).unflatten(-1, (PROMPT_SLOTS, self.width)) + shift
        batch = torch.arange(prompt.shape[0], device=prompt.device)[:, None]  # len() would fix B in an export
        prompt = prompt[batch, inputs.slots.clamp(max=PROMPT_SLOTS - 1)]
        code = torch.zeros_like(prompt)
        for group, table in enumerate(self.code):
            code = code + table(inputs.codes[..., group])
        content = torch.where((inputs.slots < PROMPT_SLOTS)[..., None], prompt, 0.0)
        content = content + torch.where((inputs.slots == SLOT_TOKEN)[..., None], code, 0.0)
        felt = inputs.emotion.to(basis.dtype) @ basis
        control = felt + inputs.inferred[..., None] * self.inferred + self.left(inputs.left)
        result: Tensor = content + self.slot(inputs.slots) + control
        return result

    def hidden(self, inputs: LMInputs, plan: Plan | None = None) -> Tensor:
        """Hidden states (B, S, width); position s has seen positions <= s. Mix the experts first (`experts.use`)."""
        return states(self.backbone, self.dropout(self.embed(inputs, plan)))[0]

    def loss(self, inputs: LMInputs, targets: Tensor, mask: Tensor, plan: Plan | None = None) -> Tensor:
        """Mean cross entropy over groups of the codes (B, S, G) that follow positions where `mask` (B, S) is true."""
        return self.losses(inputs, targets, mask, plan).mean()

    def losses(self, inputs: LMInputs, targets: Tensor, mask: Tensor, plan: Plan | None = None) -> Tensor:
        """Cross entropy (M,) of each of the M positions where `mask` is true, mean over groups."""
        hidden, wanted = self.hidden(inputs, plan)[mask], targets[mask]
        found = [
            F.cross_entropy(logits.float(), wanted[:, group], label_smoothing=0.02, reduction="none")
            for group, logits in enumerate(self.heads.all_logits(hidden, wanted))
        ]
        return torch.stack(found).mean(0)
