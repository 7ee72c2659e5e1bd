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
