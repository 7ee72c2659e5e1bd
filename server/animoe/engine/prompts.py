"""Prompts with everything that the generator needs of them, under one generation of experts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from animoe.bundle.scenarios import ScenarioState
from animoe.engine.conditions import Conditions
from animoe.engine.experts import Expert
from animoe.engine.planner import PlannerNet, PromptPlan
from animoe.engine.prompt_encoder import EncodedPrompt
from animoe.models.sequence import PROMPT_SLOTS
from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array

BASE = "base"
"""Name of the bundle's own model among the experts of a prompt."""
_TINY = 1e-6  # rounding of single-precision weights


@dataclass(frozen=True, eq=False)
class Scenarios:
    """One generation of a bundle's experts, ready to run; never changed, only replaced.

    experts: one per column of the gate after the base's; None where it is not active.
    """

    state: ScenarioState
    planner: PlannerNet | None
    experts: tuple[Expert | None, ...]
    scale: float

    def active(self) -> list[Expert]:
        return [expert for expert in self.experts if expert is not None]


@dataclass(frozen=True, eq=False)
class PlannedPrompt:
    """A prompt, planned.

    content: (PROMPT_SLOTS, W) what stands in its slots. weights: experts that perform it, with gate weight times scale.
    """

    text: str
    plan: PromptPlan
    scenarios: Scenarios
    content: Array
    weights: tuple[tuple[Expert, float], ...]

    @cached_property
    def basis_address(self) -> int:
        """Where `plan.basis` lies; it is float32 without gaps."""
        return _address(self.plan.basis)

    @cached_property
    def content_address(self) -> int:
        """Where `content` lies; it is float32 without gaps."""
        return _address(self.content)

    @property
    def shares(self) -> dict[str, float]:
        """Expert (NAME@VERSION, or "base") -> its share in performing this prompt, heaviest first; they sum to 1."""
        columns = self.scenarios.state.columns
        found = {
            columns[row].name: float(weight) / self.scenarios.scale
            for row, weight in zip(self.plan.expert_ids, self.plan.expert_weights, strict=True)
            if weight > 0
        }
        rest = 1.0 - sum(found.values())
        found |= {BASE: rest} if rest > _TINY or not found else {}
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def plan_prompt(text: str, encoded: EncodedPrompt, conditions: Conditions, scenarios: Scenarios) -> PlannedPrompt:
    """Plans one prompt; a bundle without a planner performs everything with the base."""
    if scenarios.planner is not None and encoded.words is not None:
        plan = scenarios.planner.plan(encoded.words)
    else:
        plan = _plain(conditions.basis)
    weights = []
    for row, weight in zip(plan.expert_ids, plan.expert_weights, strict=True):
        expert = scenarios.experts[row] if weight > 0 else None
        if expert is not None:
            weights.append((expert, float(weight)))
    return PlannedPrompt(text, plan, scenarios, conditions.prompt(encoded.sentence, plan.shift), tuple(weights))


def _plain(basis: Array) -> PromptPlan:
    return PromptPlan(
        shift=np.zeros((PROMPT_SLOTS, basis.shape[1]), dtype=np.float32),
        basis=basis,
        emotion=np.zeros(len(EMOTIONS), dtype=np.float32),
        expert_ids=np.zeros(1, dtype=np.int64),
        expert_weights=np.zeros(1, dtype=np.float32),
        gate=np.ones(1, dtype=np.float32),
    )


def _address(values: Array) -> int:
    assert values.dtype == np.float32 and values.flags.c_contiguous
    found: int = values.ctypes.data
    return found
