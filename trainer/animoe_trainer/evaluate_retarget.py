"""How well retargeting does on whole packs: every clip to every rig and back, against fixed targets.

Each usable row becomes canonical motion, is put on each rig, measured there (`retarget.quality`) and brought back by
`canonicalise`, as a user would read the file. Contacts come from the source's canonical motion, so that source and rig
are judged on the same frames. Frames of all clips are pooled, so a long clip counts more than a short one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.motion.contacts import foot_contacts
from animoe.motion.pose_block import CONTACT_JOINTS, PoseBlock
from animoe.retarget.alignment import CANONICAL_INDEX, match_rest
from animoe.retarget.canonicalise import canonicalise, role_positions
from animoe.retarget.profiles import rig_profile
from animoe.retarget.quality import Measure, QualityReport, end_effector, measure
from animoe.retarget.quality_feet import foot_speeds
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.solver import Retargeter, RetargetOptions
from animoe.rig.canonical import FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.rotations import Array, angle, inverse, multiply
from animoe_trainer.packs import RefusedRow, UsableRow, canonical_rows
from animoe_trainer.reports import figure, table

RIGS = ("ue5_manny", "ue4_mannequin", "mixamo", "unity_humanoid", "vrm1", "kaykit_medium", "smplx")
MAX_ANGLE_DEG = 2.0
MAX_SLIDE_RATIO = 1.5
MAX_SLIDE_MMPS = 10.0
MAX_PENETRATION_MM = 10.0
FREE, LOCKED = "free", "locked"
"""Feet as the source turns them, or held in place while they stand."""
_WORST = 5


def evaluate_retarget(
    packs: Sequence[Path],
    rigs: Sequence[str] = RIGS,
    *,
    limit: int | None = None,
    on_pack: Callable[[str, int], None] = lambda pack, clips: None,
) -> dict[str, Any]:
    """Retargets every usable row of the packs to every rig and back.

    Args:
        packs: pack folders.
        rigs: names of rig profiles.
        limit: at most so many rows of each pack, spread over it; None takes all.
        on_pack: called after each pack with its name and the number of clips.

    Returns:
        `clips`, `seconds`, `refused`; `source`: figures of the canonical motion itself, and `own_foot_slide`, what the
        feet of the files' own skeletons slide; `rigs`: rig -> "free" and "locked" (feet) -> figures; `checks`: the
        targets, with `passed` and `text`.
        Figures are measure -> median, p95 and worst over all frames, `clips_p95` (p95 over clips of the worst frame)
        the share of clips that keep the measure's own limit (`clips_within`) and the worst clips by name, frame and
        part; with `angle_error` of the way back, and `slide_ratio` and
        `jitter_ratio` to the source.

    Raises:
        NotFound: an unknown rig, or a folder that is no pack.
        FileError: a pack.csv that cannot be read.
        InvalidRequest: no usable row in any pack.
    """
    targets = [_Target(rig_profile(name), foot_lock=lock) for name in rigs for lock in (False, True)]
    source, refused, clips, frames = _Tally(), 0, 0, 0
    for pack in packs:
        found = list(canonical_rows(pack))
        usable = [row for row in found if isinstance(row, UsableRow)]
        refused += sum(isinstance(row, RefusedRow) for row in found)
        for row in _spread(usable, limit):
            block, own = _source_report(row)
            source.add(own, _label(row))
            for target in targets:
                target.add(block, _label(row))
            source.add_values("own_foot_slide", _own_slide(row.source, own.contacts))
            clips, frames = clips + 1, frames + row.clip.frame_count
        on_pack(Path(pack).name, min(len(usable), limit or len(usable)))
    if not clips:
        raise InvalidRequest("no row of these packs can be used; 'animoe-train read' says why")
    figures: dict[str, dict[str, Any]] = {target.rig.name: {} for target in targets}
    for target in targets:
        figures[target.rig.name][target.way] = target.figures(source)
    return {
        "clips": clips,
        "seconds": round(frames / FRAME_RATE_HZ, 1),
        "refused": refused,
        "source": source.figures(),
        "rigs": figures,
        "checks": _checks(figures),
    }


class _Tally:
    """Figures of many clips, pooled over frames."""

    def __init__(self) -> None:
        self._values: dict[str, list[Array]] = defaultdict(list)
        self._worst: dict[str, list[tuple[float, str, int, str]]] = defaultdict(list)
        self._passed: dict[str, list[bool]] = defaultdict(list)

    def add(self, report: QualityReport, label: str) -> None:
        for name, found in report.measures.items():
            self.add_measure(name, found, label)

    def add_measure(self, name: str, found: Measure, label: str) -> None:
        self.add_values(name, found.values)
        if found.passed is not None:
            self._passed[name].append(found.passed)
        if found.worst is not None and found.worst_frame is not None:
            self._worst[name].append((found.worst, label, found.worst_frame, found.worst_part))

    def add_values(self, name: str, values: Array) -> None:
        """Any number of figures; NaN is left out."""
        self._values[name].append(values[~np.isnan(values)].astype(np.float32).ravel())

    def values(self, name: str) -> Array:
        return np.concatenate(self._values[name]) if self._values[name] else np.zeros(0, np.float32)

    def figures(self) -> dict[str, Any]:
        return {name: self._figures(name) for name in self._values}

    def _figures(self, name: str) -> dict[str, Any]:
        values, worst = self.values(name), sorted(self._worst[name], reverse=True)
        figures: dict[str, Any] = {"median": None, "p95": None, "worst": None}
        if len(values):
            figures = dict(zip(figures, np.percentile(values, (50, 95, 100)).astype(float).tolist(), strict=True))
        if worst:
            figures["clips_p95"] = float(np.percentile([value for value, *_ in worst], 95))
            keys = ("value", "clip", "frame", "part")
            figures["worst_clips"] = [dict(zip(keys, row, strict=True)) for row in worst[:_WORST] if row[3]]
        if self._passed[name]:
            figures["clips_within"] = float(np.mean(self._passed[name]))
        return figures


class _Target:
    """One rig, with its feet free or locked, and what was measured on it."""

    def __init__(self, rig: Rig, *, foot_lock: bool) -> None:
        self.rig, self.way = rig, LOCKED if foot_lock else FREE
        self._retargeter = Retargeter(rig, options=RetargetOptions(foot_lock=foot_lock))
        self._driven = [CANONICAL_INDEX[role] for role in rig.roles]
        self._tally = _Tally()

    def add(self, block: PoseBlock, label: str) -> None:
        """Retargets and measures one clip."""
        clip = self._retargeter.to_clip([self._retargeter.apply(block)], label)
        self._tally.add(measure(self.rig, clip, contacts=block.contacts), label)
        self._tally.add_measure("end_effector", end_effector(self.rig, clip, block), label)
        back = canonicalise(clip).local_rotations
        error = np.degrees(angle(multiply(inverse(block.local_rotations), back)))
        self._tally.add_values("angle_error", error[:, self._driven])

    def figures(self, source: _Tally) -> dict[str, Any]:
        """With how much more than the source's the feet slide (for the rig's size) and the body jerks."""
        size = match_rest(self.rig.skeleton, self.rig.roles).leg_ratio
        slide, jitter = (
            tuple(tally.values(name) for tally in (self._tally, source)) for name in ("foot_slide", "jitter")
        )
        return self._tally.figures() | {
            "slide_ratio": _ratio(np.median(slide[0]) / size, np.median(slide[1])) if slide[0].size else None,
            "jitter_ratio": _ratio(jitter[0].mean(), jitter[1].mean()) if jitter[0].size else None,
        }


def _ratio(own: float, theirs: float) -> float | None:
    return float(own / theirs) if theirs > 0 else None


def _spread(rows: Sequence[UsableRow], limit: int | None) -> Sequence[UsableRow]:
    """At most `limit` rows, evenly from first to last."""
    if limit is None or len(rows) <= limit:
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, limit).round().astype(int)]


def _label(row: UsableRow) -> str:
    name = f"{row.row.pack}/{row.row.file.name}"
    return f"{name} line {row.row.line}" + (f" ({row.row.clip})" if row.row.clip else "")


def _source_report(row: UsableRow) -> tuple[PoseBlock, QualityReport]:
    contacts = foot_contacts(row.clip.world()[1], FRAME_RATE_HZ)
    block = PoseBlock(0, row.clip.local_rotations, row.clip.root_positions, contacts.astype(np.float64))
    return block, measure(_canonical_rig(), row.clip, contacts=contacts)


@cache
def _canonical_rig() -> Rig:
    return rig_from_skeleton(canonical_skeleton(), name="canonical")


def _own_slide(clip: Clip, contacts: Array) -> Array:
    """mm/s that the feet of the file's own skeleton slide while they stand, in canonical size."""
    return foot_speeds(role_positions(clip, CONTACT_JOINTS), contacts, FRAME_RATE_HZ, scale=1000.0)[1]


