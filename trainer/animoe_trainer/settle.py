"""A learnt bundle and what it builds on -> one bundle that stands alone, as the default bundle was made.

The planner of the present generation moves into `motion_lm.safetensors`; experts keep their columns, so every prompt is
performed as before. The log that led here stays behind, and so do the report pages.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from safetensors.torch import load_file

from animoe.bundle.files import refused_writes
from animoe.bundle.manifest import REQUIRED_FILES, bundle_file, read_manifest, write_manifest
from animoe.bundle.publishing import PUBLISH, Generation, now, state_digest, user_name
from animoe.bundle.scenarios import ScenarioState, expert_folder, read_state, write_state
from animoe.errors import FailedPrecondition
from animoe_trainer.base import load_motion_lm, save_motion_lm
from animoe_trainer.expert_store import load_planner_state
from animoe_trainer.importing.expression import BASE_FIGURES
from animoe_trainer.importing.generator import BASE_MEMORY, EVALUATION
from animoe_trainer.learnt_card import HEADING, learnt_section
from animoe_trainer.make_bundle import (
    check_destination,
    file_digests,
    replace_bundle,
    save_smallest,
    verify_bundle,
    write_step,
)

_LEARNING = ("evaluator.json", "evaluator.safetensors", BASE_MEMORY, BASE_FIGURES, EVALUATION)
_PAGE = "report.html"


def settle_bundle(bundle: Path, out: Path, card: Path | None = None) -> int:
    """Writes what `bundle` is now to `out`, replacing the bundle that is there; returns its size in bytes.

    Args:
        card: model card; None keeps the one it has. What was learnt is added to either.

    Raises:
        BundleError: the bundle is damaged. FailedPrecondition: it has learnt nothing.
        InvalidRequest: `out` is something that is not a bundle.
    """
    check_destination(out)
    manifest, state = read_manifest(bundle), read_state(bundle)
    if not any(True for _ in state.active()):
        raise FailedPrecondition(f"{bundle} has learnt no scenario; there is nothing to settle")
    out.parent.mkdir(parents=True, exist_ok=True)
    with refused_writes(out.parent), tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        folder = Path(scratch) / "new"
        folder.mkdir()
        for name in (*REQUIRED_FILES, *_LEARNING):
            _copy(bundle_file(bundle, name), folder / name)
        _write_card(bundle, card or bundle_file(bundle, "MODEL_CARD.md"), folder / "MODEL_CARD.md")
        _write_generator(bundle, state, folder)
        kept = _write_state(bundle, state, folder)
        write_manifest(folder, replace(manifest, files=file_digests(folder), parent=""))
        write_state(folder, kept)
        verify_bundle(folder)
        replace_bundle(folder, out, Path(scratch) / "old")
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.is_file():
        shutil.copyfile(source, target)


def _write_card(bundle: Path, card: Path, target: Path) -> None:
    text = card.read_text(encoding="utf-8")
    text = text.split(HEADING)[0].rstrip()
    target.write_text(f"{text}\n\n{learnt_section(bundle)}", encoding="utf-8")


def _write_generator(bundle: Path, state: ScenarioState, folder: Path) -> None:
    """The generator with the planner of this generation, and its step, which points into the new file."""
    lm = load_motion_lm(bundle_file(bundle, "motion_lm.json").parent)
    if state.planner:
        load_planner_state(lm, load_file(bundle_file(bundle, state.planner)))
    save_motion_lm(lm, folder)
    save_smallest(folder / "motion_lm.safetensors")
    write_step(lm, folder)


def _write_state(bundle: Path, state: ScenarioState, folder: Path) -> ScenarioState:
    """Copies the experts of all columns; returns the generation as the new bundle has it: all of its log."""
    for column in state.columns:
        source, target = expert_folder(bundle, column), folder / "experts" / column.name
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(_PAGE))
    kept = replace(state, planner="")
    kept = replace(kept, digest=state_digest(folder, kept))
    line = Generation(kept, PUBLISH, state.columns[-1].scenario, user_name(), now())
    (folder / "generations").mkdir()
    path = folder / f"generations/{kept.generation:04d}.json"
    path.write_text(json.dumps(asdict(line), indent=1) + "\n", encoding="utf-8")
    return kept
