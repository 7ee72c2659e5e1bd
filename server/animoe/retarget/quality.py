"""How good a clip on a rig is: what feet, joints, limbs and hands do wrong, frame by frame, the worst ones named.

Six measures, each a number per frame and the part of the body that it comes from:
    foot_slide         speed of feet that stand, along the floor
    penetration        how far a sole or a joint is below the floor
    joint_limits       how far a joint is turned beyond what a human joint can do
    self_intersection  how deep limbs are inside other limbs, head or torso, beyond the rest pose
    end_effector       where hands and feet are, against the source, in limb lengths (with a source only)
    jitter             jerk of the body relative to its pelvis
World space, floor at y = 0, metres and seconds inside; units of the figures are stated with each measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from animoe.errors import InvalidRequest, ShapeError
from animoe.motion.clip import Clip
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.quality_capsules import limb_depths
from animoe.retarget.quality_feet import detected_contacts, floor_depths, foot_speeds
from animoe.retarget.quality_limits import limit_excesses
from animoe.retarget.quality_pose import CANONICAL_LEG_M, BodyPose
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.rig.canonical import FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.rotations import Array

_STANDS = 0.5
"""A joint stands where its contact probability is at least this."""
_NOTHING = 1e-6
"""Figures below this are rounding."""
_MM, _PERCENT = 1000.0, 100.0
_EFFECTORS = (("shoulder", "wrist"), ("hip", "ankle"))


@dataclass(frozen=True, eq=False)
class Measure:
    """One measure of one clip.

    Attributes:
        title: for people.
        unit: of the figures.
        part_names: P parts of the body.
        part_values: (T, P) figures, NaN where there is nothing to measure (a foot that does not stand).
        limit: what `limited` should not exceed; None where there is no such number.
        limited: "median" or "worst".
    """

    title: str
    unit: str
    part_names: tuple[str, ...]
    part_values: Array
    limit: float | None = None
    limited: str = "worst"

    @cached_property
    def values(self) -> Array:
        """(T,) the worst part's figure in each frame, NaN where no part has one."""
        known = np.where(np.isnan(self.part_values), -np.inf, self.part_values).max(axis=1, initial=-np.inf)
        return np.where(np.isneginf(known), np.nan, known)

    @property
    def median(self) -> float | None:
        """Over the frames that have a figure; None when there is none."""
        return self._percentile(50)

    @property
    def p95(self) -> float | None:
        return self._percentile(95)

    @property
    def worst(self) -> float | None:
        return self._percentile(100)

    @property
    def worst_frame(self) -> int | None:
        """Index of the frame with the largest figure."""
        return None if np.isnan(self.values).all() else int(np.nanargmax(self.values))

    @property
    def worst_part(self) -> str:
        """Part of the body in the worst frame; empty when there is none."""
        return "" if self.worst_frame is None else self.part_at(self.worst_frame)

    @property
    def passed(self) -> bool | None:
        """Whether the limit is kept; None without a limit or a figure."""
        got = self.median if self.limited == "median" else self.worst
        return None if self.limit is None or got is None else got <= self.limit

    def part_at(self, frame: int) -> str:
        """Part of the body that the figure of a frame comes from; empty where nothing is wrong."""
        row = np.nan_to_num(self.part_values[frame])
        return self.part_names[int(np.argmax(row))] if row.max(initial=0.0) > _NOTHING else ""

    def _percentile(self, q: float) -> float | None:
        known = self.values[~np.isnan(self.values)]
        return float(np.percentile(known, q)) if len(known) else None


