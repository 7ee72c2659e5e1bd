"""Pictures of a report, as data: loss curves and contact sheets."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from animoe.motion.features import FEATURE_COUNT, features_to_clip
from animoe.preview.sheet import contact_sheet
from animoe.rig.rotations import Array


def example_sheets(before: Sequence[Array], after: Sequence[Array], labels: Sequence[str], work: Path) -> list[bytes]:
    """Two JPEG contact sheets, before and after, of the same prompts. Features (T, >= 140)."""
    work.mkdir(parents=True, exist_ok=True)
    found = []
    for name, motions in (("before", before), ("after", after)):
        path = work / f"sheet_{name}.jpg"
        clips = [features_to_clip(motion[:, :FEATURE_COUNT]) for motion in motions]
        contact_sheet(clips, [f"{name}: {label}" for label in labels], columns=7, path=path)
        found.append(path.read_bytes())
        path.unlink()
    return found


def loss_plot(history: Sequence[dict[str, float]]) -> bytes:
    """PNG of all losses over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3.2))
    names = [name for name in history[0] if name != "step"]
    for name in names:
        points = [(row["step"], row[name]) for row in history if name in row]
        axis.plot(*zip(*points, strict=True), label=name.replace("_", " "), linewidth=1.2)
    axis.set(xlabel="step", ylabel="loss", yscale="symlog")
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)
    figure.tight_layout()
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    plt.close(figure)
    return out.getvalue()
