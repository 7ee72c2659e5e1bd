"""Motion at another pace: canonical frames read faster or slower than they were made.

Frames come in at 30 per second of the motion's own time and leave at 30 per second of the character's. Each that leaves
lies between two that came in: rotations are interpolated along the shorter arc, root and heading linearly, contacts
are those of the nearer one. At pace 1 frames pass as they are. A new pace is eased in, so velocities do not jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from animoe.engine.feeling import smoothstep
from animoe.errors import InvalidRequest
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.rotations import Array

MIN_PACE, MAX_PACE = 0.5, 2.0
EASE_FRAMES = 14
"""Over which a new pace comes (0.47 s). On 480 changes to 0.7 and 1.4 the root's acceleration over the floor (p99 of
the largest in 8 frames) was 16.5 m/s^2 with 6 frames, 14.7 with 12, 13.4 with 14; real clips have 14.5."""

_STILL = 1e-9  # radians

Frames = tuple[Array, Array, Array, Array]
"""Of n frames: local rotations (n, 22, 4), root positions (n, 3), contacts (n, 4) and headings (n,)."""


@dataclass(frozen=True)
class Pace:
    """Where reading stands. Never changed, only replaced.

    Attributes:
        ratio: the pace wanted. before: the one that it comes from. eased: frames since it was wanted.
        ahead: frames of the motion from the first one that comes in next to the next one that leaves; > -1.
    """

    ratio: float = 1.0
    before: float = 1.0
    eased: int = EASE_FRAMES
    ahead: float = 0.0

    def towards(self, ratio: float) -> Pace:
        """Another pace, from the next frame on."""
        if ratio == self.ratio:
            return self
        return replace(self, ratio=ratio, before=self._at(self.eased), eased=0)

    def read(self, frames: Frames, last: Frames | None) -> tuple[Frames, Pace]:
        """The frames that leave when these come in, at least one, and where reading stands then.

        Args:
            last: the frame that came in before them; None at the start.
        """
        if self.ratio == 1.0 and self.ahead == 0.0 and self.eased >= EASE_FRAMES:
            return frames, self
        places, pace = self._places(len(frames[0]))
        if last is not None:
            frames = tuple(np.concatenate(pair) for pair in zip(last, frames, strict=True))  # type: ignore[assignment]
            places = [place + 1.0 for place in places]
        return _between(frames, places), pace

    def _at(self, eased: int) -> float:
        """The ratio so many frames after it was wanted."""
        if eased >= EASE_FRAMES:
            return self.ratio
        return self.before + (self.ratio - self.before) * smoothstep(eased / EASE_FRAMES)

    def _places(self, count: int) -> tuple[list[float], Pace]:
        """What to read of `count` frames, and where reading stands then."""
        ahead, eased = self.ahead, self.eased
        places = []
        while ahead <= count - 1:
            places.append(ahead)
            ahead += self._at(eased)
            eased = min(eased + 1, EASE_FRAMES)
        return places, Pace(self.ratio, self.before, eased, ahead - count)


PLAIN = Pace()
assert FRAMES_PER_TOKEN / MAX_PACE >= 1, "every token gives a frame"


def _between(frames: Frames, places: Sequence[float]) -> Frames:
    """Frames at fractional places of `frames`."""
    rotations, positions, contacts, headings = frames
    end_of_all = len(rotations) - 1
    start = [int(place) for place in places]
    end = [min(index + 1, end_of_all) for index in start]
    share = np.array(places) - start
    nearest = [a if place - a < 0.5 else b for place, a, b in zip(places, start, end, strict=True)]
    turned = _turned(rotations[start], rotations[end], share[:, None])
    moved = positions[start] + (positions[end] - positions[start]) * share[:, None]
    return turned, moved, contacts[nearest], headings[start] + (headings[end] - headings[start]) * share


def _turned(a: Array, b: Array, share: Array) -> Array:
    """`rig.rotations.slerp` in a quarter of its time, for unit quaternions (n, J, 4) less than a half turn apart."""
    dot = np.einsum("njc,njc->nj", a, b)
    angle = np.arccos(np.minimum(np.abs(dot), 1.0))
    sine = np.maximum(np.sin(angle), _STILL)
    angle = np.maximum(angle, _STILL)  # then both weights are the shares
    before, after = np.sin((1.0 - share) * angle) / sine, np.sin(share * angle) / sine
    found: Array = before[..., None] * a + np.copysign(after, dot)[..., None] * b
    return found


def check_pace(ratio: float) -> None:
    """Raises InvalidRequest unless motion can run at this ratio of its own speed."""
    if not (np.isfinite(ratio) and MIN_PACE <= ratio <= MAX_PACE):
        raise InvalidRequest(f"pace must be between {MIN_PACE:g} (half speed) and {MAX_PACE:g} (double), got {ratio}")
