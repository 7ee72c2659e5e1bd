"""The picture of a crowd benchmark: what a character costs and how fast the server answers, by size of the crowd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crowd import Figures, Spread

BLUE, ORANGE, INK, GREY = "#2364aa", "#e07a1f", "#222222", "#8a8a8a"
FIRST_FRAME_MS, WITH = 100.0, 100
"""First frame, p99, with so many characters live, is to stay below."""


def draw(crowds: Sequence[Figures], path: Path) -> None:
    """Writes a PNG of two panels; bands are from the least to the most over the windows of a run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, (cost, answers) = pyplot.subplots(1, 2, figsize=(11.0, 4.0), dpi=120, layout="constrained")
    _median(cost, crowds, lambda crowd: crowd.cost_mcores, BLUE, "")
    cost.set_title("Cost of a character, thousandths of a processor", loc="left", fontsize=10)
    cost.set_yscale("log")
    cost.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    cost.yaxis.set_major_formatter("{x:g}")
    for crowd in crowds:
        value = crowd.cost_mcores.median
        at = (crowd.characters, value)
        cost.annotate(f"{value:.3g}", at, (0, 7), textcoords="offset points", ha="center", fontsize=8, color=INK)
    _median(answers, crowds, lambda crowd: crowd.first_frame_ms, BLUE, "first frame of a newcomer")
    _p99(answers, crowds, [crowd.first_frame_p99_ms for crowd in crowds], BLUE)
    _median(answers, crowds, lambda crowd: crowd.change_ms, ORANGE, "a change shows")
    _p99(answers, crowds, [crowd.change_p99_ms for crowd in crowds], ORANGE)
    answers.plot([], [], "--", color=GREY, label="99th percentile")
    answers.plot([WITH], [FIRST_FRAME_MS], "v", color=INK, markersize=5, label="budget of first frame p99")
    answers.set_title("Answers, ms", loc="left", fontsize=10)
    answers.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    answers.set_ylim(bottom=0)
    for axes in (cost, answers):
        _plain(axes, [crowd.characters for crowd in crowds])
    total = sum(crowd.failures for crowd in crowds)
    figure.suptitle(f"Live characters on one server, underruns: {total}", x=0.01, ha="left", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def _median(axes: Any, crowds: Sequence[Figures], of: Callable[[Figures], Spread], colour: str, label: str) -> None:
    sizes, spreads = [crowd.characters for crowd in crowds], [of(crowd) for crowd in crowds]
    axes.plot(sizes, [spread.median for spread in spreads], "o-", color=colour, markersize=4, label=label or None)
    least, most = [spread.least for spread in spreads], [spread.most for spread in spreads]
    axes.fill_between(sizes, least, most, color=colour, alpha=0.18, linewidth=0)


def _p99(axes: Any, crowds: Sequence[Figures], values: Sequence[float], colour: str) -> None:
    axes.plot([crowd.characters for crowd in crowds], values, "--", color=colour, linewidth=1)


def _plain(axes: Any, sizes: Sequence[int]) -> None:
    axes.set_xlabel("live characters", fontsize=9)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
