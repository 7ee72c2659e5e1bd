"""The rig that motion is wanted on, and how it is put there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from animoe.client.errors import refused
from animoe.client.messages import Array, frame_value, root_motion_value
from animoe.v1 import skeleton_pb2


@dataclass(frozen=True, eq=False)
class CustomRig:
    """A caller's own skeleton, in the axes and unit of the engine frame named with it.

    Attributes:
        joint_names: J unique names, parents before children.
        parents: J indices, -1 for joint 0 only.
        rest_translations: (J, 3) relative to the parent.
        rest_rotations: (J, 4) xyzw relative to the parent.
        roles: body part -> joint name, where names do not tell.
    """

    joint_names: Sequence[str]
    parents: Sequence[int] | Array
    rest_translations: Sequence[Sequence[float]] | Array
    rest_rotations: Sequence[Sequence[float]] | Array
    roles: Mapping[str, str] = field(default_factory=dict)


def rig_selection(
    rig: str | CustomRig, frame: str | None, root_motion: str, foot_lock: bool, reach: float, ik_bones: bool
) -> skeleton_pb2.RigSelection:
    """The message; arguments as for `Client.generate`. Raises ClientError for names that do not exist."""
    try:
        value, mode = frame_value(frame), root_motion_value(root_motion)
    except ValueError as error:
        raise refused(str(error)) from None
    lock = skeleton_pb2.FOOT_LOCK_ON if foot_lock else skeleton_pb2.FOOT_LOCK_OFF
    options = skeleton_pb2.RetargetOptions(root_motion=mode, foot_lock=lock, reach=reach, ik_bones=ik_bones)
    if isinstance(rig, str):
        return skeleton_pb2.RigSelection(profile=rig, frame=value, options=options)
    skeleton = skeleton_pb2.Skeleton(
        joint_names=rig.joint_names,
        parents=[int(parent) for parent in rig.parents],
        rest_translations=np.asarray(rig.rest_translations, dtype=np.float64).ravel().tolist(),
        rest_rotations=np.asarray(rig.rest_rotations, dtype=np.float64).ravel().tolist(),
        joint_roles=[skeleton_pb2.JointRole(role=role, joint_name=joint) for role, joint in rig.roles.items()],
    )
    return skeleton_pb2.RigSelection(skeleton=skeleton, frame=value, options=options)
