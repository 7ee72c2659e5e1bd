"""The experts that live characters may use, side by side in the layout of the decode step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from animoe.bundle.stacks import lay_out
from animoe.rig.rotations import Array


@dataclass(frozen=True, eq=False)
class Expert:
    """One expert, read once. key: where it was read from; experts are immutable, so it stands for the contents."""

    key: str
    arrays: Mapping[str, Array]


class ExpertPool:
    """Immutable; a generation that adds an expert makes another pool, with the earlier ones in their places.

    Args:
        experts: distinct, at least one.

    Attributes:
        experts: in the order of their columns.
    """

    def __init__(self, experts: Sequence[Expert]) -> None:
        self.experts = tuple(experts)
        self._columns = {expert.key: column for column, expert in enumerate(experts)}

    @cached_property
    def inputs(self) -> dict[str, Array]:
        """Of the exported decode step, by name."""
        return lay_out([expert.arrays for expert in self.experts])

    def __len__(self) -> int:
        return len(self.experts)

    def holds(self, experts: Sequence[Expert]) -> bool:
        return all(expert.key in self._columns for expert in experts)

    def mixture(self, weights: Sequence[tuple[Expert, float]]) -> list[tuple[int, float]]:
        """Columns and weights of a prompt's experts."""
        return [(self._columns[expert.key], weight) for expert, weight in weights]

    def shares(self, weights: Sequence[tuple[Expert, float]]) -> Array:
        """(N,) float32 of a prompt's experts and weights."""
        found = np.zeros(len(self.experts), dtype=np.float32)
        for column, weight in self.mixture(weights):
            found[column] = weight
        return found

    def joined(self, experts: Sequence[Expert], still_used: Sequence[Expert]) -> ExpertPool:
        """A pool of these: those of `self` that are among them keep their order and come first."""
        wanted = {expert.key: expert for expert in (*still_used, *experts)}
        kept = [expert for expert in self.experts if expert.key in wanted]
        new = [expert for key, expert in wanted.items() if key not in self._columns]
        return ExpertPool([*kept, *new])
