"""Seams without a jolt: after a change the old motion runs out while the new one comes in.

Inertialisation (D. Bollo, "Inertialization: High-Performance Animation Transitions in Gears of War", GDC 2018): only
the new motion is computed, and what the old one was doing at the seam fades from it. It differs in this: the decoder
leads from the old pose to the new one by itself, within about a token, so there is no offset to be carried over; where
that is too rough, the new motion is faded in over what the old pose and its dying velocity would have become. The root
comes to its new velocity no faster than people do: a runner who stops takes some steps.

It works on features (`motion.features`), before root motion is integrated: no path is bent afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot

import numpy as np

from animoe.motion.features import HEIGHT, LOCAL_ROTATIONS, PLANAR_VELOCITY
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array

ROUGH = 3e-4
"""`seam_cost` from which the pose is faded: about one seam in six. The others are smooth anyway, and a fade would only
hold the new motion up, feet and all."""
SPAN = 14
"""Frames of the pose's fade. On 400 changes of prompt, all of them faded, the joints' acceleration at seams (p99 of the
largest in 8 frames) was 117 m/s^2 without, 118 with 10 frames, 105 with 12, 72 with 14; real clips have 111."""
ROOT_MPS2 = 10.0
"""The root's acceleration over the floor for SPAN frames, and until it has caught up. Real clips have 14.5 (p99)."""
_COAST = 3.0  # frames in which the old pose's velocity dies away
_STEP_MPS = ROOT_MPS2 / FRAME_RATE_HZ
_POSE = slice(HEIGHT.start, LOCAL_ROTATIONS.stop)


@dataclass(frozen=True, eq=False)
class Inertia:
    """What fades after a seam. Never changed, only replaced.

    Attributes:
        root: (x, z) velocity of the root over the floor in the frame before, in the heading frame, m/s.
        pose, velocity: (133,) features before the seam, and their change per frame. rough: they fade.
        frame: since the seam.
    """

    root: tuple[float, float]
    pose: Array
    velocity: Array
    rough: bool
    frame: int = 0

    @staticmethod
    def at_seam(recent: Array, cost: float) -> Inertia:
        """After the two frames (2, 140) before a seam that costs so much."""
        x, z = recent[-1, PLANAR_VELOCITY].tolist()
        return Inertia((x, z), recent[-1, _POSE], recent[-1, _POSE] - recent[-2, _POSE], cost > ROUGH)

    def applied(self, features: Array) -> tuple[Array, Inertia | None]:
        """The next features (4, 140) with what is left of the old motion; None when nothing is."""
        found = features.copy()
        wanted = features[:, PLANAR_VELOCITY].tolist()
        rows = _followed(self.root, wanted)
        found[:, PLANAR_VELOCITY] = rows
        if self.rough and self.frame < SPAN:
            at = np.arange(self.frame + 1, self.frame + 1 + len(features), dtype=np.float32)[:, None]
            old = self.pose + self.velocity * (_COAST * (1.0 - np.exp(-at / _COAST)))
            found[:, _POSE] += (old - features[:, _POSE]) * _left(at / SPAN)
        frame = self.frame + len(features)
        caught_up = list(rows[-1]) == wanted[-1]
        return found, None if frame >= SPAN and caught_up else replace(self, root=rows[-1], frame=frame)


def _followed(start: tuple[float, float], wanted: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Velocities that follow the wanted ones from `start`, by _STEP_MPS per frame. Plain numbers are quicker here."""
    found = []
    x, z = start
    for to_x, to_z in wanted:
        away = hypot(to_x - x, to_z - z)
        share = 1.0 if away <= _STEP_MPS else _STEP_MPS / away
        x, z = (to_x, to_z) if share == 1.0 else (x + (to_x - x) * share, z + (to_z - z) * share)
        found.append((x, z))
    return found


def seam_cost(recent: Array, features: Array) -> Array:
    """How roughly candidates continue a motion: mean squared second difference of their poses.

    Args:
        recent: (2, 140) features of the frames before. features: (C, 4, 140) of the candidates.

    Returns:
        (C,) costs. Root velocities are left out: a change of pace is what the caller asked for.
    """
    pose = slice(HEIGHT.start, LOCAL_ROTATIONS.stop)
    before = np.broadcast_to(recent[:, pose], (len(features), 2, recent[:, pose].shape[-1]))
    joined = np.concatenate([before, features[..., pose]], axis=1)
    cost: Array = np.square(np.diff(joined, n=2, axis=1)).mean(axis=(1, 2))
    return cost


def _left(share: Array) -> Array:
    """From 1 to 0 over shares 0 to 1 of a fade, with level ends."""
    share = np.minimum(share, np.float32(1.0))
    found: Array = 1.0 - share * share * (3.0 - 2.0 * share)
    return found
