"""Observer: what the engine tells whoever watches it. Knows neither metrics nor logs; by default nobody listens."""

from __future__ import annotations


class Observer:
    """Hears what happens; this one ignores all of it. Override what is of interest.

    Calls come from the engine's thread, in every step: they must return at once, take no lock and never raise.
    """

    def step(self, batch: int, seconds: float) -> None:
        """One step made the next token of `batch` characters."""

    def queue(self, depth: int) -> None:
        """So many characters wait for a step now."""


NOBODY = Observer()
