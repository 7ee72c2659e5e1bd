"""Self-intersection: limbs as capsules, and how deep they are inside each other.

Radii follow from the rig's own bones: a limb is as thick as it is long times a factor of a lean adult, trunk and head
go with the width of the shoulders. A pair that overlaps in the rest pose (thighs of a broad rig) counts only what is
deeper than that. Distances of segments: Ericson, Real-Time Collision Detection, 5.1.9, all pairs and frames at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from animoe.retarget.alignment import CANONICAL_INDEX, facing
from animoe.retarget.quality_pose import BodyPose
from animoe.retarget.rig import Rig
from animoe.rig.rotations import Array, multiply, rotate

_SIDES = ("left", "right")
# Radius over bone length, of an adult without loose clothes.
_THICKNESS = {"upper arm": 0.15, "forearm": 0.14, "hand": 0.12, "thigh": 0.16, "shin": 0.12, "foot": 0.09}
_BONES = {
    "upper arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
    "thigh": ("hip", "knee"),
    "shin": ("knee", "ankle"),
}
_HAND_LENGTH = 0.36
"""Palm and half the fingers, in forearm lengths."""
_TRUNK_RADIUS, _TRUNK_APART, _HEAD_RADIUS, _HEAD_UP = 0.24, 0.35, 0.25, 0.22
"""In shoulder widths: radius of each half of the trunk, of the head, its middle above the head joint. The halves run
from hips to shoulders, this share of the way out from the middle."""
_PAIRS = (
    *((f"{side} {limb}", f"{half} trunk") for side in _SIDES for limb in ("forearm", "hand") for half in _SIDES),
    *((f"{side} {limb}", "head") for side in _SIDES for limb in ("forearm", "hand")),
    *((f"left {a}", f"right {b}") for a in ("forearm", "hand") for b in ("forearm", "hand")),
    *((f"left {a}", f"right {b}") for a in ("thigh", "shin", "foot") for b in ("thigh", "shin", "foot")),
    *((f"{side} {limb}", f"{leg} thigh") for side in _SIDES for limb in ("forearm", "hand") for leg in _SIDES),
)


@dataclass(frozen=True, eq=False)
class Capsules:
    """(T, C, 3) ends of C named capsules in metres and their (C,) radii."""

    names: tuple[str, ...]
    starts: Array
    ends: Array
    radii: Array


def limb_depths(pose: BodyPose, *, scale: float) -> tuple[tuple[str, ...], Array]:
    """How much deeper limbs are inside each other than at rest; 0 apart.

    Args:
        pose: T frames.
        scale: figures per metre.

    Returns:
        Names of the pairs and (T, pairs) figures.
    """
    now, rest = _depths(body_capsules(pose)), _rest_depths(pose.rig)
    names = tuple(f"{a} in {b}" for a, b in _PAIRS)
    return names, np.maximum(now - np.maximum(rest, 0.0), 0.0) * scale


def body_capsules(pose: BodyPose) -> Capsules:
    """Limbs, both halves of the trunk and the head of every frame."""
    size = _lengths(pose)
    parts: dict[str, tuple[Array, Array, float]] = {}
    for side in _SIDES:
        for limb, (start, end) in _BONES.items():
            radius = _THICKNESS[limb] * size[f"{side} {limb}"]
            parts[f"{side} {limb}"] = (pose.at(f"{side}_{start}"), pose.at(f"{side}_{end}"), radius)
        parts[f"{side} hand"] = (*_hand(pose, side), _THICKNESS["hand"] * size[f"{side} forearm"])
        toes = pose.feet[:, 1 if side == "left" else 3]
        parts[f"{side} foot"] = (pose.at(f"{side}_ankle"), toes, _THICKNESS["foot"] * size[f"{side} shin"])
        parts[f"{side} trunk"] = (*_trunk(pose, side), _TRUNK_RADIUS * size["shoulders"])
    parts["head"] = (*_head(pose, size["shoulders"]), _HEAD_RADIUS * size["shoulders"])
    starts, ends, radii = zip(*parts.values(), strict=True)
    return Capsules(tuple(parts), np.stack(starts, axis=1), np.stack(ends, axis=1), np.array(radii))


def segment_distances(a: Array, b: Array, c: Array, d: Array) -> Array:
    """(...) distances between segments a-b and c-d, all (..., 3)."""
    u, v, w = b - a, d - c, a - c
    uu, vv, uv = _dot(u, u), _dot(v, v), _dot(u, v)
    uw, vw = _dot(u, w), _dot(v, w)
    room = uu * vv - uv * uv
    s = np.clip(_divided(uv * vw - uw * vv, room), 0.0, 1.0)
    t = np.clip(_divided(uv * s + vw, vv), 0.0, 1.0)
    s = np.clip(_divided(uv * t - uw, uu), 0.0, 1.0)
    distances: Array = np.linalg.norm(w + u * s[..., None] - v * t[..., None], axis=-1)
    return distances


def _depths(capsules: Capsules) -> Array:
    """(T, pairs) how much the radii of a pair exceed its distance; negative apart."""
    index = {name: i for i, name in enumerate(capsules.names)}
    one, other = ([index[pair[k]] for pair in _PAIRS] for k in (0, 1))
    distances = segment_distances(
        capsules.starts[:, one], capsules.ends[:, one], capsules.starts[:, other], capsules.ends[:, other]
    )
    depths: Array = capsules.radii[one] + capsules.radii[other] - distances
    return depths


@lru_cache(maxsize=32)
def _rest_depths(rig: Rig) -> Array:
    return _depths(body_capsules(BodyPose.at_rest(rig)))


def _lengths(pose: BodyPose) -> dict[str, float]:
    """Metres at rest of every limb bone and of the way from shoulder to shoulder."""
    at = {role: pose.match.rest_positions[joint] for role, joint in pose.joints.items()}
    lengths = {
        f"{side} {limb}": float(np.linalg.norm(at[f"{side}_{end}"] - at[f"{side}_{start}"]))
        for side in _SIDES
        for limb, (start, end) in _BONES.items()
    }
    lengths["shoulders"] = float(np.linalg.norm(at["left_shoulder"] - at["right_shoulder"]))
    return lengths


def _hand(pose: BodyPose, side: str) -> tuple[Array, Array]:
    """Wrist and fingers: the hand goes on where the forearm points at rest, and turns with the wrist."""
    rest = pose.match.rest_positions
    forearm = rest[pose.joints[f"{side}_wrist"]] - rest[pose.joints[f"{side}_elbow"]]
    wrist = pose.at(f"{side}_wrist")
    return wrist, wrist + rotate(pose.change(f"{side}_wrist"), forearm * _HAND_LENGTH)


def _trunk(pose: BodyPose, side: str) -> tuple[Array, Array]:
    """One half of the trunk, from the hips to below the shoulders."""
    hips = (pose.at("left_hip") + pose.at("right_hip")) / 2
    shoulders = (pose.at("left_shoulder") + pose.at("right_shoulder")) / 2
    ends = ((hips, pose.at(f"{side}_hip")), (shoulders, pose.at(f"{side}_shoulder")))
    low, high = (middle + (outer - middle) * _TRUNK_APART for middle, outer in ends)
    top = low + (high - low) * (1 - 0.5 * _TRUNK_RADIUS)
    return low, top


def _chest(pose: BodyPose) -> Array:
    """(T, 3) the highest joint of the spine that the rig has, or its head."""
    return pose.at(next(role for role in ("neck", "spine3", "spine2", "spine1", "head") if role in pose.joints))


def _head(pose: BodyPose, shoulders: float) -> tuple[Array, Array]:
    """The head as a ball above its joint; without one, above the spine."""
    base = pose.at("head") if "head" in pose.joints else _chest(pose)
    turn = multiply(facing(pose.match.body), pose.turns[:, CANONICAL_INDEX["head"]])
    up = rotate(turn, np.array([0.0, _HEAD_UP * shoulders, 0.0]))
    return base + up, base + up


def _dot(a: Array, b: Array) -> Array:
    product: Array = np.einsum("...i,...i->...", a, b)
    return product


def _divided(a: Array, b: Array) -> Array:
    """a / b, 0 where b is nothing (a point, or parallel segments)."""
    known = b > 1e-12
    return np.where(known, a / np.where(known, b, 1.0), 0.0)
