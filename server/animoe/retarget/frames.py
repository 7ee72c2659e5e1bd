"""Engine frames: the axes and units users' rigs live in, and the way between them and ours.

Ours is right-handed, Y up, facing +Z, metres (see `animoe.rig`). An engine frame is a change of basis C (a
signed permutation of axes, perhaps a mirror) and a unit:

    points      p' = C p / unit
    rotations   R' = C R C^-1,  on quaternions: xyz' = det(C) C xyz, w' = w

Local joint transforms are conjugated like any other rotation, so bone axes stay what the engine shows: X
along the bone on an Unreal rig, Y on a Blender one. Unreal's actor space is its component space turned by the
component's yaw of -90 degrees; a turn above the skeleton changes the root joint alone (yaw * root), every
other local stays.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import numpy as np

from animoe.errors import IncompatibleSkeleton, NotFound
from animoe.rig.rotations import IDENTITY, Array, from_axis_angle, inverse, multiply, rotate
from animoe.rig.skeleton import Skeleton


class EngineFrame(enum.Enum):
    """Where a rig's transforms live."""

    GLTF = "gltf"
    """Right-handed, Y up, faces +Z, metres: glTF, Godot, VRM 1.0, and AniMoE inside."""
    UNITY = "unity"
    """Left-handed, Y up, faces +Z, metres."""
    UNREAL = "unreal"
    """Unreal component space: left-handed, Z up, faces +Y, centimetres."""
    UNREAL_ACTOR = "unreal_actor"
    """Unreal actor space: left-handed, Z up, faces +X, centimetres; the mesh component is yawed by -90."""
    BLENDER = "blender"
    """Right-handed, Z up, faces -Y, metres."""

    @property
    def axes(self) -> Array:
        """(3, 3) C: the frame's coordinates of a point from ours, before the unit."""
        return np.array(_AXES[self], dtype=np.float64)

    @property
    def unit_m(self) -> float:
        """Metres in one unit of this frame."""
        return 0.01 if self in (EngineFrame.UNREAL, EngineFrame.UNREAL_ACTOR) else 1.0

    @property
    def joints(self) -> EngineFrame:
        """The frame whose basis local joint transforms use: component space for both Unreal frames."""
        return EngineFrame.UNREAL if self is EngineFrame.UNREAL_ACTOR else self

    @property
    def root_turn(self) -> Array:
        """(4,) the turn from `joints` to this frame, applied to the root joint from the left."""
        return from_axis_angle([0.0, 0.0, 1.0], -np.pi / 2) if self is EngineFrame.UNREAL_ACTOR else IDENTITY

    @classmethod
    def parse(cls, name: str) -> EngineFrame:
        """The frame called `name` (any case). Raises NotFound with the choices."""
        try:
            return cls(name.strip().lower())
        except ValueError:
            choices = ", ".join(frame.value for frame in cls)
            raise NotFound(f"unknown engine frame {name!r}; choose from {choices}") from None


