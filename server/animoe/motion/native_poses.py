"""`features.features_to_poses` in C++, for a crowd."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from animoe.motion.features import RootState
from animoe.motion.pose_block import CONTACT_JOINTS
from animoe.rig.canonical import CANONICAL_JOINTS
from animoe.rig.rotations import Array

ToPoses = Callable[[Array, Sequence[RootState]], tuple[Array, Array, Array, Array]]


class _Poses(ctypes.Structure):
    """`Poses` of poses.cpp."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("characters", "frames")),
        *((name, ctypes.c_void_p) for name in ("features", "roots", "rotations", "positions", "contacts", "headings")),
    ]


def native_poses(library: ctypes.CDLL) -> ToPoses:
    """`features_to_poses` to within rounding.

    Args:
        library: `native.library.load_library()`.
    """

    def features_to_poses(features: Array, roots: Sequence[RootState]) -> tuple[Array, Array, Array, Array]:
        given = np.ascontiguousarray(features, dtype=np.float32)
        shape = given.shape[:2]
        states = np.array([(root.yaw, *root.planar) for root in roots])
        found = (
            np.empty((*shape, len(CANONICAL_JOINTS), 4)),
            np.empty((*shape, 3)),
            np.empty((*shape, len(CONTACT_JOINTS))),
            np.empty(shape),
        )
        arrays = (given, states, *found)
        library.animoe_pose(None, ctypes.byref(_Poses(*shape, *(array.ctypes.data for array in arrays))))
        for root, (yaw, x, z) in zip(roots, states.tolist(), strict=True):
            root.yaw, root.planar = yaw, np.array((x, z))
        return found

    return features_to_poses
