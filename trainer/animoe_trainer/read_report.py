"""What reading packs gives: usable rows, refused rows with their reasons, the error of the feature round trip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from animoe.errors import AniMoEError
from animoe.motion.clip import Clip
from animoe.motion.features import clip_to_features, features_to_clip
from animoe.rig.rotations import Array, angle, inverse, multiply
from animoe_trainer.packs import RefusedRow, UsableRow, canonical_rows


def read_report(packs: Sequence[Path]) -> dict[str, Any]:
    """Reads packs and says what can be used.

    Returns:
        `packs`: name -> rows, usable, refused [{line, file, reason}], emotions {name: rows}, seconds (of usable clips)
        and round_trip {mean_mm, max_mm, mean_deg, max_deg} of canonical -> features -> canonical; or `error`, for a
        pack that cannot be read at all. `total`: the same over all packs.
    """
    report: dict[str, Any] = {}
    tallies = []
    for pack in packs:
        tally = _Tally()
        try:
            for result in canonical_rows(Path(pack)):
                tally.add(result)
        except AniMoEError as error:
            report[Path(pack).resolve().name] = {"error": str(error)}
            continue
        report[Path(pack).resolve().name] = tally.summary()
        tallies.append(tally)
    total = _Tally.merged(tallies).summary()
    total["refused"] = len(total["refused"])
    return {"packs": report, "total": total}


def round_trip_errors(clip: Clip) -> tuple[Array, Array]:
    """World position errors (T, J) in millimetres and local rotation errors (T, J) in degrees of the feature form."""
    features, root = clip_to_features(clip)
    back = features_to_clip(features, root)
    millimetres = np.linalg.norm(back.world()[1] - clip.world()[1], axis=-1) * 1000.0
    degrees = np.degrees(angle(multiply(inverse(clip.local_rotations), back.local_rotations)))
    return millimetres, degrees


class _Tally:
    """Sums over rows; round-trip errors are means over all frames and joints."""

    def __init__(self) -> None:
        self.rows = 0
        self.seconds = 0.0
        self.refused: list[dict[str, Any]] = []
        self.emotions: Counter[str] = Counter()
        self.samples = 0
        self.sums = np.zeros(2)
        self.peaks = np.zeros(2)

    def add(self, result: UsableRow | RefusedRow) -> None:
        self.rows += 1
        if isinstance(result, RefusedRow):
            self.refused.append({"line": result.line, "file": result.file, "reason": result.reason})
            return
        self.emotions[result.row.emotion] += 1
        self.seconds += result.clip.duration_s
        errors = round_trip_errors(result.clip)
        self.samples += errors[0].size
        self.sums += [e.sum() for e in errors]
        self.peaks = np.maximum(self.peaks, [e.max() for e in errors])

    @classmethod
    def merged(cls, parts: Sequence[_Tally]) -> _Tally:
        whole = cls()
        for part in parts:
            whole.rows += part.rows
            whole.seconds += part.seconds
            whole.refused += part.refused
            whole.emotions += part.emotions
            whole.samples += part.samples
            whole.sums += part.sums
            whole.peaks = np.maximum(whole.peaks, part.peaks)
        return whole

    def summary(self) -> dict[str, Any]:
        mean_mm, mean_deg = (self.sums / max(self.samples, 1)).tolist()
        max_mm, max_deg = self.peaks.tolist()
        return {
            "rows": self.rows,
            "usable": self.rows - len(self.refused),
            "refused": self.refused,
            "emotions": dict(self.emotions.most_common()),
            "seconds": round(self.seconds, 2),
            "round_trip": {"mean_mm": mean_mm, "max_mm": max_mm, "mean_deg": mean_deg, "max_deg": max_deg},
        }


def print_report(report: dict[str, Any]) -> None:
    """Prints `read_report` as a table, then every refused row."""
    from animoe_trainer.reports import table

    rows = [_line(name, figures) for name, figures in report["packs"].items() if "error" not in figures]
    total = _line("all packs", report["total"])
    heads = ("pack", "rows", "usable", "minutes", "mean mm", "max mm", "mean deg", "max deg", "emotions")
    print(table(heads, [*rows, total]))
    for name, figures in report["packs"].items():
        if "error" in figures:
            print(f"\n{name}: {figures['error']}")
            continue
        for refusal in figures["refused"]:
            print(f"\n{name}/pack.csv, line {refusal['line']}: {refusal['reason']}")


def _line(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    trip = figures["round_trip"]
    emotions = ", ".join(f"{emotion} {count}" for emotion, count in figures["emotions"].items())
    return (
        name,
        str(figures["rows"]),
        str(figures["usable"]),
        f"{figures['seconds'] / 60:.1f}",
        *(f"{trip[key]:.4f}" for key in ("mean_mm", "max_mm", "mean_deg", "max_deg")),
        emotions,
    )
