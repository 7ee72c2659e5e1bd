"""Hot reload: experts that were published, rolled back or removed are taken up while streams run."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from animoe.bundle.manifest import MANIFEST, bundle_file
from animoe.bundle.scenarios import SCENARIOS
from animoe.engine import Engine
from animoe.errors import AniMoEError
from animoe.serving.compute import Compute

POLL_S = 0.05
"""A look at one file: even on a network disk well within the 200 ms in which a new expert is live."""
_RETRY_S = 2.0
"""A damaged generation may be one whose files have not all reached this machine yet."""

log = logging.getLogger(__name__)

Signature = tuple[str, int, int, int]


class BundleWatcher:
    """Looks at a bundle's `scenarios.json` and lets the engine take up what changed.

    Args:
        engine: what performs; its `refresh` swaps generations in one step.
        compute: the pool in which experts are loaded.
        learnt: bundle that new experts are written to, when it is another than the engine's: a child of it, which
            need not exist yet.
    """

    def __init__(self, engine: Engine, compute: Compute, learnt: Path | None = None) -> None:
        self._engine, self._compute = engine, compute
        self._learnt = learnt
        self._seen: Signature | None = ("", 0, 0, 0)  # whatever there is, the first look differs: nothing slips through
        self._problem, self._retry_at = "", 0.0

    async def run(self) -> None:
        """Watches until it is cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # the watch must outlive whatever a disk does
                log.exception("looking for new experts failed")
                await asyncio.sleep(_RETRY_S)
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """One look; loads what is new."""
        folder = await asyncio.to_thread(self._folder)
        found = await asyncio.to_thread(_signature, folder)
        if found == self._seen and not (self._problem and time.monotonic() >= self._retry_at):
            return
        began = time.monotonic()
        try:
            changed = await self._compute.run(self._engine.refresh, folder)
        except AniMoEError as error:
            self._complain(str(error))
        else:
            self._problem = ""
            if changed:
                info, took_ms = self._engine.info, (time.monotonic() - began) * 1000
                experts = ", ".join(info.experts) or "none"
                log.info("generation %d is live after %.0f ms; experts: %s", info.generation, took_ms, experts)
        self._seen = found

    def _folder(self) -> Path:
        if self._learnt is not None and (self._learnt / MANIFEST).is_file():
            return self._learnt
        return self._engine.folder

    def _complain(self, problem: str) -> None:
        self._retry_at = time.monotonic() + _RETRY_S
        if problem != self._problem:
            log.error("a new generation of experts cannot be used, the old one stays: %s", problem)
        self._problem = problem


def _signature(folder: Path) -> Signature | None:
    """Changes with every publication: each one renames a new file into place."""
    path = bundle_file(folder, SCENARIOS)
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_mtime_ns, status.st_ino, status.st_size
