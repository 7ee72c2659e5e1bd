"""Characters that take their next token together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.engine.character import StepInputs
from animoe.engine.conditions import Conditions
from animoe.engine.places import Place
from animoe.engine.prompts import PlannedPrompt
from animoe.engine.requests import Sampling
from animoe.models.sequence import PROMPT_SLOTS
from animoe.rig.rotations import Array


@dataclass(frozen=True, eq=False)
class Row:
    """One character in a batch. place: of its cache."""

    prompt: PlannedPrompt
    inputs: StepInputs
    sampling: Sampling
    place: Place


def given_inputs(row: Row, conditions: Conditions) -> Array:
    """(S, W) what the generator is told at each new position beside slots and codes."""
    inputs = row.inputs
    felt = conditions.felt(inputs.emotion, row.prompt.plan.basis, inferred=inputs.inferred)
    found: Array = np.repeat(felt[None], len(inputs.slots), axis=0)
    if inputs.positions[0] == 0:
        found[:PROMPT_SLOTS] += row.prompt.content
    return found
