"""What an import is asked to do, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animoe.errors import InvalidRequest
from animoe_trainer.devices import AUTO, pick_device

PUBLISHED, REFUSED = "published", "refused"


@dataclass(frozen=True)
class ImportRequest:
    """One import.

    Attributes:
        pack: folder or zip. more: further ones that belong to the same scenario. scenario: its name.
        bundle: where the learnt bundle lies; parent: what it starts from when there is none yet (None = the bundle
            that ships).
        resume: go on with the last import of this scenario that did not publish.
        force, reason, user: publish although an old scenario got worse, why, and who says so ("" = who runs this).
        minutes: time for the whole import, None = as long as it takes. steps: of the training, None = by the pack.
        draft: use a drafted table when the pack has no pack.csv.
        threads: of torch, None = all cores. wait: queue behind another import instead of refusing.
        device: "cpu", "cuda", "cuda:N" or "auto": a GPU when there is one.
    """

    pack: Path
    scenario: str
    bundle: Path
    parent: Path | None = None
    resume: bool = False
    force: bool = False
    reason: str = ""
    user: str = ""
    minutes: float | None = None
    steps: int | None = None
    batch: int = 40
    draft: bool = False
    threads: int | None = None
    wait: bool = True
    seed: int = 0
    more: tuple[Path, ...] = ()
    device: str = AUTO

    def __post_init__(self) -> None:
        if self.minutes is not None and not 0.5 <= self.minutes <= 10_000:
            raise InvalidRequest(f"--minutes must be 0.5 or more, got {self.minutes:g}")
        if self.steps is not None and not 1 <= self.steps <= 100_000:
            raise InvalidRequest(f"--steps must be between 1 and 100000, got {self.steps}")
        if self.threads is not None and not 1 <= self.threads <= 256:
            raise InvalidRequest(f"--threads must be between 1 and 256, got {self.threads}")
        if not 2 <= self.batch <= 4096:
            raise InvalidRequest(f"--batch must be between 2 and 4096, got {self.batch}")
        if not 0 <= self.seed < 2**31:
            raise InvalidRequest(f"--seed must be between 0 and {2**31 - 1}, got {self.seed}")
        pick_device(self.device)

    @property
    def packs(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.pack, *self.more)


@dataclass(frozen=True)
class ImportResult:
    """status: PUBLISHED or REFUSED. report: the HTML page. summary: the report's figures, plain data."""

    status: str
    scenario: str
    version: int
    journal: str
    report: Path
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def published(self) -> bool:
        return self.status == PUBLISHED
