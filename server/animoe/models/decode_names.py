"""Names of the exported decode step's inputs and outputs (no torch here)."""

from __future__ import annotations

from animoe.models.sequence import step_stack_names

FEED_NAMES = (
    "given",
    "slots",
    "codes",
    "left",
    "positions",
    "rows",
    "active",
    "past_mask",
    "draws",
    "uniform",
    "temperature",
    "top_p",
    "shares",
)
OUTPUT_NAMES = ("next_codes", "keys", "values")


def input_names(layers: int) -> tuple[str, ...]:
    """Inputs of the step of a backbone with `layers` layers, in order."""
    past = [f"past_{part}_{layer}" for part in ("key", "value") for layer in range(layers)]
    stacks = [name for layer in range(layers) for name in step_stack_names(layer)]
    return (*FEED_NAMES, *past, *stacks)
