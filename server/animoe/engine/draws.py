"""The random numbers of a character: a table that is looked up by token, not a stream that is used up.

Philox is counter-based (Salmon et al., SC 2011): the numbers of token k depend on the seed and k only. So a character
that goes back to a token draws there what it would have drawn had it never gone on.
"""

from __future__ import annotations

import numpy as np

from animoe.rig.rotations import Array

_PAGE = 32
"""Tokens whose numbers are made at a time: one generator costs 18 us, its numbers next to nothing."""


class Draws:
    """Uniform numbers of one character.

    Args:
        seed: 0 to 2^63 - 1. candidates, groups: most tokens drawn at a time, and codes per token.
    """

    def __init__(self, seed: int, candidates: int, groups: int) -> None:
        self._seed, self._shape = seed, (_PAGE, candidates, groups)
        self._number, self._page = -1, np.zeros(0, dtype=np.float32)

    def of(self, token: int, count: int) -> Array:
        """(count, groups) float32 in [0, 1) for the candidates of a token."""
        number, row = divmod(token, _PAGE)
        if number != self._number:
            generator = np.random.Generator(np.random.Philox(key=self._seed, counter=[0, number, 0, 0]))
            self._number, self._page = number, generator.random(self._shape, dtype=np.float32)
        found: Array = self._page[row, :count]
        return found
