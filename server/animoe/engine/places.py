"""Places for the caches of characters, made a cohort at a time and handed out one by one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Place:
    """One character's place. cohort: the caches that a step runner made; row: of them."""

    cohort: Any
    row: int


class Places:
    """Hands out places; safe to use from several threads.

    Args:
        make: caches of `size` characters in one block of memory, called as characters come.
    """

    def __init__(self, make: Callable[[], object], size: int) -> None:
        self._make, self._size = make, size
        self._lock = threading.Lock()
        self._free: dict[object, set[int]] = {}
        self._returned: deque[Place] = deque()

    def take(self) -> Place:
        """The lowest free place of the oldest cohort that has one: what is in use stays together."""
        with self._lock:
            self._sort_in()
            cohort = next((cohort for cohort, free in self._free.items() if free), None)
            if cohort is None:
                cohort = self._make()
                self._free[cohort] = set(range(self._size))
            row = min(self._free[cohort])
            self._free[cohort].remove(row)
        return Place(cohort, row)

    def give_back(self, place: Place) -> None:
        """Takes no lock: garbage collection calls this at any moment, also in a thread that holds it."""
        self._returned.append(place)

    def used(self, cohort: object) -> int:
        """Places of a cohort up to the last one in use, at least 1."""
        with self._lock:
            self._sort_in()
            free = self._free[cohort]
            return max((row for row in range(self._size) if row not in free), default=0) + 1

    def taken(self, cohort: object | None = None) -> int:
        """Places in use, of one cohort or of all."""
        with self._lock:
            self._sort_in()
            free = self._free.values() if cohort is None else [self._free[cohort]]
            return sum(self._size - len(places) for places in free)

    def _sort_in(self) -> None:
        """What was given back is free."""
        while self._returned:
            place = self._returned.popleft()
            self._free[place.cohort].add(place.row)
