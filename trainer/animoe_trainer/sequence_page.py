"""The page of a sequence report: what was compared, what holds, and every table behind it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from animoe.bundle.files import write_durable
from animoe_trainer import sequence_plots as plots
from animoe_trainer.html_page import html_image, html_page, html_table
from animoe_trainer.sequence_figures import TABLED

_NAMES = {
    "r1": "R@1",
    "wf1": "emotion wF1",
    "referee_wf1": "emotion wF1 by the referee",
    "fid": "FID",
    "diversity": "diversity",
    "multimodality": "multimodality",
}
_BLIND = (
    "Floor: always the most frequent emotion. Where every prompt is neutral, wF1 only says how often the motion is not "
    "taken for an emotion; the sections on acted and on dialled emotions say more."
)
_COLOURS = {"met": "good", "not met": "bad", "not established": "faint"}
_PAPER = {"r1": "AR", "wf1": "AWF", "fid": "AF", "diversity": "AD", "multimodality": "AMM"}


def write_sequence_page(out: Path, report: dict[str, Any]) -> None:
    """Writes `report.html`, which needs no other file, and the plots beside it."""
    pictures = _pictures(report)
    for name, data in pictures.items():
        write_durable(out / f"{name}.png", data)
    parts = [
        "<h1>Learning without forgetting: what was measured</h1>",
        _terms(report),
        _claims(report),
        _scenarios(report),
        *(_per_scenario(measure, report) for measure in TABLED),
        _methods(report, pictures["methods"]),
        *(_sequence(run, pictures) for run in report["runs"]),
        _shares(report),
        *(_emotion(model, report, pictures) for model in report["emotion"]["models"]),
    ]
    write_durable(out / "report.html", html_page("AniMoE: sequences", parts))


def _pictures(report: dict[str, Any]) -> dict[str, bytes]:
    found = {"methods": plots.methods_plot(report["methods"])}
    for run in report["runs"]:
        if run["sequence"] is not None:
            found[f"matrices_{run['name']}"] = plots.matrices_plot(run)
        if run["routing"] is not None:
            found[f"routing_{run['name']}"] = plots.routing_plot(run)
    for model in report["emotion"]["models"]:
        levels = model["intensity"]
        if levels["groups"]:
            found[f"intensity_{model['name'] or 'base'}"] = plots.intensity_plot(levels["levels"], levels["groups"])
    return found


def _terms(report: dict[str, Any]) -> str:
    contract = report["contract"]
    lines = [
        f"{len(report['runs'])} sequences of {len(report['scenarios'])} scenarios; same base (where not said "
        f"otherwise), tokenizer, clips, {contract['steps']} steps per scenario, batch {contract['batch']}, seed "
        f"{contract['seed']}; {contract['samples']} clips generated of each held-out prompt with the same noise "
        "everywhere; one training seed per row, so that the spread of training itself is not in the intervals.",
        f"Intervals: 95 %, {report['draws']} bootstrap draws of whole recordings (60 for FID, whose intervals are "
        "moved to the figure: drawing with repeats makes every FID larger). Differences between methods are paired.",
        "Prompts are val and test rows: the judges saw no clip of either, but their training stopped by val rows.",
        "Small sets: look at the intervals before the figures. R@1 is within one scenario, pools of the size given; it "
        "is not comparable between scenarios or with other papers, nor is FID, whose size depends on the count.",
    ]
    if contract["steps_of"]:
        lines.append("Other step counts: " + ", ".join(f"{k} {v}" for k, v in contract["steps_of"].items()) + ".")
    said = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return said + "".join(f"<p class=bad>{escape(line)}</p>" for line in report["warnings"])


def _claims(report: dict[str, Any]) -> str:
    rows = []
    for claim in report["claims"]:
        mark = f"<span class={_COLOURS[claim['verdict']]}>{claim['verdict']}</span>"
        rows.append((escape(claim["text"]), escape(claim["found"]), mark))
    note = (
        "<p class=faint>Met: the whole interval lies beyond the target. Not met: the whole interval lies on the other "
        "side. Not established: the interval holds the target, whatever the figure itself says.</p>"
    )
    return "<h2>What it is held to</h2>" + html_table(("claim", "found", ""), rows, raw=True) + note


def _scenarios(report: dict[str, Any]) -> str:
    rows = []
    for name, one in report["scenarios"].items():
        learnt = one["learnt_from"]
        counts = ", ".join(f"{emotion} {n}" for emotion, n in one["emotions"].items())
        sizes = [str(learnt[key]) for key in ("clips", "mirrored", "blended")]
        sizes += [str(one[key]) for key in ("items", "recordings", "reference_motions")]
        rows.append((name, ", ".join(one["packs"]), *sizes, counts))
    heads = ("scenario", "packs", "training clips", "mirrored", "blended", "prompts", "recordings", "real motions")
    note = "Real motions: the reference of FID, of all splits, because the held-out ones alone are too few."
    return "<h2>Scenarios</h2>" + html_table((*heads, "emotions of the prompts"), rows) + f"<p class=faint>{note}</p>"


def _per_scenario(measure: str, report: dict[str, Any]) -> str:
    runs = report["runs"]
    labels = [run["label"] if run["label"] == run["name"] else f"{run['label']} ({run['name']})" for run in runs]
    heads = ["scenario", "prompts", "recordings", "real motion", *labels, "base only", "floor"]
    rows = []
    for name, scenario in report["scenarios"].items():
        floor = scenario["fid_of_real_halves"] if measure == "fid" else scenario["floor"].get(measure)
        cells = [_interval(run["scenarios"][measure][name]) for run in runs]
        base = _interval(report["base"][measure][name]) if report["base"] is not None else "-"
        sizes = (str(scenario["items"]), str(scenario["recordings"]))
        rows.append((name, *sizes, _number(scenario["real"].get(measure)), *cells, base, _number(floor)))
    notes = {
        "r1": "Floor: chance in the same pools ("
        + ", ".join(f"{name} {s['pool']}" for name, s in report["scenarios"].items())
        + "). Clips of one description count as right answers to each other.",
        "wf1": _BLIND,
        "referee_wf1": _BLIND,
        "fid": "Lower is better. Floor: between two halves of the real motions. The real motions' own rows are among "
        "the reference, so their figure flatters them.",
    }
    return (
        f"<h2>{_NAMES[measure]} of each scenario after the last step</h2>{html_table(heads, rows)}"
        f"<p class=faint>{escape(notes[measure])}</p>"
    )


def _methods(report: dict[str, Any], picture: bytes) -> str:
    heads = ["method", *(_NAMES[m] for m in TABLED), *(f"BWT {_NAMES[m]}" for m in TABLED)]
    rows = []
    gains = []
    for line in report["methods"]:
        cells = [_interval(line[part].get(m)) for part in ("average", "bwt") for m in TABLED]
        rows.append((line["label"], *cells))
        if line["gain"]:
            gains.append((line["label"], *(_interval(line[p].get(m)) for p in ("gain", "bwt_gain") for m in TABLED)))
    return (
        "<h2>Methods: mean of the scenarios after the last step</h2>"
        + html_image(picture, "png", "methods")
        + html_table(heads, rows)
        + "<p class=faint>R@1 and wF1 in percentage points. BWT: last step against right after learning; positive is "
        "better, also for FID.</p>"
        + f"<h2>The same as differences to {escape(report['reference'])}, paired; positive is better</h2>"
        + html_table(heads, gains)
        + "<p class=faint>A difference whose interval holds 0 is not significant.</p>"
    )


def _sequence(run: dict[str, Any], pictures: dict[str, bytes]) -> str:
    title = f"<h2>{escape(run['label'])} ({escape(run['name'])}): {escape(' → '.join(run['order']))}</h2>"
    if run["sequence"] is None:
        return title + "<p>Every scenario alone with an expert of its own, told which: nothing to forget.</p>"
    rows = []
    for measure, one in run["sequence"].items():
        moved, bands = one["transfer"], one["intervals"]
        null = one["fr_null"]
        cells = [_with_band(moved[key], bands.get(key)) for key in ("fr", "bwt", "fwt")]
        mean = f"{_PAPER[measure]} {_number(one['average'])}"
        rows.append((_NAMES[measure], mean, *cells, f"{null[0]:.2f} to {null[1]:.2f}" if null else "-"))
    heads = ("", "average", "FR (lower is better)", "BWT", "FWT", "FR if nothing changed")
    parts = [title, html_table(heads, rows), html_image(pictures[f"matrices_{run['name']}"], "png", "matrices")]
    parts.append(
        "<p class=faint>FR takes a maximum over noisy figures and is positive even if nothing changed (last column). "
        "FWT: a scenario before it is learnt against the base.</p>"
    )
    if run["routing"] is not None:
        parts.append(_routing(run, pictures))
    return "".join(parts)


def _routing(run: dict[str, Any], pictures: dict[str, bytes]) -> str:
    found = run["routing"]
    rows = [(name, str(one["prompts"]), _interval(one["accuracy"])) for name, one in found["scenarios"].items()]
    return (
        f"<p>The gate's first choice is the scenario's own expert for {found['accuracy']:.1f} % of the held-out "
        f"prompts (chance {found['chance']:.1f} %).</p>"
        + html_table(("scenario", "prompts", "own expert first, %"), rows)
        + html_image(pictures[f"routing_{run['name']}"], "png", "routing")
    )


def _shares(report: dict[str, Any]) -> str:
    rows = []
    for run in report["runs"]:
        for name, share in run["emotion_share_of_real"].items():
            counts = ", ".join(f"{emotion} {n}" for emotion, n in share["items"].items())
            cells = [_interval(share[judge][key]) for judge in ("classifier", "referee") for key in _SHARE]
            rows.append((f"{run['name']}: {name}", counts, *cells))
    if not rows:
        return ""
    heads = ("", "clips", *(f"{key}, {judge}" for judge in ("classifier", "referee") for key in _SHARE))
    title = "<h2>Acted emotions of held-out prompts: weighted F1 over tired, excited, sad, angry, happy</h2>"
    return title + html_table(heads, rows)


_SHARE = ("generated", "real", "share")


def _emotion(model: dict[str, Any], report: dict[str, Any], pictures: dict[str, bytes]) -> str:
    name = f"{model['group']} ({model['name']})" if model["name"] else model["group"]
    what = {
        "acted": "acted with this action",
        "unacted": "never acted with this action",
        "foreign": "never acted in this scenario",
    }
    real = report["emotion"]["real_clips"]
    rows = []
    for row in model["felt"]:
        cells = []
        for judge in ("classifier", "referee"):
            known = real.get(row["emotion"], {}).get(judge)
            cells += [f"{row[judge]['seen']:.1f}", f"{row[judge]['floor']:.1f}", _interval(row[judge]["gain"])]
            cells.append(_number(known))
        sizes = (str(row["pairs"]), str(row["texts"]), str(row["takes"]))
        rows.append((f"{row['emotion']}, {what[row['kind']]}", *sizes, *cells))
    heads = ["", "pairs", "texts", "takes"]
    heads += [f"{c}, {j}" for j in ("classifier", "referee") for c in ("seen %", "floor %", "gain", "real clips %")]
    return (
        f"<h2>Emotion dialled onto neutral texts: {escape(name)}</h2>{html_table(heads, rows)}"
        f"<p class=faint>{model['samples']} noise seeds per pair. Floor: how often the same texts, performed neutrally "
        "with the same noise, are seen as that emotion. Intervals draw texts.</p>" + _intensity(model, pictures)
    )


def _intensity(model: dict[str, Any], pictures: dict[str, bytes]) -> str:
    levels = model["intensity"]
    if not levels["groups"]:
        return ""
    rows = []
    for group in levels["groups"]:
        curves = [", ".join(f"{p:.2f}" for p in group[judge]["curve"]) for judge in ("referee", "classifier")]
        rises = [_interval(group[judge]["rises"]) for judge in ("referee", "classifier")]
        ends = f"{group['referee']['higher_at_the_end']:.0f}"
        cells = (str(group["prompts"]), curves[0], rises[0], ends, curves[1], rises[1])
        rows.append((f"{group['emotion']} ({group['kind']})", *cells))
    steps = ", ".join(f"{level:g}" for level in levels["levels"])
    heads = (
        "",
        "pairs",
        f"p at {steps}, referee",
        "always rises, %",
        "higher at the end, %",
        "p, classifier",
        "always rises, %",
    )
    return (
        html_table(heads, rows)
        + "<p class=faint>Rises: the mean over the seeds goes up at every step; four figures in random order do so in "
        "4.2 % of cases.</p>" + html_image(pictures[f"intensity_{model['name'] or 'base'}"], "png", "intensity")
    )


def _with_band(value: float | None, band: Sequence[float | None] | None) -> str:
    if value is None or band is None or band[0] is None:
        return _number(value)
    return f"{value:.2f} [{band[0]:.2f}, {band[1]:.2f}]"


def _interval(one: dict[str, Any] | None) -> str:
    if one is None or one["value"] is None:
        return "-"
    return f"{one['value']:.1f} [{one['low']:.1f}, {one['high']:.1f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