def _checks(rigs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The targets, rig by rig: angles with free feet, which is what the joints were told; the rest with locked ones."""
    checks = []
    for rig, ways in rigs.items():
        free, locked = ways[FREE], ways[LOCKED]
        for text, got, most in (
            ("median joint angle error there and back, degrees", free["angle_error"]["median"], MAX_ANGLE_DEG),
            ("median foot slide over the source's, feet locked", locked["slide_ratio"], MAX_SLIDE_RATIO),
            ("median foot slide, feet locked, mm/s", locked["foot_slide"]["median"], MAX_SLIDE_MMPS),
            ("below the floor, 95 % of clips at worst, mm", locked["penetration"]["clips_p95"], MAX_PENETRATION_MM),
        ):
            passed = got is None or got <= most
            checks.append({"rig": rig, "passed": passed, "text": f"{rig}: {text}: {_text(got)}, at most {most:g}"})
    return checks


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def print_retarget_report(report: dict[str, Any]) -> None:
    """Prints what `evaluate_retarget` returns."""
    print(f"{report['clips']} clips, {report['seconds'] / 60:.1f} minutes; {report['refused']} rows refused")
    own = report["source"]["own_foot_slide"]
    print(f"the files' own feet slide {figure(own['median'], 1)} mm/s (median), {figure(own['p95'], 1)} (95 %)\n")
    heads = (
        "rig",
        "angle deg",
        "slide mm/s",
        "slide x",
        "clips %",
        "below floor mm",
        "clips %",
        "limits deg",
        "limbs mm",
        "hands %",
        "jerk x",
    )
    rows = [_row("canonical source", report["source"])]
    rows += [_row(f"{rig}, feet {way}", found) for rig, ways in report["rigs"].items() for way, found in ways.items()]
    print(table(heads, rows))
    print(
        "pairs: median / 95 % of all frames; below floor, limits, limbs: 95 % of frames / 95 % of clips' worst frames"
    )
    print("clips %: clips whose own median slide is at most 10 mm/s; clips never more than 10 mm below the floor")
    _print_worst({f"{rig}, feet {way}": found for rig, ways in report["rigs"].items() for way, found in ways.items()})
    print()
    for check in report["checks"]:
        print(f"{'pass' if check['passed'] else 'FAIL'}  {check['text']}")


def _print_worst(rigs: Mapping[str, Any]) -> None:
    """The worst clips of the measures that a person would look at, on the rig where they are worst."""
    for name in ("foot_slide", "penetration", "joint_limits", "self_intersection", "end_effector", "jitter"):
        rig = max(rigs, key=lambda rig: rigs[rig][name]["worst"] or 0.0)
        for found in rigs[rig][name].get("worst_clips", [])[:2]:
            where = f"{found['clip']}, frame {found['frame']}, {found['part']}"
            print(f"worst {name} on {rig}: {found['value']:.1f} in {where}")


def _row(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    def pair(measure_name: str, keys: tuple[str, str], digits: int = 1) -> str:
        found = figures.get(measure_name, {})
        return " / ".join(figure(found.get(key), digits) for key in keys) if found else "-"

    def share(measure_name: str) -> str:
        within = figures[measure_name].get("clips_within")
        return "-" if within is None else f"{100 * within:.1f}"

    frames, clips = ("median", "p95"), ("p95", "clips_p95")
    return (
        name,
        pair("angle_error", frames, 2),
        pair("foot_slide", frames),
        figure(figures.get("slide_ratio")),
        share("foot_slide"),
        pair("penetration", clips),
        share("penetration"),
        pair("joint_limits", clips),
        pair("self_intersection", clips),
        pair("end_effector", frames),
        figure(figures.get("jitter_ratio")),
    )