@dataclass(frozen=True, eq=False)
class QualityReport:
    """All measures of one clip.

    Attributes:
        clip, rig: their names.
        frame_rate_hz, frame_count: of the clip.
        measures: name (see the module's head) -> measure. `end_effector` is there only with a source.
        contacts: (T, 4) bool: which of CONTACT_JOINTS were taken to stand.
        source: the same of the canonical motion that the clip was made from; None without one.
    """

    clip: str
    rig: str
    frame_rate_hz: float
    frame_count: int
    measures: Mapping[str, Measure]
    contacts: Array
    source: QualityReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain figures for `json.dumps`; frames count from 0."""
        return {
            "clip": self.clip,
            "rig": self.rig,
            "frames": self.frame_count,
            "frame_rate_hz": self.frame_rate_hz,
            "measures": {name: self._figures(name) for name in self.measures},
        }

    def _figures(self, name: str) -> dict[str, Any]:
        found = self.measures[name]
        figures: dict[str, Any] = {"title": found.title, "unit": found.unit} | _summary(found)
        figures["worst_frame"] = found.worst_frame
        figures["worst_s"] = None if found.worst_frame is None else round(found.worst_frame / self.frame_rate_hz, 4)
        figures["worst_part"] = found.worst_part
        figures |= {"limit": found.limit, "limited": found.limited, "passed": found.passed}
        if self.source is not None and name in self.source.measures:
            figures["source"] = _summary(self.source.measures[name])
        return figures


def measure(rig: Rig, clip: Clip, *, source: PoseBlock | None = None, contacts: Array | None = None) -> QualityReport:
    """Measures a clip on its rig.

    Args:
        rig: what the clip moves; its rest pose says where soles are and how thick limbs may be.
        clip: world space, floor at y = 0. Feet of a clip in place slide by nature: measure it with its root motion.
        source: the canonical motion that the clip was made from, frame by frame: what hands, feet and jitter are
            compared with, and where contacts come from unless `contacts` are given.
        contacts: (T, 4) probability or bool that left ankle, left toes, right ankle, right toes stand. Without these
            and a source: joints that are low and slow stand.

    Raises:
        ShapeError: the clip is not on the rig's skeleton, or source or contacts have another number of frames.
        InvalidRequest: the clip has no frames, or NaN or infinite numbers in it.
    """
    _check(rig, clip, source)
    pose = BodyPose.of(rig, clip)
    if source is None:
        return _report(clip.name, pose, _standing(pose, contacts))
    standing = _standing(pose, source.contacts if contacts is None else contacts)
    skeleton = canonical_skeleton()
    moved = Clip.from_root(skeleton, FRAME_RATE_HZ, source.local_rotations, source.root_positions)
    theirs = BodyPose.of(_canonical_rig(), moved)
    found = _report(clip.name, pose, standing)
    measures = {**found.measures, "end_effector": _end_effector(pose, theirs)}
    return replace(found, measures=measures, source=_report(clip.name, theirs, standing))


def end_effector(rig: Rig, clip: Clip, source: PoseBlock) -> Measure:
    """`measure(rig, clip, source=source).measures["end_effector"]` alone, for one source on many rigs.

    Raises:
        ShapeError, InvalidRequest: as `measure`.
    """
    _check(rig, clip, source)
    skeleton = canonical_skeleton()
    moved = Clip.from_root(skeleton, FRAME_RATE_HZ, source.local_rotations, source.root_positions)
    return _end_effector(BodyPose.of(rig, clip), BodyPose.of(_canonical_rig(), moved))


def _report(name: str, pose: BodyPose, standing: Array) -> QualityReport:
    """Everything that needs no source."""
    speeds = foot_speeds(pose.feet, standing, pose.frame_rate_hz, scale=_MM)
    measures = {
        "foot_slide": Measure("foot slide", "mm/s", *speeds, 10.0, "median"),
        "penetration": Measure("ground penetration", "mm", *floor_depths(pose, scale=_MM), 10.0),
        "joint_limits": Measure("beyond joint limits", "deg", *limit_excesses(pose)),
        "self_intersection": Measure("self-intersection", "mm", *limb_depths(pose, scale=_MM)),
        "jitter": Measure("jitter (jerk)", "leg/s3", *_jerks(pose)),
    }
    return QualityReport(name, pose.rig.name, pose.frame_rate_hz, pose.frame_count, measures, standing)


def _check(rig: Rig, clip: Clip, source: PoseBlock | None) -> None:
    if clip.skeleton.joint_names != rig.skeleton.joint_names:
        raise ShapeError(
            f"clip {clip.name!r} moves other joints than rig {rig.name!r} has ({clip.skeleton.joint_count} and "
            f"{rig.skeleton.joint_count} joints); measure a clip on its own rig"
        )
    if clip.frame_count == 0:
        raise InvalidRequest(f"clip {clip.name!r} has no frames; there is nothing to measure")
    finite = np.isfinite(clip.local_rotations).all((1, 2)) & np.isfinite(clip.local_translations).all((1, 2))
    if not finite.all():
        raise InvalidRequest(
            f"clip {clip.name!r} holds NaN or infinite numbers at frame {int(np.argmin(finite))}; repair it first"
        )
    if source is None:
        return
    if source.frame_count != clip.frame_count or abs(clip.frame_rate_hz - FRAME_RATE_HZ) > 0.01:
        raise ShapeError(
            f"clip {clip.name!r} has {clip.frame_count} frames at {clip.frame_rate_hz:g} fps, its source "
            f"{source.frame_count} at {FRAME_RATE_HZ:g}; measure before changing the frame rate"
        )


@cache
def _canonical_rig() -> Rig:
    return rig_from_skeleton(canonical_skeleton(), name="canonical")


def _standing(pose: BodyPose, contacts: Array | None) -> Array:
    """(T, 4) bool, from probabilities or from what is low and slow."""
    if contacts is None:
        return detected_contacts(pose)
    given = np.asarray(contacts)
    if given.shape != (pose.frame_count, 4):
        raise ShapeError(f"contacts must be ({pose.frame_count}, 4), one column per ankle and toes; got {given.shape}")
    return np.asarray(given >= _STANDS)


def _end_effector(pose: BodyPose, source: BodyPose) -> Measure:
    """Distance of wrists from shoulders and ankles from hips to where the source has them, in limb lengths."""
    names, errors = [], []
    for start, end in _EFFECTORS:
        for side in ("left", "right"):
            reached, wanted = (p.reach(f"{side}_{start}", f"{side}_{end}") for p in (pose, source))
            names.append(f"{side} {end}")
            errors.append(np.linalg.norm(reached - wanted, axis=-1) * _PERCENT)
    return Measure("end-effector error", "% of limb", tuple(names), np.stack(errors, axis=-1))


def _jerks(pose: BodyPose) -> tuple[tuple[str, ...], Array]:
    """(T, R) length of the third derivative of every role's position, in leg lengths; NaN in the first three frames."""
    names = tuple(pose.joints)
    positions = pose.positions[:, list(pose.joints.values())]
    jerks = np.full(positions.shape[:2], np.nan)
    if pose.frame_count > 3:
        steps = np.linalg.norm(np.diff(positions, n=3, axis=0), axis=-1)
        jerks[3:] = steps * pose.frame_rate_hz**3 / (pose.size * CANONICAL_LEG_M)
    return tuple(name.replace("_", " ") for name in names), jerks


def _summary(found: Measure) -> dict[str, float | None]:
    return {"median": found.median, "p95": found.p95, "worst": found.worst}
