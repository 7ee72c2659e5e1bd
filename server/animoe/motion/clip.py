"""Clip: trimmed, fixed-rate frames on one skeleton."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from animoe.errors import ShapeError
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import Array, slerp
from animoe.rig.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Clip:
    """T frames of one character.

    Attributes:
        skeleton: J joints.
        frame_rate_hz: frames per second, > 0.
        local_rotations: (T, J, 4) unit quaternions xyzw relative to the parent (they replace the rest rotation).
        local_translations: (T, J, 3) metres relative to the parent; joint 0 carries the root motion in the world.
            Constant for every other joint on most rigs, animated on a few (KayKit shoulders, Bandai joints).
        name: what the clip is called in its file; may be empty.

    Raises:
        ShapeError: arrays that disagree with the skeleton or with each other.
    """

    skeleton: Skeleton
    frame_rate_hz: float
    local_rotations: Array
    local_translations: Array
    name: str = ""

    def __post_init__(self) -> None:
        frames, joints = len(self.local_rotations), self.skeleton.joint_count
        expected = ((frames, joints, 4), (frames, joints, 3))
        got = (self.local_rotations.shape, self.local_translations.shape)
        if got != expected:
            raise ShapeError(f"a clip of {frames} frames and {joints} joints needs arrays {expected}; got {got}")
        if not self.frame_rate_hz > 0:
            raise ShapeError(f"frame rate must be positive, got {self.frame_rate_hz}")

    @classmethod
    def from_root(
        cls,
        skeleton: Skeleton,
        frame_rate_hz: float,
        local_rotations: Array,
        root_positions: Array,
        name: str = "",
    ) -> Clip:
        """Makes a clip whose joints keep their rest translations, except the root at (T, 3) metres."""
        translations = np.tile(skeleton.rest_translations, (len(local_rotations), 1, 1))
        translations[:, 0] = root_positions
        return cls(skeleton, frame_rate_hz, local_rotations, translations, name)

    @property
    def frame_count(self) -> int:
        return len(self.local_rotations)

    @property
    def duration_s(self) -> float:
        return self.frame_count / self.frame_rate_hz

    @property
    def root_positions(self) -> Array:
        """(T, 3) root joint in the world, metres."""
        root: Array = self.local_translations[:, 0]
        return root

    def world(self) -> tuple[Array, Array]:
        """World rotations (T, J, 4) and positions (T, J, 3) in metres of every joint."""
        return local_to_model(self.local_rotations, self.local_translations, self.skeleton.parents)

    def trimmed(self, start_s: float | None, end_s: float | None) -> Clip:
        """The frames in [start_s, end_s) seconds from the first frame; None keeps that end."""
        first = 0 if start_s is None else round(start_s * self.frame_rate_hz)
        last = self.frame_count if end_s is None else min(round(end_s * self.frame_rate_hz), self.frame_count)
        part = slice(max(first, 0), max(last, first + 1))
        return replace(
            self, local_rotations=self.local_rotations[part], local_translations=self.local_translations[part]
        )

    def resampled(self, frame_rate_hz: float) -> Clip:
        """The same motion at another rate; rotations by slerp, translations linearly."""
        if abs(frame_rate_hz - self.frame_rate_hz) < 0.01 or self.frame_count == 1:
            return replace(self, frame_rate_hz=frame_rate_hz)
        count = int((self.frame_count - 1) / self.frame_rate_hz * frame_rate_hz + 1e-6) + 1
        at = np.minimum(np.arange(count) * self.frame_rate_hz / frame_rate_hz, self.frame_count - 1)
        low = np.minimum(at.astype(int), self.frame_count - 2)
        t = at - low
        rotations = slerp(self.local_rotations[low], self.local_rotations[low + 1], t[:, None])
        before, after = self.local_translations[low], self.local_translations[low + 1]
        translations = before + (after - before) * t[:, None, None]
        return replace(self, frame_rate_hz=frame_rate_hz, local_rotations=rotations, local_translations=translations)
