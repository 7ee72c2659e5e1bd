"""Intensity as a dial: acted clips blended with neutral ones of the same content, below and beyond what was acted.

Actors gave one intensity, so a generator that sees only their takes learns a switch. Here every acted clip is aligned
with a neutral take of the same content (subsequence dynamic time warping over poses, so that steps meet steps), and
poses, paths *and* timing are blended: intensity 0.5 is half way in posture, in stride and in tempo; 1.5 goes beyond.
The root then follows the standing foot, so that blended steps do not slide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from animoe.motion.clip import Clip
from animoe.motion.contacts import CONTACT_INDICES, foot_contacts
from animoe.motion.features import FEATURE_COUNT, features_to_clip, heading, heading_positions, mirrored
from animoe.rig.canonical import FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.rotations import Array, from_yaw, inverse, multiply, rotate, slerp
from animoe_trainer.corpus import Corpus, Item, clip_inputs

INTENSITIES = (0.5, 1.5)
PARTNERS = 2
"""Neutral takes that an acted clip is blended with."""
MIN_FRAMES = 24
_STALL = 4
_VELOCITY_S = 0.15  # how much of the alignment is phase (where a limb goes) against pose (where it is)
_RUNNING_MPS = 2.0
_MIN_STEP = 0.3  # slowest time may run against the acted clip


def with_intensities(corpus: Corpus, intensities: Sequence[float] = INTENSITIES, *, seed: int = 0) -> Corpus:
    """The corpus with blends of its acted training clips, mirror images included, added as training items."""
    rng = np.random.default_rng(seed)
    plain: dict[str, list[Item]] = {}
    for item in corpus.select("train"):
        if item.emotion == "neutral" and item.style in ("normal", ""):
            plain.setdefault(item.content, []).append(item)
    acted = [item for item in corpus.select("train") if item.emotion != "neutral" and item.content in plain]
    arrays, items, start = [corpus.inputs], list(corpus.items), len(corpus.inputs)
    for item in tqdm(acted, desc="blending intensities", leave=False):
        partners = plain[item.content]
        for pick in rng.permutation(len(partners))[:PARTNERS]:
            for intensity in intensities:
                clip = blend_intensity(_clip(corpus, partners[pick]), _clip(corpus, item), intensity)
                if clip is None:
                    continue
                for flip in (False, True):
                    inputs = clip_inputs(mirrored(clip) if flip else clip)
                    made = replace(item, mirrored=flip, start=start, count=len(inputs), intensity=intensity)
                    arrays.append(inputs)
                    items.append(made)
                    start += len(inputs)
    return Corpus(np.concatenate(arrays), tuple(items), corpus.refusals)


def _clip(corpus: Corpus, item: Item) -> Clip:
    return features_to_clip(corpus.frames(item)[:, :FEATURE_COUNT])


def blend_intensity(neutral: Clip, acted: Clip, intensity: float) -> Clip | None:
    """The motion `intensity` of the way from neutral to acted; None when the two have too little in common.

    Args:
        neutral, acted: canonical clips at 30 fps of the same content.
        intensity: 0 = neutral, 1 = as acted, above 1 = beyond.
    """
    path = align(_signature(acted), _signature(neutral))
    count = _before_stall(path)
    if count < MIN_FRAMES:
        return None
    path = _smooth(path[:count].astype(np.float64), 3.0)
    a, n = _frames(acted, np.arange(count, dtype=np.float64)), _frames(neutral, path)
    s = intensity
    rotations = slerp(n.joints, a.joints, s)
    tilt = slerp(n.tilt, a.tilt, s)
    height = (1 - s) * n.height + s * a.height
    turn, shift = (1 - s) * n.turn + s * a.turn, (1 - s) * n.shift + s * a.shift
    clock = np.concatenate([[0.0], np.cumsum(np.maximum((1 - s) * np.diff(path) + s, _MIN_STEP))])
    yaw = np.cumsum(turn)
    shift = _stand(rotations, tilt, yaw, shift, height)
    before = np.concatenate([[0.0], yaw[:-1]])
    planar = np.cumsum(_turned(shift, before), axis=0)
    times = np.arange(int(clock[-1]) + 1, dtype=np.float64)
    if len(times) < MIN_FRAMES:
        return None
    pelvis = multiply(from_yaw(yaw), tilt)
    all_rotations = np.concatenate([pelvis[:, None], rotations], axis=1)
    at = np.interp(times, clock, np.arange(count, dtype=np.float64))
    low = np.minimum(at.astype(int), count - 2)
    share = (at - low)[:, None]
    found = slerp(all_rotations[low], all_rotations[low + 1], share)
    root = np.stack([planar[:, 0], height, planar[:, 1]], axis=-1)
    positions = root[low] * (1 - share) + root[low + 1] * share
    return Clip.from_root(acted.skeleton, FRAME_RATE_HZ, found, positions, acted.name)


def align(acted: Array, neutral: Array) -> Array:
    """(n,) index into `neutral` (m, D) for every row of `acted` (n, D): subsequence DTW, start and end free.

    The neutral side may stand still or go up to two frames per frame (Sakoe & Chiba 1978, slope limits).
    """
    cost = np.sqrt(np.maximum((acted**2).sum(1)[:, None] + (neutral**2).sum(1) - 2 * acted @ neutral.T, 0.0))
    count, width = cost.shape
    total, steps = cost[0].copy(), np.zeros((count, width), dtype=np.int64)
    penalty = 0.1 * float(cost.mean())
    for j in range(1, count):
        options = np.full((3, width), np.inf)
        options[0] = total + penalty
        options[1, 1:] = total[:-1]
        options[2, 2:] = total[:-2] + penalty
        steps[j] = options.argmin(axis=0)
        total = options.min(axis=0) + cost[j]
    path = np.empty(count, dtype=np.int64)
    path[-1] = int(total.argmin())
    for j in range(count - 1, 0, -1):
        path[j - 1] = path[j] - steps[j, path[j]]
    return path


def _signature(clip: Clip) -> Array:
    """(T, D) what is compared: joints in the heading frame without the clip's mean posture, and where they go."""
    positions = heading_positions(clip_inputs(clip)[:, :FEATURE_COUNT])
    centred = positions - positions.mean(axis=0)
    velocity = np.gradient(positions, axis=0) * FRAME_RATE_HZ * _VELOCITY_S
    return np.concatenate([centred, velocity], axis=-1).astype(np.float64)


