"""Observer: what the engine tells whoever watches it. Knows neither metrics nor logs; by default nobody listens."""

from __future__ import annotations

from collections.abc import Hashable, Mapping


class Observer:
    """Hears what happens; this one ignores all of it. Override what is of interest.

    Calls come from the engine's threads, some of them for every block of every character: they must return at once,
    take no lock and never raise. All times are in seconds.
    """

    def session_opened(self, session: Hashable) -> None:
        """A character lives from now on. `session` names it until `session_closed`."""

    def session_closed(self, session: Hashable) -> None:
        """It has ended."""

    def prompt(self, session: Hashable, shares: Mapping[str, float]) -> None:
        """It performs with these experts from now on: NAME@VERSION or "base" -> share; they add up to 1."""

    def first_frame(self, seconds: float) -> None:
        """A character's first frames left `seconds` after it was asked for."""

    def step(self, batch: int, seconds: float) -> None:
        """One step made the next token of `batch` characters."""

    def block_ready(self, margin_s: float) -> None:
        """A block was ready this long before its first frame was due; below 0 it was late."""

    def missed(self, count: int = 1) -> None:
        """So many blocks were not there when their first frame was due."""

    def queue(self, depth: int) -> None:
        """So many characters wait for a step now."""


NOBODY = Observer()
