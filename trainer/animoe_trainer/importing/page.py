"""The report of an import as one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from animoe.bundle.files import write_durable
from animoe_trainer.html_page import html_image, html_page, html_table
from animoe_trainer.importing.pictures import loss_plot

_NAMES = {
    "r1": "R-Precision top 1",
    "r3": "R-Precision top 3",
    "fid": "FID (lower is better)",
    "mm_dist": "distance to the text (lower is better)",
    "diversity": "diversity",
    "foot_slide_mps": "foot slide, m/s",
    "jerk_mps3": "jerk, m/s³",
    "wf1": "emotion weighted F1",
    "macro_f1": "emotion macro F1",
    "referee_wf1": "weighted F1 by the referee",
    "agreement": "classifier and referee agree",
}

_LOOKS = {"changes": "", "again": " (looked at again)"}


def write_page(path: Path, summary: dict[str, Any], sheets: Sequence[bytes]) -> None:
    """Writes the page of a summary (`publishing.summarise_import`) with its contact sheets."""
    title = f"{summary['scenario']}@{summary['version']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _outcome(summary),
        _learnt(summary),
        _figures("Motion quality", "quality", summary),
        _figures("Emotion", "emotion", summary),
        _matrix(summary),
        _routing(summary),
        "<h2>Training</h2>",
        html_image(loss_plot(summary["training"]["history"]), "png", "losses"),
        "<h2>Before and after, same prompts, same noise</h2>",
        *(html_image(sheet, "jpeg", "contact sheet") for sheet in sheets),
        _refused(summary),
    ]
    write_durable(path, html_page(title, parts))


def _outcome(summary: dict[str, Any]) -> str:
    by = f"{summary['created']}, {summary['user']}, import {summary['import']}"
    by = f"<p class=faint>{escape(by)}</p>"
    worse = ", ".join(summary["got_worse"])
    if summary["forced"]:
        forced = summary["forced"]
        said = f"Published by force although {worse} got worse: {forced['user']}, {forced['time']}: {forced['reason']}"
        return by + f"<p class=bad>{escape(said)}</p>"
    if worse:
        return by + f"<p class=bad>Not published: {escape(worse)} got worse beyond its noise band.</p>"
    return by + "<p class=good>Nothing that worked before got worse beyond its noise band.</p>"


def _learnt(summary: dict[str, Any]) -> str:
    pack, training, evaluation = summary["pack"], summary["training"], summary["evaluation"]
    how = (
        "the pack is so small that it is judged on the very clips that it was trained on"
        if evaluation["trained_on"]
        else f"judged on {evaluation['prompts']} clips held out by {evaluation['held_out_by']}"
    )
    lines = [
        f"{pack['clips']} clips ({len(pack['refused'])} rows refused), {how}.",
        f"Learnt from {training['clips']} clips, their {training['mirrored']} mirror images and {training['blended']} "
        f"blended intensities in {training['schedule']['steps']} steps.",
        f"Emotions: {', '.join(summary['emotions'])}. Contents: {', '.join(summary['contents'][:40]) or '-'}.",
        summary["tokenizer"]["sentence"] + ".",
    ]
    return "<h2>What was learnt</h2>" + "".join(f"<p>{escape(line)}</p>" for line in lines)


def _figures(title: str, kind: str, summary: dict[str, Any]) -> str:
    found = summary["figures"]
    rows = [
        (_NAMES[name], *(_number(found[when][kind][name]) for when in ("before", "after", "real")))
        for name in found["after"][kind]
    ]
    return f"<h2>{title} of the new scenario</h2>" + html_table(("", "before", "after", "real motion"), rows)


def _matrix(summary: dict[str, Any]) -> str:
    if not summary["verdicts"]:
        return "<h2>Forgetting</h2><p>The bundle kept no evaluation set yet: nothing could get worse.</p>"
    rows = []
    looks = [(verdict, look, change) for verdict in summary["verdicts"] for look in _LOOKS for change in verdict[look]]
    for verdict, look, change in looks:
        mark = "<span class=bad>worse</span>" if change["worse"] else "<span class=good>holds</span>"
        band = f"{_number(change['low'])} to {_number(change['high'])}"
        cells = (_number(change[name]) for name in ("before", "after", "gain"))
        title = f"{verdict['scenario']}: {_NAMES[change['measure']]}{_LOOKS[look]}"
        rows.append((escape(title), *cells, band, mark))
    note = (
        "<p class=faint>Gain: positive is better. Band: what noise alone gives. What falls out of it is performed "
        "again with other noise; only what shows again is worse.</p>"
    )
    return "<h2>Forgetting</h2>" + note + html_table(("", "before", "after", "gain", "noise band", ""), rows, raw=True)


def _routing(summary: dict[str, Any]) -> str:
    rows = []
    for label, weights in summary["routing"].items():
        bars = ", ".join(
            f'{escape(name)} <span class=bar style="width:{round(60 * w)}px"></span> {w:.2f}'
            for name, w in sorted(weights.items(), key=lambda pair: -pair[1])
        )
        rows.append((escape(label), bars))
    return "<h2>Which experts the prompts of each scenario use</h2>" + html_table(
        ("prompts of", "weights"), rows, raw=True
    )


def _refused(summary: dict[str, Any]) -> str:
    refused = summary["pack"]["refused"]
    if not refused:
        return ""
    rows = [(str(r["line"]), r["file"], r["reason"]) for r in refused[:500]]
    return f"<h2>{len(refused)} refused rows</h2>" + html_table(("line", "file", "reason"), rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
