"""Plots of a sequence report, as PNG data."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

_TITLES = {"r1": "R@1, points", "wf1": "emotion wF1, points", "fid": "FID"}


def _plots() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.tight_layout()
    figure.savefig(out, format="png", dpi=100)
    _plots().close(figure)
    return out.getvalue()


def matrices_plot(run: dict[str, Any]) -> bytes:
    """Every scenario after every step, one picture per measure."""
    plt = _plots()
    measures = [m for m in _TITLES if m in run["sequence"]]
    count = len(run["order"])
    figure, axes = plt.subplots(
        1, len(measures), figsize=((1.7 + 0.62 * count) * len(measures), 1.4 + 0.42 * count), squeeze=False
    )
    for axis, measure in zip(axes[0], measures, strict=True):
        values = np.array(run["sequence"][measure]["matrix"], dtype=float)
        # Each column by itself: what matters is whether a scenario fades after it was learnt.
        spread = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
        shade = (values - np.nanmin(values, axis=0)) / np.where(spread > 0, spread, 1.0)
        axis.imshow(1 - shade if measure == "fid" else shade, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                weight = "bold" if i == j else "normal"
                axis.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=7, fontweight=weight)
        axis.set_xticks(range(count), run["order"], rotation=40, ha="right", fontsize=7)
        axis.set_yticks(range(count), [f"after {name}" for name in run["order"]], fontsize=7)
        axis.set_title(_TITLES[measure], fontsize=9)
    return _png(figure)


def routing_plot(run: dict[str, Any]) -> bytes:
    """Mean weight of every expert on the prompts of every scenario."""
    plt = _plots()
    found = run["routing"]
    weights = np.array([one["weights"] for one in found["scenarios"].values()])
    figure, axis = plt.subplots(figsize=(2.4 + 0.6 * weights.shape[1], 1.4 + 0.4 * len(weights)))
    axis.imshow(weights, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for i, row in enumerate(weights):
        for j, value in enumerate(row):
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7)
    axis.set_xticks(range(len(found["columns"])), found["columns"], rotation=40, ha="right", fontsize=7)
    axis.set_yticks(range(len(weights)), list(found["scenarios"]), fontsize=7)
    axis.set_title("mean weight of each expert (columns) on the prompts of each scenario (rows)", fontsize=9)
    return _png(figure)


def intensity_plot(levels: Sequence[float], groups: Sequence[dict[str, Any]]) -> bytes:
    """Mean probability of the asked emotion over intensity, by both judges."""
    plt = _plots()
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axis, judge in zip(axes, ("referee", "classifier"), strict=True):
        for group in groups:
            if group["emotion"] != "all" and group["kind"] == "all":
                label = f"{group['emotion']} ({group['prompts']})"
                axis.plot(levels, group[judge]["curve"], marker="o", markersize=3, linewidth=1.2, label=label)
        axis.set(xlabel="intensity", title=f"by the {judge}", ylim=(0, 1))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("p(asked emotion)")
    axes[1].legend(fontsize=7, loc="upper left")
    return _png(figure)


def methods_plot(lines: Sequence[dict[str, Any]]) -> bytes:
    """R@1 and wF1 after the last step, and their BWT, with intervals."""
    plt = _plots()
    parts = (("average", "r1"), ("average", "wf1"), ("bwt", "r1"), ("bwt", "wf1"))
    figure, axes = plt.subplots(1, 4, figsize=(11, 0.9 + 0.3 * len(lines)), sharey=True)
    for axis, (part, measure) in zip(axes, parts, strict=True):
        for place, line in enumerate(lines):
            one = line[part].get(measure)
            if one is not None and one["value"] is not None:
                axis.plot([one["low"], one["high"]], [place, place], color="#4f7cc4", linewidth=2)
                axis.plot(one["value"], place, "o", color="#1b2430", markersize=4)
        axis.set_title(("BWT of " if part == "bwt" else "") + _TITLES[measure], fontsize=9)
        axis.grid(alpha=0.3)
        if part == "bwt":
            axis.axvline(0, color="#66727f", linewidth=0.8)
    axes[0].set_yticks(range(len(lines)), [line["label"] for line in lines], fontsize=8)
    axes[0].invert_yaxis()
    return _png(figure)
