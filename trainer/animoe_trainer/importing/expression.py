"""What the tokenizer can express: the joint error of a pack's clips after it, against what the bundle has learnt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from animoe.bundle.catalogue import expert_info
from animoe.bundle.manifest import bundle_file
from animoe.bundle.scenarios import read_state
from animoe.errors import BundleError
from animoe.models.tokenizer import Tokenizer
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.evaluate_tokenizer import joint_error_mm
from animoe_trainer.evaluator_data import reconstruct_all

BASE_FIGURES = "tokenizer_figures.json"
"""{"packs": {NAME: {"encoder_mpjpe_mm": ...}}}, as `animoe-train eval-tokenizer --json` writes it too."""
TOLERANCE = 1.25
"""Times the worst of what the bundle has learnt that a pack's error may reach before it lies outside."""


@dataclass(frozen=True)
class RowError:
    """Mean joint error of one clip after the tokenizer, without the root path."""

    line: int
    text: str
    error_mm: float


@dataclass(frozen=True)
class Expression:
    """How well the tokenizer expresses a pack.

    Attributes:
        mean_mm, worst_mm: over the clips. known: scenario -> mean error of what the bundle has learnt.
        times: mean over the worst known mean; None when nothing is known. outside: above TOLERANCE.
        rows: the clips that lie furthest out, worst first.
    """

    mean_mm: float
    worst_mm: float
    known: dict[str, float]
    times: float | None
    outside: bool
    rows: tuple[RowError, ...]

    def sentence(self) -> str:
        """For people."""
        said = f"the tokenizer reproduces the clips to {self.mean_mm:.1f} mm, the worst to {self.worst_mm:.1f} mm"
        if self.times is None:
            return f"{said}; the bundle carries no figures to compare with"
        low, high = min(self.known.values()), max(self.known.values())
        against = f"{said} ({low:.1f} to {high:.1f} mm for what the bundle has learnt)"
        if self.outside:
            return f"{against}: the pack lies OUTSIDE what it can express, {self.times:.1f} times its worst scenario"
        return f"{against}: the pack lies inside what it can express"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"sentence": self.sentence()}


def express(tokenizer: Tokenizer, corpus: Corpus, bundle: Path, *, listed: int = 10) -> Expression:
    """Measures all clips of a corpus with the encoder's own codes, which the generator is trained on."""
    items = [item for item in corpus.items if not item.mirrored and item.count >= FRAMES_PER_TOKEN]
    rows = row_errors(tokenizer, corpus, items)
    errors = [row.error_mm for row in rows]
    known = known_errors(bundle)
    mean = float(np.mean(errors))
    times = mean / max(known.values()) if known else None
    worst = tuple(sorted(rows, key=lambda row: -row.error_mm)[:listed])
    return Expression(mean, max(errors), known, times, times is not None and times > TOLERANCE, worst)


def row_errors(tokenizer: Tokenizer, corpus: Corpus, items: Sequence[Item]) -> list[RowError]:
    """Error of each item."""
    motions = [corpus.frames(item) for item in items]
    rebuilt = reconstruct_all(tokenizer, motions)
    return [
        RowError(item.line, item.texts[0], joint_error_mm(motion, features))
        for item, motion, features in zip(items, motions, rebuilt, strict=True)
    ]


def known_errors(bundle: Path) -> dict[str, float]:
    """Mean error in mm of what the bundle has learnt: its scenarios, and its base's packs."""
    found = _base_errors(bundle)
    for _, column in read_state(bundle).active():
        error = expert_info(bundle, column).get("tokenizer", {}).get("mean_mm")
        if error is not None:
            found[column.name] = float(error)
    return found


def keep_base_errors(tokenizer: Tokenizer, corpus: Corpus, bundle: Path) -> None:
    """Writes the errors of the packs that a base was taught, for later packs to be compared with."""
    items = [item for item in corpus.items if not item.mirrored and item.count >= FRAMES_PER_TOKEN]
    found = row_errors(tokenizer, corpus, items)
    packs = {
        name: float(np.mean([row.error_mm for item, row in zip(items, found, strict=True) if item.pack == name]))
        for name in dict.fromkeys(item.pack for item in items)
    }
    plain = {"packs": {name: {"encoder_mpjpe_mm": round(error, 2)} for name, error in packs.items()}}
    (bundle / BASE_FIGURES).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _base_errors(bundle: Path) -> dict[str, float]:
    path = bundle_file(bundle, BASE_FIGURES)
    if not path.is_file():
        return {}
    try:
        packs = json.loads(path.read_text(encoding="utf-8"))["packs"]
        return {name: float(pack["encoder_mpjpe_mm"]) for name, pack in packs.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is damaged: {error}; restore the bundle") from error
