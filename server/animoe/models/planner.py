"""The planner: a prompt, once, becomes everything that the generator needs of it.

prompt slots (added to the generator's own), how each emotion is expressed *in this prompt*, the emotion that the text
itself suggests, and the weights of the experts. It joins CGED (`models.cged`) and the gate of SAMoE (`models.samoe`).
Both injections start at zero, so a generator with an untrained planner is the plain one (A7-3 of our notes).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from animoe.models.cged import CGED, CGEDConfig
from animoe.models.samoe import Gate, SAMoEConfig
from animoe.models.sequence import PROMPT_SLOTS
from animoe.motion.emotion import EMOTIONS

NEUTRAL = EMOTIONS.index("neutral")


@dataclass(frozen=True)
class PlannerConfig:
    """Parts of the planner; `decouple` False leaves CGED out (ablation): the gate then sees the mean word vector."""

    cged: CGEDConfig = field(default_factory=CGEDConfig)
    samoe: SAMoEConfig = field(default_factory=SAMoEConfig)
    decouple: bool = True

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> PlannerConfig:
        return cls(CGEDConfig(**raw["cged"]), SAMoEConfig(**raw["samoe"]), raw["decouple"])


@dataclass
class Plan:
    """What the generator needs of B prompts.

    Attributes:
        slots: (B, PROMPT_SLOTS, W) added to the generator's own prompt slots.
        basis: (B, E, W) added to the generator's own emotion vectors.
        emotion: (B, E) the emotion that the text suggests, as an emotion vector (neutral = zero).
        logits: (B, E) of the emotion head. gate: (B, 1 + N) logits over the base and the experts.
        pooled: (B, W').
    """

    slots: Tensor
    basis: Tensor
    emotion: Tensor
    logits: Tensor
    gate: Tensor
    pooled: Tensor


class Planner(nn.Module):
    """See the module docstring."""

    def __init__(self, config: PlannerConfig, width: int) -> None:
        super().__init__()
        self.config, self.width = config, width
        inner = config.cged.width
        self.cged = CGED(config.cged, len(EMOTIONS))
        self.gate = Gate(config.samoe, inner, config.cged.features)
        self.slots = nn.Linear(inner, PROMPT_SLOTS * width)
        expression = nn.Linear(inner, width)
        self.basis = nn.Sequential(nn.Linear(2 * inner, inner), nn.SiLU(), expression)
        self.plain = nn.Linear(config.cged.features, inner)
        for layer in (self.slots, expression):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, words: Tensor, mask: Tensor) -> Plan:
        """Word vectors (B, T, features) and mask (B, T) of prompts."""
        found = self.plan(words, mask, *self.cged.dictionary(), self.gate.all_keys())
        return replace(found, gate=self.gate.mask(found.gate))

    def plan(self, words: Tensor, mask: Tensor, rows: Tensor, classes: Tensor, keys: Tensor) -> Plan:
        """`forward` with what grows per scenario as arguments: an exported graph takes them as inputs."""
        count = len(EMOTIONS)
        mean = mean_word(words, mask)
        if not self.config.decouple:
            pooled = self.plain(mean)
            zeros = pooled.new_zeros(1).expand(len(pooled))
            emotion = zeros[:, None].expand(-1, count)
            slots = zeros[:, None, None].expand(-1, PROMPT_SLOTS, self.width)
            basis = zeros[:, None, None].expand(-1, count, self.width)
            return Plan(slots, basis, emotion, emotion, self._gate(pooled, mean, keys), pooled)
        found = self.cged.decouple(words, mask, rows, classes)
        pooled = found.pooled
        around = pooled[:, None].expand(-1, count, -1)
        basis = self.basis(torch.cat([around, found.evidence.to(pooled.dtype)], dim=-1))
        suggested = found.logits.float().softmax(-1).detach()
        chosen = torch.arange(count, device=suggested.device) != NEUTRAL
        return Plan(
            slots=self.slots(pooled).unflatten(-1, (PROMPT_SLOTS, self.width)),
            basis=basis,
            emotion=suggested * chosen,
            logits=found.logits,
            gate=self._gate(pooled, mean, keys),
            pooled=pooled,
        )

    def known(self, words: Tensor, mask: Tensor) -> Tensor:
        """(B, width) what the gate sees of prompts."""
        mean = mean_word(words, mask)
        pooled = self.cged(words, mask).pooled if self.config.decouple else self.plain(mean)
        return self.gate.known(pooled, mean)

    def _gate(self, pooled: Tensor, mean: Tensor, keys: Tensor) -> Tensor:
        return self.gate.query(self.gate.known(pooled, mean.to(pooled.dtype))) @ keys.T


def mean_word(words: Tensor, mask: Tensor) -> Tensor:
    """(B, D) mean of the words (B, T, D) that the mask (B, T) leaves."""
    return (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0)
