"""The last step of an import: the expert's folder with everything that is known about it, published in one rename."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animoe.bundle.files import write_durable
from animoe.bundle.manifest import read_manifest
from animoe.bundle.publishing import now, publish, user_name
from animoe.bundle.scenarios import Column, ScenarioState
from animoe_trainer.evaluation_set import EvaluationSet
from animoe_trainer.importing.generator import load_candidate, load_generator
from animoe_trainer.importing.journal import Journal
from animoe_trainer.importing.judging import (
    Judgement,
    Judges,
    ceiling_figures,
    figures,
    perform_set,
    routing,
    verdict_json,
)
from animoe_trainer.importing.material import Split
from animoe_trainer.importing.page import write_page
from animoe_trainer.importing.pictures import example_sheets
from animoe_trainer.importing.training import PLANNER
from animoe_trainer.sequence import choose
from animoe_trainer.sequences import corpus_texts
from animoe_trainer.verdicts import Verdict

EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that an import found out. `before` and `after` hold every old evaluation set and the new one."""

    bundle: Path
    state: ScenarioState
    journal: Journal
    column: Column
    split: Split
    own: EvaluationSet
    before: dict[str, Judgement]
    after: dict[str, Judgement]
    verdicts: Sequence[Verdict]


def publish_import(evidence: Evidence, judges: Judges, *, forced: dict[str, str] | None) -> tuple[Path, dict[str, Any]]:
    """Publishes the expert; its page, and the summary.

    Args:
        forced: who (`user`), when (`time`) and why (`reason`) publishes although an old scenario got worse; None when
            none did.
    """
    journal = evidence.journal
    staged = journal.work / "staged"
    summary = summarise_import(evidence, forced)
    trained = [item for item in evidence.split.corpus.items if item.split == "train" and not item.mirrored]
    memory = choose(judges.table, corpus_texts(trained or evidence.split.held_out))
    _write_json(staged / "memory.json", memory)
    shutil.rmtree(staged / "evaluation", ignore_errors=True)
    shutil.copytree(journal.work / "evaluation", staged / "evaluation")
    write_report(staged, evidence, judges, summary)
    _write_json(staged / "info.json", _info(summary))
    planner = (journal.work / PLANNER).read_bytes()
    publish(evidence.bundle, staged, planner, evidence.column)
    return evidence.bundle / "experts" / evidence.column.name / "report.html", summary


def write_refusal(evidence: Evidence, judges: Judges) -> tuple[Path, dict[str, Any]]:
    """The report of an import that is not published, in its journal's folder."""
    summary = summarise_import(evidence, None)
    write_report(evidence.journal.folder, evidence, judges, summary)
    return evidence.journal.folder / "report.html", summary


def summarise_import(evidence: Evidence, forced: dict[str, str] | None) -> dict[str, Any]:
    """Everything as plain data: what `report.json` holds."""
    journal, name = evidence.journal, evidence.column.name
    steps, manifest = journal.steps, read_manifest(evidence.bundle)
    tokenise = {k: v for k, v in steps["tokenise"].items() if k != "at"}
    trained = {k: v for k, v in steps["train"].items() if k not in ("at", "history")}
    return {
        "import": journal.name,
        "scenario": evidence.column.scenario,
        "version": evidence.column.version,
        "created": now(),
        "user": user_name(),
        "bundle": {"name": manifest.name, "base_digest": manifest.digest, "generation": evidence.state.generation},
        "pack": {
            "path": journal.pack,
            "digest": journal.digest,
            "table": steps["validate"]["table"],
            "clips": steps["validate"]["clips"],
            "refused": steps["validate"]["refused"],
        },
        "emotions": trained.pop("emotions"),
        "contents": trained.pop("contents"),
        "tokenizer": tokenise,
        "training": {**trained, **journal.settings, "history": steps["train"]["history"]},
        "evaluation": {
            "prompts": len(evidence.own.prompts),
            "held_out_by": "the pack" if evidence.split.own else "AniMoE",
            "trained_on": evidence.split.trained_on,
        },
        "figures": {
            "before": figures(evidence.before[name]),
            "after": figures(evidence.after[name]),
            "real": ceiling_figures(evidence.own),
        },
        "old": {
            label: {"before": figures(evidence.before[label]), "after": figures(evidence.after[label])}
            for label in evidence.before
            if label != name
        },
        "routing": {label: routing(found, evidence.state, name) for label, found in evidence.after.items()},
        "verdicts": [verdict_json(verdict) for verdict in evidence.verdicts],
        "got_worse": [verdict.scenario for verdict in evidence.verdicts if verdict.worse],
        "forced": forced,
    }


def write_report(folder: Path, evidence: Evidence, judges: Judges, summary: dict[str, Any]) -> None:
    """`report.json` and `report.html` with pictures of the same prompts before and after."""
    work, prompts = evidence.journal.work, evidence.own.prompts[:EXAMPLES]
    few = EvaluationSet(evidence.own.scenario, prompts, evidence.own.sentences, evidence.own.real, evidence.own.ceiling)
    before = load_generator(evidence.bundle, evidence.state)
    after = load_candidate(evidence.bundle, evidence.state, evidence.column.scenario, work / "staged", work / PLANNER)
    features = [perform_set(lm.to(judges.device), judges, few, times=1)[0] for lm in (before, after)]
    labels = [f"{p.text} ({p.emotion})" for p in prompts]
    sheets = example_sheets(features[0], features[1], labels, work)
    _write_json(folder / "report.json", summary)
    write_page(folder / "report.html", summary, sheets)


def _info(summary: dict[str, Any]) -> dict[str, Any]:
    """What `scenario show` prints: the report without its long lists."""
    training = {k: v for k, v in summary["training"].items() if k != "history"}
    tokenizer = {k: summary["tokenizer"][k] for k in ("mean_mm", "worst_mm", "times", "outside")}
    pack = summary["pack"] | {"refused": len(summary["pack"]["refused"])}
    return summary | {"training": training, "tokenizer": tokenizer, "pack": pack}


def _write_json(path: Path, value: object) -> None:
    write_durable(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
