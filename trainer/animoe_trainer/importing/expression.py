"""What the tokenizer can express: the joint error of a pack's clips after it, against what the bundle has learnt."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from animoe.bundle.catalogue import expert_info
from animoe.bundle.manifest import bundle_file
from animoe.bundle.scenarios import read_state
from animoe.models.tokenizer import Tokenizer
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.evaluate_tokenizer import joint_error_mm
from animoe_trainer.evaluator_data import reconstruct_all

BASE_FIGURES = "tokenizer_figures.json"
"""Report of `animoe-train eval-tokenizer --json` that a bundle may carry."""
TOLERANCE = 1.25
"""Times the worst of what the bundle has learnt that a pack's error may reach before it lies outside."""
_CARD_ROW = re.compile(r"^\| *([\w -]+?) *\| *(\d+) *\| *([\d.]+) *\| *([\d.]+) *\|", re.MULTILINE)


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
    """Mean error in mm of what the bundle has learnt: its scenarios, and its base's packs (a file, or the card)."""
    found = _base_errors(bundle)
    for _, column in read_state(bundle).active():
        error = expert_info(bundle, column).get("tokenizer", {}).get("mean_mm")
        if error is not None:
            found[column.name] = float(error)
    return found


def _base_errors(bundle: Path) -> dict[str, float]:
    path = bundle_file(bundle, BASE_FIGURES)
    if path.is_file():
        packs = json.loads(path.read_text(encoding="utf-8"))["packs"]
        return {name: float(pack["encoder_mpjpe_mm"]) for name, pack in packs.items()}
    card = bundle_file(bundle, "MODEL_CARD.md")
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    head = text.find("| encoder mm |")
    table = text[head:].split("\n\n")[0] if head >= 0 else ""
    return {name: float(encoder) for name, _, _, encoder in _CARD_ROW.findall(table) if name != "mean of packs"}
