"""What the method is held to, and whether the figures show it: met, not met, or met but not beyond chance."""

from __future__ import annotations

from typing import Any

BWT_POINTS = -1.0
SHARE_OF_REAL = 70.0
RISING = 80.0
FEWEST_TEXTS = 5
"""Below it a bootstrap over texts says nothing about other texts."""
MET, MISSED, OPEN = "met", "not met", "not established"


def claims(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One entry per claim: text, found (a sentence), verdict.

    "met" needs the whole 95 % interval beyond the target, "not met" the whole interval on the other side of it; what
    lies between is "not established", whatever the figure itself says.
    """
    found = _forgetting(report)
    found += _share_of_real(report) + _rising(report) + _transfer(report)
    return [claim for claim in found if claim is not None]


def _forgetting(report: dict[str, Any]) -> list[dict[str, Any] | None]:
    """Of the reference, and of sequential training against it."""
    methods = {run["group"]: run["method"] for run in report["runs"]}
    found = []
    for line in report["methods"]:
        for key, name in (("r1", "R@1"), ("wf1", "emotion wF1")):
            if line["group"] == report["reference"]:
                text = f"BWT of {name} of {line['label']} is not below {BWT_POINTS:g} point"
                found.append(_target(text, line["bwt"].get(key), BWT_POINTS))
            elif methods.get(line["group"]) == "sequential_lora":
                text = f"{line['label']} loses more {name} (BWT) than {report['reference']}: by"
                found.append(_target(text, _turned(line["bwt_gain"].get(key)), 0.0))
    return found


def _target(text: str, estimate: dict[str, Any] | None, target: float, unit: str = "points") -> dict[str, Any] | None:
    if estimate is None or estimate["value"] is None:
        return None
    low, high = estimate["low"], estimate["high"]
    verdict = MET if low >= target else MISSED if high < target else OPEN
    if target == 0 and low <= 0 <= high:
        verdict = OPEN  # 0 is no difference, not a small one in the right direction
    found = f"{estimate['value']:.2f} {unit}, interval {low:.2f} to {high:.2f}"
    return {"text": text, "found": found, "verdict": verdict, "value": estimate["value"], "target": target}


def _turned(estimate: dict[str, Any] | None) -> dict[str, Any] | None:
    """The same difference seen from the other side."""
    if estimate is None or estimate["value"] is None:
        return None
    return {"value": 0.0 - estimate["value"], "low": 0.0 - estimate["high"], "high": 0.0 - estimate["low"]}


def _share_of_real(report: dict[str, Any]) -> list[dict[str, Any] | None]:
    """On the scenario with the most acted rows."""
    found: list[dict[str, Any] | None] = []
    for run in report["runs"]:
        shares = run["emotion_share_of_real"]
        if run["group"] != report["reference"] or not shares:
            continue
        name = max(shares, key=lambda scenario: sum(shares[scenario]["items"].values()))
        counts = ", ".join(f"{emotion} {n}" for emotion, n in shares[name]["items"].items())
        for judge in ("classifier", "referee"):
            text = (
                f"{run['name']}: emotion F1 by the {judge} on {name} ({counts} clips) is {SHARE_OF_REAL:g} % of what "
                "real motion reaches or more"
            )
            found.append(_target(text, shares[name][judge]["share"], SHARE_OF_REAL, "%"))
    return found


def _rising(report: dict[str, Any]) -> list[dict[str, Any] | None]:
    found = []
    for model in _reference_models(report):
        for group in model["intensity"]["groups"]:
            if group["emotion"] == "all" and group["kind"] in ("all", "acted"):
                which = "text-emotion pairs" if group["kind"] == "all" else "acted text-emotion pairs"
                text = (
                    f"{model['name']}: p(emotion) by the referee rises over intensity 0, 0.5, 1, 1.5 for "
                    f"{RISING:g} % of {group['prompts']} {which} or more"
                )
                found.append(_target(text, group["referee"]["rises"], RISING, "%"))
    return found


def _transfer(report: dict[str, Any]) -> list[dict[str, Any] | None]:
    found = []
    for model in _reference_models(report):
        for row in model["felt"]:
            if row["kind"] != "acted" and row["emotion"] == "all":
                what = "never acted with the action" if row["kind"] == "unacted" else "foreign to the scenario"
                for judge in ("classifier", "referee"):
                    text = (
                        f"{model['name']}: emotions {what} are seen by the {judge} more often than in the same "
                        f"{row['texts']} texts without them (gain over the floor)"
                    )
                    claim = _target(text, row[judge]["gain"], 0.0)
                    if claim is not None:
                        if row["texts"] < FEWEST_TEXTS:
                            claim["verdict"] = OPEN
                        claim["found"] += _by_emotion(model["felt"], row["kind"], judge)
                    found.append(claim)
    return found


def _by_emotion(felt: list[dict[str, Any]], kind: str, judge: str) -> str:
    """Which emotions stand out by themselves, and by how much."""
    rows = [row for row in felt if row["kind"] == kind and row["emotion"] != "all"]
    above = [f"{row['emotion']} {row[judge]['gain']['value']:+.0f}" for row in rows if row[judge]["gain"]["low"] > 0]
    rest = [row["emotion"] for row in rows if row[judge]["gain"]["low"] <= 0]
    return f"; by themselves: {', '.join(above) or 'none'}; not established: {', '.join(rest) or 'none'}"


def _reference_models(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [model for model in report["emotion"]["models"] if model["group"] == report["reference"]]