def _before_stall(path: Array) -> int:
    """Frames until the neutral clip has run out."""
    running = np.flatnonzero(np.diff(path) > 0)
    return int(min(len(path), running[-1] + 2 + _STALL)) if len(running) else 0


class _frames:
    """A clip at fractional frames: joints (n, 21, 4), tilt (n, 4), height (n,), turn and shift since the frame before.

    `shift` (n, 2) is the way on the floor in the heading of the frame before; row 0 is zero.
    """

    def __init__(self, clip: Clip, at: Array) -> None:
        low = np.clip(at.astype(int), 0, max(clip.frame_count - 2, 0))
        share = (at - low)[:, None]
        yaw = heading(clip.local_rotations[:, 0])
        tilt = multiply(inverse(from_yaw(yaw)), clip.local_rotations[:, 0])
        self.joints = slerp(clip.local_rotations[low, 1:], clip.local_rotations[low + 1, 1:], share)
        self.tilt = slerp(tilt[low], tilt[low + 1], share[:, 0])
        root = clip.root_positions[low] * (1 - share) + clip.root_positions[low + 1] * share
        angle = yaw[low] * (1 - share[:, 0]) + yaw[low + 1] * share[:, 0]
        self.height = root[:, 1]
        self.turn = np.diff(angle, prepend=angle[:1])
        moved = np.diff(root[:, [0, 2]], axis=0, prepend=root[:1, [0, 2]])
        self.shift = _turned(moved, -np.concatenate([angle[:1], angle[:-1]]))


def _stand(joints: Array, tilt: Array, yaw: Array, shift: Array, height: Array) -> Array:
    """Shifts (n, 2) at which standing feet stay where they are; where none stands, the blended ones."""
    count = len(joints)
    rotations = np.concatenate([multiply(from_yaw(yaw), tilt)[:, None], joints], axis=1)
    root = np.zeros((count, 3))
    root[:, 1] = height
    still = Clip.from_root(canonical_skeleton(), FRAME_RATE_HZ, rotations, root)
    before = np.concatenate([[0.0], yaw[:-1]])
    planar = np.cumsum(_turned(shift, before), axis=0)
    moving = still.world()[1] + np.insert(planar, 1, 0.0, axis=1)[:, None]
    contacts = foot_contacts(moving, FRAME_RATE_HZ)
    feet = still.world()[1][:, CONTACT_INDICES][..., [0, 2]]
    back = -np.diff(feet, axis=0, prepend=feet[:1])
    low = np.exp(-moving[:, CONTACT_INDICES, 1] / 0.03) * contacts
    weight = low.sum(axis=1, keepdims=True)
    wanted = (back * low[..., None]).sum(axis=1) / np.maximum(weight, 1e-9)
    pace = np.linalg.norm(shift, axis=-1, keepdims=True) * FRAME_RATE_HZ
    # A runner's foot lands and leaves at speed: following it would brake the body.
    share = _smooth(np.minimum(weight / 0.2, 1.0), 1.0) * np.exp(-((pace / _RUNNING_MPS) ** 2))
    followed: Array = (1 - share) * shift + share * _turned(wanted, -before)
    return followed


def _smooth(values: Array, sigma: float) -> Array:
    """Gaussian average along the first axis."""
    radius = int(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    pads = [(radius, radius)] + [(0, 0)] * (values.ndim - 1)
    padded = np.pad(values, pads, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0)
    result: Array = windows @ kernel
    return result


def _turned(planar: Array, yaw: Array) -> Array:
    """Floor vectors (n, 2) turned by (n,) radians about +Y."""
    vectors = np.stack([planar[:, 0], np.zeros(len(planar)), planar[:, 1]], axis=-1)
    return rotate(from_yaw(yaw), vectors)[:, [0, 2]]