_AXES: dict[EngineFrame, list[list[int]]] = {
    EngineFrame.GLTF: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    EngineFrame.UNITY: [[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
    EngineFrame.UNREAL: [[1, 0, 0], [0, 0, 1], [0, 1, 0]],
    EngineFrame.UNREAL_ACTOR: [[0, 0, 1], [-1, 0, 0], [0, 1, 0]],
    EngineFrame.BLENDER: [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
}


def positions_to_frame(positions_m: Array, frame: EngineFrame) -> Array:
    """Points (..., 3) in our axes and metres -> the frame's axes and unit."""
    moved: Array = positions_m @ frame.axes.T / frame.unit_m
    return moved


def positions_from_frame(positions: Array, frame: EngineFrame) -> Array:
    """Points (..., 3) in the frame's axes and unit -> our axes, metres."""
    moved: Array = positions @ frame.axes * frame.unit_m
    return moved


def rotations_to_frame(rotations: Array, frame: EngineFrame) -> Array:
    """Rotations (..., 4) about our axes -> the same rotations about the frame's axes."""
    turned: Array = rotations @ quaternion_basis(frame).T
    return turned


def rotations_from_frame(rotations: Array, frame: EngineFrame) -> Array:
    """Rotations (..., 4) about the frame's axes -> the same rotations about ours."""
    turned: Array = rotations @ quaternion_basis(frame)
    return turned


def quaternion_basis(frame: EngineFrame) -> Array:
    """(4, 4) matrix that takes an xyzw quaternion about our axes to the frame's."""
    basis = np.eye(4)
    basis[:3, :3] = round(float(np.linalg.det(frame.axes))) * frame.axes
    return basis


def locals_to_frame(local_rotations: Array, local_translations_m: Array, frame: EngineFrame) -> tuple[Array, Array]:
    """Local joint transforms of a whole skeleton, ours -> as the engine's bones hold them.

    Args:
        local_rotations: (..., J, 4) xyzw, joint 0 is the root.
        local_translations_m: (..., J, 3) metres.

    Returns:
        Rotations (..., J, 4) and translations (..., J, 3) in the frame's axes and unit.
    """
    rotations = rotations_to_frame(local_rotations, frame.joints)
    translations = positions_to_frame(local_translations_m, frame.joints)
    turn = frame.root_turn
    rotations[..., 0, :] = multiply(turn, rotations[..., 0, :])
    translations[..., 0, :] = rotate(turn, translations[..., 0, :])
    return rotations, translations


def locals_from_frame(local_rotations: Array, local_translations: Array, frame: EngineFrame) -> tuple[Array, Array]:
    """Inverse of `locals_to_frame`: (..., J, 4) and (..., J, 3) in the frame -> our axes, metres."""
    rotations, translations = np.array(local_rotations), np.array(local_translations)
    turn = inverse(frame.root_turn)
    rotations[..., 0, :] = multiply(turn, rotations[..., 0, :])
    translations[..., 0, :] = rotate(turn, translations[..., 0, :])
    return rotations_from_frame(rotations, frame.joints), positions_from_frame(translations, frame.joints)


def skeleton_from_frame(
    joint_names: Sequence[str],
    parents: Sequence[int] | Array,
    rest_translations: Sequence[Sequence[float]] | Array,
    rest_rotations: Sequence[Sequence[float]] | Array,
    frame: EngineFrame,
) -> Skeleton:
    """Takes a user's skeleton out of the engine's frame.

    Args:
        joint_names: J unique names.
        parents: J parent indices, parents before children, -1 for joint 0 only.
        rest_translations: (J, 3) relative to the parent, in the frame's axes and unit.
        rest_rotations: (J, 4) xyzw relative to the parent, in the frame's axes; unit to 1 %.
        frame: where those numbers live.

    Raises:
        IncompatibleSkeleton: ragged or wrong shapes, NaN, quaternions that are not unit, bad hierarchy.
    """
    try:
        translations = np.asarray(rest_translations, dtype=np.float64).reshape(-1, 3)
        rotations = np.asarray(rest_rotations, dtype=np.float64).reshape(-1, 4)
    except ValueError as error:
        raise IncompatibleSkeleton(
            f"the rest pose must be 3 translation and 4 rotation numbers per joint ({error})"
        ) from None
    if not len(translations) == len(rotations) == len(joint_names):
        raise IncompatibleSkeleton(
            f"{len(joint_names)} joint names, {len(translations)} rest translations and {len(rotations)} "
            "rest rotations; send one of each per joint"
        )
    if len(joint_names) == 0:
        return Skeleton.build((), (), np.zeros((0, 3)), np.zeros((0, 4)))
    return Skeleton.build(
        joint_names,
        parents,
        *reversed(locals_from_frame(_unit_rotations(rotations, joint_names), translations, frame)),
    )


def _unit_rotations(rotations: Array, joint_names: Sequence[str]) -> Array:
    norms = np.linalg.norm(rotations, axis=-1, keepdims=True)
    bad = np.flatnonzero(~(np.abs(norms[:, 0] - 1) < 0.01))
    if len(bad):
        raise IncompatibleSkeleton(
            f"the rest rotation of joint {joint_names[bad[0]]!r} has length {norms[bad[0], 0]:.3g}; "
            "send unit quaternions in the order x, y, z, w"
        )
    unit: Array = rotations / norms
    return unit
