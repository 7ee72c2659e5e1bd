"""The joints of the SMPL family in the order of its pose vectors, and the axes of AMASS.

SMPL (24 joints): body, two hand stumps. SMPL-H (52): body, 15 joints per hand. SMPL-X (55): body, jaw, two eyes, 15
joints per hand. The body is the canonical skeleton's 22 joints. Names are those of the smplx package.

AMASS stands along +Z; turning -90 degrees about X makes that +Y and the faces, which look along -Y, look along +Z.
"""

from __future__ import annotations

import numpy as np

from animoe.rig.canonical import CANONICAL_JOINTS
from animoe.rig.rotations import Array

FACE_JOINTS: tuple[str, ...] = ("jaw", "left_eye_smplhf", "right_eye_smplhf")
HAND_JOINTS: tuple[str, ...] = tuple(
    f"{side}_{finger}{number}"
    for side in ("left", "right")
    for finger in ("index", "middle", "pinky", "ring", "thumb")
    for number in (1, 2, 3)
)
JOINTS_OF_MODEL: dict[str, tuple[str, ...]] = {
    "smpl": (*CANONICAL_JOINTS, "left_hand", "right_hand"),
    "smplh": (*CANONICAL_JOINTS, *HAND_JOINTS),
    "smplx": (*CANONICAL_JOINTS, *FACE_JOINTS, *HAND_JOINTS),
}
Z_UP_TO_Y_UP: Array = np.array([-np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])
Y_UP_TO_Z_UP: Array = np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])
UPSIDE_DOWN: Array = np.array([1.0, 0.0, 0.0, 0.0])
"""Half a turn about X: from the axes of a camera (y down, z away from it) to ours."""
