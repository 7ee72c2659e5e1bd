"""The part of a model card that says what a bundle has learnt, made from the reports of its imports.

Every import performed the evaluation sets of the base and of all older scenarios before and after, so the reports
together are the forgetting matrix.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from animoe.bundle.scenarios import expert_folder, read_state
from animoe.errors import BundleError

HEADING = "## Learnt scenarios"
_FIGURES = (
    ("r1", "quality", "R@1 %", 100.0),
    ("wf1", "emotion", "emotion wF1 %", 100.0),
    ("fid", "quality", "FID", 1.0),
)


def learnt_section(bundle: Path) -> str:
    """Markdown: one table per scenario figure, before, after and real; matrices of R@1 and emotion wF1; routing.

    Raises:
        BundleError: an expert has no report, or a damaged one.
    """
    reports = [_report(expert_folder(bundle, column)) for _, column in read_state(bundle).active()]
    parts = [
        HEADING,
        "",
        "Each learnt by `animoe pack import` on top of the ones before it, in this order. Before = without its expert, "
        "real = the held-out clips themselves, judged alike; generated figures are means over repetitions with fixed "
        "noise seeds. Sets are small: a scenario of ten prompts moves by several points by chance.",
        "",
        *_scenario_table(reports),
    ]
    for name, kind, title, scale in _FIGURES[:2]:
        parts += ["", *_matrix(reports, name, kind, title, scale)]
    return "\n".join([*parts, "", *_routing(reports), ""])


def _scenario_table(reports: list[dict[str, Any]]) -> list[str]:
    head = ["expert", "clips", "prompts"]
    for _, _, title, _ in _FIGURES:
        head += [f"{title} before", "after", "real"]
    rows = []
    for report in reports:
        cells = [_name(report), str(report["pack"]["clips"]), str(report["evaluation"]["prompts"])]
        for name, kind, _, scale in _FIGURES:
            cells += [_cell(report["figures"][when][kind][name], scale) for when in ("before", "after", "real")]
        rows.append(cells)
    return _table(head, rows)


def _matrix(reports: list[dict[str, Any]], name: str, kind: str, title: str, scale: float) -> list[str]:
    """Row: after which import; column: whose evaluation set. What the import itself had to hold."""
    sets = list(dict.fromkeys([*(s for report in reports for s in report["old"]), *map(_name, reports)]))
    rows = []
    for report in reports:
        after = {s: found["after"] for s, found in report["old"].items()} | {_name(report): report["figures"]["after"]}
        rows.append([_name(report), *(_cell(after[s][kind][name], scale) if s in after else "" for s in sets)])
    return [f"{title} of every evaluation set (columns) after each import (rows):", "", *_table(["after", *sets], rows)]


def _routing(reports: list[dict[str, Any]]) -> list[str]:
    """Mean gate weights after the last import."""
    last = reports[-1]["routing"]
    experts = ["base", *map(_name, reports)]
    rows = [[name, *(_cell(weights.get(expert, 0.0), 100.0) for expert in experts)] for name, weights in last.items()]
    return ["Who performs the prompts of each set, mean gate weight in % after the last import:", "",
            *_table(["prompts of", *experts], rows)]  # fmt: skip


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _cell(value: float | None, scale: float) -> str:
    return "-" if value is None else f"{scale * value:.1f}"


def _name(report: dict[str, Any]) -> str:
    return f"{report['scenario']}@{report['version']}"


def _report(folder: Path) -> dict[str, Any]:
    path = folder / "report.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key in ("scenario", "version", "pack", "evaluation", "figures", "old", "routing"):
            found[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"no usable report in {path}: {error}; import the scenario again") from error
    return found
