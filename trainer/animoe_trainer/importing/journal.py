"""The journal of an import: which steps are done and what they found. A killed import goes on from it.

DIR/imports/ID/journal.json   written whole after every step
DIR/imports/ID/work/          corpus, codes, checkpoints, the expert until it is published; deleted at the end
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from animoe.bundle.files import write_durable
from animoe.bundle.publishing import now
from animoe.errors import BundleError, FailedPrecondition

RUNNING, PUBLISHED, REFUSED = "running", "published", "refused"


@dataclass
class Journal:
    """One import.

    Attributes:
        folder: of the import. pack: where its files came from. digest: of those files.
        state: digest and number of the generation it builds on.
        steps: name -> what the step found, in the order in which they were done.
    """

    folder: Path
    scenario: str
    pack: str
    digest: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    state: list[Any] = field(default_factory=list)
    version: int = 0
    status: str = RUNNING
    started: str = field(default_factory=now)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Identity of the import."""
        return self.folder.name

    @property
    def work(self) -> Path:
        """Folder of what only this import needs."""
        return self.folder / "work"

    def save(self) -> None:
        """Writes the journal, in one step and durable."""
        self.work.mkdir(parents=True, exist_ok=True)
        plain = {k: v for k, v in asdict(self).items() if k != "folder"}
        write_durable(self.folder / "journal.json", (json.dumps(plain, indent=1) + "\n").encode())

    def done(self, step: str, **found: Any) -> None:
        """Notes that a step is finished."""
        self.steps[step] = {"at": now(), **found}
        self.save()

    def drop_from(self, *steps: str) -> None:
        """Forgets steps that have to be done again, and their files."""
        for step in steps:
            self.steps.pop(step, None)
        for name in ("train", "staged", "scores"):
            shutil.rmtree(self.work / name, ignore_errors=True)
        self.save()

    def end(self, status: str) -> None:
        """Notes how it ended; what only the import needed goes, unless it may still be forced."""
        self.status = status
        self.save()
        if status == PUBLISHED:
            shutil.rmtree(self.work, ignore_errors=True)


def new_journal(bundle: Path, scenario: str, packs: Sequence[Path]) -> Journal:
    """Opens an import; unfinished ones of the same scenario are given up."""
    for old in journals(bundle):
        if old.scenario == scenario and old.status != PUBLISHED:
            shutil.rmtree(old.work, ignore_errors=True)
    numbers = [int(p.name.rpartition("-")[2]) for p in (bundle / "imports").glob("*-[0-9]*") if p.is_dir()]
    named = " + ".join(str(pack) for pack in packs)
    journal = Journal(bundle / "imports" / f"{scenario}-{1 + max(numbers, default=0):04d}", scenario, named)
    journal.save()
    return journal


def resume_journal(bundle: Path, scenario: str) -> Journal:
    """The last import of a scenario that did not publish.

    Raises:
        FailedPrecondition: there is none.
    """
    found = [j for j in journals(bundle) if j.scenario == scenario and j.work.is_dir()]
    if not found:
        raise FailedPrecondition(f"no unfinished import of {scenario!r} in {bundle}; start one without --resume")
    return found[-1]


def journals(bundle: Path) -> list[Journal]:
    """All imports of a bundle, oldest first.

    Raises:
        BundleError: a journal is damaged.
    """
    found = []
    for path in sorted((bundle / "imports").glob("*/journal.json")):
        try:
            found.append(Journal(path.parent, **json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError) as error:
            raise BundleError(f"{path} is damaged: {error}; delete {path.parent} and import again") from error
    return sorted(found, key=lambda j: int(j.name.rpartition("-")[2]))
