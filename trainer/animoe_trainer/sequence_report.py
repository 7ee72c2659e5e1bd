"""`animoe-train sequence-report`: judges learnt sequences and says what the figures do and do not show."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from animoe.bundle.files import write_durable
from animoe.errors import InvalidRequest
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.reports import figure, table
from animoe_trainer.sequence_claims import claims
from animoe_trainer.sequence_emotion import felt_figures, intensity_figures, real_recall
from animoe_trainer.sequence_figures import (
    TABLED,
    Drawn,
    Line,
    draw_base,
    draw_run,
    emotion_share_of_real,
    method_line,
    routing,
    scenario_estimates,
    summaries,
    yardsticks,
)
from animoe_trainer.sequence_judging import Judged, SequenceRun, check_comparable, group_names, judge_run
from animoe_trainer.tokenizer import load_tokenizer

MIN_DRAWS = 20
Draws = dict[str, Drawn]


def run_sequence_report(options: argparse.Namespace) -> int:
    """Writes `report.html`, `report.json` and the plots to `--out`.

    Raises:
        InvalidRequest: too few draws, runs that cannot be compared, or no ES-MoE among them.
        BundleError: a folder holds no sequence.
    """
    from animoe_trainer.sequence_page import write_sequence_page

    if options.draws < MIN_DRAWS:
        raise InvalidRequest(f"--draws must be {MIN_DRAWS} or more: an interval needs them")
    runs = [SequenceRun.load(folder) for folder in options.runs]
    runs.sort(key=lambda run: run.record["method"] != "es_moe")  # the reference first, else as given
    warnings = check_comparable(runs)
    folders = runs[0].record["folders"]
    tokenizer = load_tokenizer(options.tokenizer or Path(folders["tokenizer"]))
    evaluator = Evaluator.load(options.evaluator or Path(folders["evaluator"]))
    bar = tqdm(runs, desc="judging", unit="run", file=sys.stderr, disable=options.json)
    report = make_report([judge_run(run, tokenizer, evaluator) for run in bar], options.draws, warnings)
    options.out.mkdir(parents=True, exist_ok=True)
    write_durable(options.out / "report.json", (json.dumps(report, indent=1) + "\n").encode())
    write_sequence_page(options.out, report)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        print_sequence_report(report)
        print(f"\nreport written to {options.out / 'report.html'}")
    return 0


def make_report(judged: Sequence[Judged], draws: int, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """All figures as plain data.

    Args:
        judged: runs that are comparable; those of the first one's method and base are the reference.
    """
    first = judged[0]
    names = sorted(first.run.order)
    drawn: list[Draws] = []
    for one in tqdm(judged, desc="drawing", unit="run", leave=False):
        drawn.append({measure: draw_run(one, measure, draws) for measure in TABLED})
    bases = [{m: draw_base(one, m, draws) for m in TABLED} if 0 in one.rows else None for one in judged[:1]]
    lines = _lines(judged, drawn, bases[0])
    groups = group_names([one.run for one in judged])
    parts = zip(judged, groups, drawn, strict=True)
    runs = [_run_figures(one, group, d, names, draws) for one, group, d in parts]
    report: dict[str, Any] = {
        "reference": groups[0],
        "warnings": list(warnings),
        "contract": first.run.record["contract"],
        "draws": draws,
        "scenarios": {name: _scenario(first, name) for name in names},
        "runs": runs,
        "base": None if bases[0] is None else scenario_estimates(bases[0], names),
        "methods": [_plain_line(line) for line in lines],
        "emotion": _emotion(judged, draws),
    }
    report["claims"] = claims(report)
    return report


def _scenario(first: Judged, name: str) -> dict[str, Any]:
    packs = first.run.record["contract"]["packs"][name]
    return {"packs": packs, "learnt_from": first.run.record["data"][name]} | yardsticks(first.run.sets[name])


def _lines(judged: Sequence[Judged], drawn: Sequence[Draws], base: Draws | None) -> list[Line]:
    groups: dict[str, list[tuple[SequenceRun, Draws]]] = {}
    for name, one, d in zip(group_names([one.run for one in judged]), judged, drawn, strict=True):
        groups.setdefault(name, []).append((one.run, d))
    leading = next(iter(groups))
    reference = [d for _, d in groups[leading]]
    found = []
    for name, members in groups.items():
        against = reference if name != leading else None
        title = f"{name}, mean of {len(members)}" if len(members) > 1 else name
        found.append(method_line(title, name, [run.name for run, _ in members], [d for _, d in members], against))
        if len(members) > 1:
            found += [method_line(f"{name} ({run.name})", name, [run.name], [d], against) for run, d in members]
    if base is not None:
        found.append(method_line("base only", "base only", [], [base], reference))
    return found


def _plain_line(line: Line) -> dict[str, Any]:
    parts = {
        part: {m: e.plain() for m, e in getattr(line, part).items()} for part in ("average", "bwt", "gain", "bwt_gain")
    }
    return {"label": line.label, "group": line.group, "runs": list(line.runs), **parts}


def _run_figures(judged: Judged, group: str, drawn: Draws, names: Sequence[str], draws: int) -> dict[str, Any]:
    run = judged.run
    shares = {
        name: emotion_share_of_real(judged.last[name], run.sets[name].ceiling, draws) for name in sorted(run.order)
    }
    return {
        "label": run.label,
        "group": group,
        "name": run.name,
        "method": run.record["method"],
        "order": run.order,
        "base": run.record["base"],
        "scenarios": scenario_estimates(drawn, names),
        "sequence": summaries(judged, draws),
        "routing": routing(judged),
        "emotion_share_of_real": {name: share for name, share in shares.items() if share is not None},
    }


def _emotion(judged: Sequence[Judged], draws: int) -> dict[str, Any]:
    """Dialled emotions of every run that was asked for them, and of the base."""
    first = judged[0]
    ceilings = [first.run.sets[name].ceiling for name in first.run.order]
    found: dict[str, Any] = {"real_clips": real_recall(ceilings), "models": []}
    groups = group_names([one.run for one in judged])
    models = [(group, one.run.name, one.run, one.dial) for group, one in zip(groups, judged, strict=True)]
    models.append(("base only", "", first.run, first.base_dial))
    for group, name, run, scores in models:
        if scores is not None:
            texts = {(take.scenario, take.content) for take in run.dial}
            found["models"].append(
                {
                    "group": group,
                    "name": name,
                    "samples": len({take.noise for take in run.dial}) // len(texts),
                    "felt": felt_figures(run.dial, scores, draws),
                    "intensity": intensity_figures(run.dial, scores, draws),
                }
            )
    return found


def print_sequence_report(report: dict[str, Any]) -> None:
    """The table of methods and the claims, as text."""
    heads = ("method", "R@1", "wF1", "wF1 referee", "FID", "BWT R@1", "BWT wF1")
    rows = []
    for line in report["methods"]:
        cells = [line["average"].get(m, {}).get("value") for m in TABLED]
        cells += [line["bwt"].get(m, {}).get("value") for m in ("r1", "wf1")]
        rows.append((line["label"], *(figure(cell) for cell in cells)))
    print(f"Mean of {len(report['scenarios'])} scenarios after the last step, percentage points")
    print(table(heads, rows))
    print()
    for claim in report["claims"]:
        print(f"{claim['verdict']:<15}  {claim['text']}: {claim['found']}")
    for warning in report["warnings"]:
        print(f"note: {warning}")
