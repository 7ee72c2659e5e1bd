"""Tunes a large pretrained backbone for motion without training all of it: LoRA while the base is learnt, then merged.

All weights of a 7 B model in training take some 130 GB (weights, gradients, two moments, average). Frozen ones take
their own 2 bytes each, and what is learnt is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from animoe.errors import InvalidRequest
from animoe.models.motion_lm import MotionLM
from animoe.models.samoe import ExpertBank, ExpertLinear, SAMoEConfig, put

ALWAYS = ((0.0, 1.0),)


@dataclass(frozen=True)
class Tuning:
    """How a backbone learns motion.

    rank, alpha, dropout: of the LoRA on all of its linear layers. checkpointing: recompute activations instead of
    keeping them: a third more time for a fraction of the memory.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.05
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InvalidRequest(f"the rank of a tuning must be 1 or more, got {self.rank}")


def start_tuning(lm: MotionLM, tuning: Tuning) -> None:
    """Freezes the backbone and puts a LoRA beside each of its linear layers. `lm` is on its device already."""
    lm.backbone.requires_grad_(False)
    bank = ExpertBank(lm.backbone, SAMoEConfig(tuning.rank, tuning.alpha, tuning.dropout))
    bank.start_new()
    bank.use(torch.tensor(ALWAYS, device=lm.inferred.device))
    if tuning.checkpointing:
        save_memory(lm)


def save_memory(lm: MotionLM) -> None:
    """Recomputes the backbone's activations in training.

    Raises:
        InvalidRequest: this backbone cannot.
    """
    backbone: Any = lm.backbone
    if not backbone.supports_gradient_checkpointing:
        raise InvalidRequest(f"the backbone {type(backbone).__name__} cannot recompute activations; leave that out")
    how = {"use_reentrant": False}  # the first layer's input need not ask for a gradient
    if hasattr(backbone, "activation_checkpointing_enable"):
        backbone.activation_checkpointing_enable(activation_checkpointing_kwargs=how)
    else:  # its name until transformers 5.20
        backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)


@torch.no_grad()
def merge_tuning(lm: MotionLM) -> None:
    """Adds what was learnt to the backbone's own weights and takes the LoRA off again."""
    adapted = [(name, m) for name, m in lm.backbone.named_modules() if isinstance(m, ExpertLinear)]
    for name, layer in adapted:
        layer.base.weight.copy_(merged_weight(layer))
        put(lm.backbone, name, layer.base)


def merged_weight(layer: ExpertLinear) -> Tensor:
    """W + scale * B A of a layer whose only expert is always on."""
    down, up = layer.stacked()
    weight = layer.base.weight
    return (weight.float() + layer.scale * up @ down).to(weight.dtype)
