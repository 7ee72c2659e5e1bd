"""What stands where in the generator's sequence: [prompt x K] [begin | resume] [token] [token] ..., and which of its
layers experts adapt (no torch here)."""

from __future__ import annotations

PROMPT_SLOTS = 4
SLOT_BEGIN = PROMPT_SLOTS
"""Opens a clip."""
SLOT_RESUME = PROMPT_SLOTS + 1
"""Opens a piece from the middle: a training crop, or live motion that changes its prompt."""
SLOT_TOKEN = PROMPT_SLOTS + 2
MAX_LEFT = 96
"""Most tokens to go that are told apart (12.8 s)."""
LEFT_OPEN = MAX_LEFT + 1
"""Value of `left` for motion without a planned end."""

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers of a Llama: the exported step takes experts for them (torch adapts whatever linear ones there are)."""
EXPERT_INPUTS = tuple(f"{kind}_{side}" for kind in ADAPTED for side in ("down", "up"))
"""Stacks of all experts: NAME_down (N, L, r, in) holds the A, NAME_up (N, L, r, out) the transposed B."""

FAMILIES = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "out": ("o_proj",),
    "gate_up": ("gate_proj", "up_proj"),
    "mlp_out": ("down_proj",),
}
"""Adapted layers that share their input; the exported step takes the A of a family as one matrix."""


def step_stack_names(layer: int) -> tuple[str, ...]:
    """Expert inputs of one layer of the exported step, in order (`bundle.stacks` lays them out)."""
    names: list[str] = []
    for family, kinds in FAMILIES.items():
        names += [f"{family}_in_{layer}", f"{family}_scale_{layer}", *(f"{kind}_out_{layer}" for kind in kinds)]
    return tuple(names)
