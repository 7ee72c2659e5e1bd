"""What stands where in the generator's sequence: [prompt x K] [begin | resume] [token] [token] ... (no torch here)."""

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
