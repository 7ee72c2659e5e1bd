"""Skeleton: joint names, parents and a rest pose given as local transforms."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from animoe.errors import IncompatibleSkeleton
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import IDENTITY, Array


@dataclass(frozen=True, eq=False)
class Skeleton:
    """J joints, parents before children, joint 0 is the root.

    Attributes:
        joint_names: J unique names.
        parents: (J,) index of each joint's parent; -1 for the root only.
        rest_translations: (J, 3) metres, relative to the parent, in the parent's frame.
        rest_rotations: (J, 4) unit quaternions xyzw, relative to the parent. Not identity on Unreal, Maya or
            Blender rigs: a local rotation of a clip *replaces* the rest rotation.

    Raises:
        IncompatibleSkeleton: wrong shapes, duplicate names, a child before its parent, NaN.
    """

    joint_names: tuple[str, ...]
    parents: Array
    rest_translations: Array
    rest_rotations: Array

    def __post_init__(self) -> None:
        count = len(self.joint_names)
        if count == 0:
            raise IncompatibleSkeleton("the skeleton has no joints; send at least a root, legs and a head")
        if len(set(self.joint_names)) != count:
            twice = sorted({n for n in self.joint_names if self.joint_names.count(n) > 1})
            raise IncompatibleSkeleton(f"joint names must be unique; these occur twice: {', '.join(twice[:5])}")
        shapes = (self.parents.shape, self.rest_translations.shape, self.rest_rotations.shape)
        if shapes != ((count,), (count, 3), (count, 4)):
            raise IncompatibleSkeleton(
                f"{count} joint names need parents ({count},), rest translations ({count}, 3) and rest rotations "
                f"({count}, 4); got {shapes}"
            )
        if self.parents[0] != -1:
            raise IncompatibleSkeleton("joint 0 must be the root, with parent -1")
        bad = [i for i in range(1, count) if not 0 <= self.parents[i] < i]
        if bad:
            raise IncompatibleSkeleton(
                f"joint {self.joint_names[bad[0]]!r} has parent {int(self.parents[bad[0]])}: list parents before "
                "their children, with one root"
            )
        if not (np.isfinite(self.rest_translations).all() and np.isfinite(self.rest_rotations).all()):
            raise IncompatibleSkeleton("the rest pose holds NaN or infinite numbers; re-export the skeleton")

    @classmethod
    def build(
        cls,
        joint_names: Sequence[str],
        parents: Sequence[int] | Array,
        rest_translations: Sequence[Sequence[float]] | Array,
        rest_rotations: Sequence[Sequence[float]] | Array | None = None,
    ) -> Skeleton:
        """Makes a skeleton from plain sequences; rest rotations default to identity."""
        if rest_rotations is None:
            rest_rotations = np.tile(IDENTITY, (len(joint_names), 1))
        return cls(
            tuple(joint_names),
            np.asarray(parents, dtype=np.int64),
            np.asarray(rest_translations, dtype=np.float64),
            np.asarray(rest_rotations, dtype=np.float64),
        )

    @property
    def joint_count(self) -> int:
        return len(self.joint_names)

    @cached_property
    def index(self) -> dict[str, int]:
        """Joint name -> joint index."""
        return {name: i for i, name in enumerate(self.joint_names)}

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """For each joint, the indices of its children."""
        lists: list[list[int]] = [[] for _ in self.joint_names]
        for joint, parent in enumerate(self.parents[1:], start=1):
            lists[parent].append(joint)
        return tuple(tuple(c) for c in lists)

    @cached_property
    def rest_model(self) -> tuple[Array, Array]:
        """Rest pose in model space: rotations (J, 4) and positions (J, 3) in metres."""
        return local_to_model(self.rest_rotations, self.rest_translations, self.parents)

    @cached_property
    def digest(self) -> str:
        """Short hash of names, hierarchy and rest pose: the rig's identity on the wire."""
        h = hashlib.sha256("\n".join(self.joint_names).encode())
        h.update(self.parents.astype("<i4").tobytes())
        h.update(np.round(self.rest_translations, 6).astype("<f4").tobytes())
        h.update(np.round(self.rest_rotations, 6).astype("<f4").tobytes())
        return h.hexdigest()[:16]
