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
from animoe.rig.rotations import Array, slerp

MIN_PACE, MAX_PACE = 0.5, 2.0
EASE_FRAMES = 6
"""Over which a new pace comes (0.2 s)."""

Frames = tuple[Array, Array, Array, Array]
"""Of n frames: local rotations (n, 22, 4), root positions (n, 3), contacts (n, 4) and headings (n,)."""


@dataclass(frozen=True, eq=False)
class Pace:
    """Where reading stands. Never changed, only replaced.

    Attributes:
        ratio: the pace wanted. before: the one that it comes from. eased: frames since it was wanted.
        ahead: frames of the motion from the first one that comes in next to the next one that leaves; > -1.
        last: the frame that came in last.
    """

    ratio: float = 1.0
    before: float = 1.0
    eased: int = EASE_FRAMES
    ahead: float = 0.0
    last: Frames | None = None

    @property
    def now(self) -> float:
        """The ratio at the next frame."""
        if self.eased >= EASE_FRAMES:
            return self.ratio
        return self.before + (self.ratio - self.before) * smoothstep(self.eased / EASE_FRAMES)

    def towards(self, ratio: float) -> Pace:
        """Another pace, from the next frame on."""
        if ratio == self.ratio:
            return self
        return replace(self, ratio=ratio, before=self.now, eased=0)

    def read(self, frames: Frames) -> tuple[Frames, Pace]:
        """The frames that leave when these come in, at least one, and where reading stands then."""
        last: Frames = tuple(part[-1:].copy() for part in frames)  # type: ignore[assignment]
        count = len(frames[0])
        if self.ratio == 1.0 and self.ahead == 0.0 and self.eased >= EASE_FRAMES:
            return frames, replace(self, last=last)
        places, pace = self._places(count)
        if self.last is not None:
            frames = tuple(np.concatenate(pair) for pair in zip(self.last, frames, strict=True))  # type: ignore[assignment]
            places = [place + 1.0 for place in places]
        return _between(frames, places), replace(pace, last=last)

    def _places(self, count: int) -> tuple[list[float], Pace]:
        """What to read of `count` frames, and where reading stands then."""
        pace, places = self, []
        while pace.ahead <= count - 1:
            places.append(pace.ahead)
            pace = replace(pace, ahead=pace.ahead + pace.now, eased=min(pace.eased + 1, EASE_FRAMES))
        return places, replace(pace, ahead=pace.ahead - count)


PLAIN = Pace()
assert FRAMES_PER_TOKEN / MAX_PACE >= 1, "every token gives a frame"


def _between(frames: Frames, places: Sequence[float]) -> Frames:
    """Frames at fractional places of `frames`."""
    rotations, positions, contacts, headings = frames
    at = np.array(places)
    start = np.floor(at).astype(np.int64)
    end = np.minimum(start + 1, len(rotations) - 1)
    share = at - start
    turned = slerp(rotations[start], rotations[end], np.broadcast_to(share[:, None], (len(at), rotations.shape[1])))
    moved = positions[start] + (positions[end] - positions[start]) * share[:, None]
    nearest = np.where(share < 0.5, start, end)
    return turned, moved, contacts[nearest], headings[start] + (headings[end] - headings[start]) * share


def check_pace(ratio: float) -> None:
    """Raises InvalidRequest unless motion can run at this ratio of its own speed."""
    if not (np.isfinite(ratio) and MIN_PACE <= ratio <= MAX_PACE):
        raise InvalidRequest(f"pace must be between {MIN_PACE:g} (half speed) and {MAX_PACE:g} (double), got {ratio}")
