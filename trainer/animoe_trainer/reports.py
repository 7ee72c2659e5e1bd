"""Plain-text tables of what `animoe-train` measured; `--json` prints the same figures for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from animoe.motion.emotion import EMOTIONS


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: words to the left, numbers to the right."""
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    right = [bool(column[1:]) and all(_is_number(cell) for cell in column[1:]) for column in columns]
    lines = [heads, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in lines
    )


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell.strip("+-%x").replace(".", "", 1).isdigit()


def figure(value: float | None, digits: int = 2) -> str:
    """A number as text, "-" where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def print_tokenizer_report(report: dict[str, Any]) -> None:
    """Prints what `evaluate_tokenizer` returns."""
    keys = (
        ("mpjpe_mm", 1.0, 1),
        ("encoder_mpjpe_mm", 1.0, 1),
        ("rotation_deg", 1.0, 2),
        ("root_drift", 100.0, 2),
        ("jerk_ratio", 1.0, 2),
    )
    heads = ("pack", "rows", "mpjpe mm", "encoder mm", "rotation deg", "root drift %", "jerk ratio")
    total = {"rows": sum(pack["rows"] for pack in report["packs"].values()), **report["mean"]}
    rows = [
        (name, str(pack["rows"]), *(figure(pack[key] * scale, digits) for key, scale, digits in keys))
        for name, pack in [*report["packs"].items(), *([("mean of packs", total)] if report["mean"] else [])]
    ]
    config = report["config"]
    print(f"Tokenizer ({config['quantiser']}, {config['pose_groups']} pose codes per token) on {report['split']} rows")
    print(table(heads, rows))
    print(f"worst pack with 5 rows or more: {figure(report['worst_mpjpe_mm'], 1)} mm")
    print(f"codes in use: {report['code_usage'] * 100:.1f} %")


def print_motion_report(report: dict[str, Any]) -> None:
    """Prints what `evaluate_motion` returns."""
    print(f"Bundle {report['bundle']['name']} ({report['bundle']['digest']}), {report['prompts']} test prompts")
    measures = [
        (name, figure(row["generated"], 3), figure(row["real"], 3), figure(row["ratio"]), row["unit"])
        for name, row in report["quality"].items()
    ]
    print(table(("measure", "generated", "real", "ratio", "unit"), measures))
    print("\nTravel in " + f"{report['seconds']:g} s, metres")
    travels = [
        (row["text"], figure(row["mean_m"]), figure(row["min_m"]), figure(row["max_m"])) for row in report["travel"]
    ]
    print(table(("prompt", "mean", "least", "most"), travels))
    for action, emotions in report["emotion"].items():
        print(f"\n{action}: {report['emotion_seeds']} takes of one neutral text per emotion (real clips in brackets)")
        print(_emotion_table(emotions))
    print()
    for check in report["checks"]:
        print(f"{'pass' if check['passed'] else 'FAIL'}  {check['text']}")


def _emotion_table(emotions: dict[str, Any]) -> str:
    keys = (
        ("speed_mps", "speed m/s"),
        ("head_height_m", "head height m"),
        ("head_forward_m", "head forward m"),
        ("wrist_speed_mps", "wrist speed m/s"),
    )
    rows = []
    for name, row in emotions.items():
        real = row["real"] or {}
        pairs = (_pair(row["generated"][key], real.get(key)) for key, _ in keys)
        rows.append((name, *pairs, str(row["real_rows"])))
    return table(("emotion", *(title for _, title in keys), "real clips"), rows)


def _pair(generated: float, real: float | None) -> str:
    return figure(generated) if real is None else f"{figure(generated)} ({figure(real)})"


def print_evaluator_report(figures: dict[str, Any]) -> None:
    """Prints the figures of an `Evaluator`."""
    for split, found in figures.items():
        rows = [
            (pack, str(r["items"]), str(r["pool_size"]), *(figure(r[key], 3) for key in ("r1", "r2", "r3", "chance")))
            for pack, r in found["retrieval"].items()
        ]
        print(f"\nReal {split} motion: captions find their motion in fixed pools")
        print(table(("pack", "clips", "pool", "R@1", "R@2", "R@3", "chance"), rows))
        for name, title in (("emotion", "as acted"), ("reconstructed_emotion", "after the tokenizer")):
            if name in found:
                _print_emotion(found[name], f"Emotion of {split} motion {title}")


def _print_emotion(found: dict[str, Any], title: str) -> None:
    print(f"\n{title}: {found['clips']} clips, floor {figure(found['floor_wf1'], 3)} (always the most frequent)")
    for judge in ("classifier", "referee"):
        scores = found[judge]
        print(f"{judge}: " + ", ".join(f"{key} {figure(scores[key], 3)}" for key in ("wf1", "macro_f1", "accuracy")))
        rows = [(name, *map(str, row)) for name, row in zip(EMOTIONS, scores["confusion"], strict=True) if any(row)]
        print(table(("true \\ seen as", *EMOTIONS), rows))
