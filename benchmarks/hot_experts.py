"""Experts added to a running server: published into a child of its bundle, as `animoe pack import` does at its end."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from characters import underruns
from safetensors.numpy import save
from served import Served

from animoe.bundle.child import ensure_child
from animoe.bundle.lock import bundle_lock
from animoe.bundle.publishing import publish
from animoe.bundle.scenarios import Column, expert_folder, read_planner, read_state

NEAR_S = (0.1, 5.0)
"""Underruns from so long before a publication until so long after it are put down to it."""
_LIVE_S = 5.0


@dataclass(frozen=True)
class HotAdd:
    """One expert that was added.

    Attributes:
        began: when its publication began, by the monotonic clock. live_ms: from then until the server performs with it.
        underruns: around that time. characters: that had taken it up a while later, by their shares.
    """

    expert: str
    began: float
    live_ms: float
    underruns: int = 0
    characters: float = 0.0

    def line(self) -> str:
        return (
            f"{self.expert} added: live after {self.live_ms:.0f} ms, {self.underruns} underruns around it, "
            f"then performs {self.characters:.1f} characters"
        )


class HotAdds:
    """Publishes experts while a crowd plays.

    An expert is a copy of the one that most characters perform with, with a key close to its key, so that prompts
    choose it.

    Args:
        parent: bundle with experts. folder: of the child that is served. count: how many to add.
    """

    def __init__(self, parent: Path, folder: Path, count: int) -> None:
        ensure_child(folder, parent)
        self.folder, self._count = folder, count
        self._added: list[HotAdd] = []
        self._columns = {column.name: (index, column) for index, column in read_state(folder).active()}
        if not self._columns:
            raise SystemExit(f"{parent} has no experts; --hot-add adds copies of such")

    def play(self, share: float, server: Served) -> None:
        """Adds an expert when it is time to; `share` is how much of the whole time has passed, 0 to 1."""
        if len(self._added) < self._count and share >= (len(self._added) + 0.5) / self._count:
            self._add(server)
        self._look(server)

    def judged(self, late: list[tuple[float, float]]) -> list[HotAdd]:
        """What was added, with the underruns around it, out of (moment, so long) of standstills."""
        before, after = NEAR_S
        return [
            HotAdd(
                add.expert,
                add.began,
                add.live_ms,
                underruns(entry for entry in late if add.began - before <= entry[0] <= add.began + after),
                add.characters,
            )
            for add in self._added
        ]

    def _add(self, server: Served) -> None:
        state = read_state(self.folder)
        used = [use.expert for use in server.status().experts if use.expert in self._columns]
        index, like = self._columns[used[0] if used else next(iter(self._columns))]
        column = Column(f"hot_{len(self._added)}", 1)
        staged = self.folder / f".staged-{column.name}"
        shutil.copytree(expert_folder(self.folder, like), staged)
        planner = read_planner(self.folder, state)
        emotion, keys = planner.pop("emotion.weight"), planner["gate.keys"]
        key = keys[1 + index] * (1 + 1e-3 * np.arange(keys.shape[1]).astype(keys.dtype) / keys.shape[1])
        planner["gate.keys"] = np.concatenate([keys, key[None]]).astype(keys.dtype)
        data = save({f"planner.{name}": value for name, value in planner.items()} | {"emotion.weight": emotion})
        with bundle_lock(self.folder, "benchmark"):
            began = time.monotonic()
            generation = publish(self.folder, staged, data, column).generation
        while server.status().generation < generation:
            if time.monotonic() > began + _LIVE_S:
                raise SystemExit(f"the server did not take up {column.name} in {_LIVE_S:.0f} s")
            time.sleep(0.01)
        self._added.append(HotAdd(column.name, began, 1000 * (time.monotonic() - began)))

    def _look(self, server: Served) -> None:
        """Once, when characters have had the time to change their prompts."""
        for index, add in enumerate(self._added):
            if not add.characters and time.monotonic() > add.began + NEAR_S[1]:
                shares = {use.expert: use.characters for use in server.status().experts}
                self._added[index] = HotAdd(add.expert, add.began, add.live_ms, 0, shares.get(add.expert, 0.0))
