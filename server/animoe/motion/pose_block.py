"""PoseBlock: a few consecutive frames of canonical motion, the unit that streams through the engine."""

from __future__ import annotations

from dataclasses import dataclass

from animoe.rig.rotations import Array

CONTACT_JOINTS: tuple[str, ...] = ("left_ankle", "left_foot", "right_ankle", "right_foot")


@dataclass(frozen=True, eq=False)
class PoseBlock:
    """n consecutive frames at 30 fps on the canonical skeleton.

    Attributes:
        first_frame: index of the first frame from the start of the stream.
        local_rotations: (n, 22, 4) unit quaternions xyzw relative to the parent.
        root_positions: (n, 3) pelvis in the world, metres, floor at y = 0. A stream starts at x = z = 0 facing +Z.
        contacts: (n, 4) probability in [0, 1] that each joint of CONTACT_JOINTS stands on the floor.
        headings: (n,) radians about +Y where the body as a whole faces (it does not sway with the hips), continuous;
            None when the maker does not know.
    """

    first_frame: int
    local_rotations: Array
    root_positions: Array
    contacts: Array
    headings: Array | None = None

    @property
    def frame_count(self) -> int:
        return len(self.local_rotations)
