"""Retargeting in C++: what a crowd's frames cost in numpy is its calls, thirty times the arithmetic."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from animoe.native.keeper import Keeper, addresses
from animoe.retarget.feet import LEGS
from animoe.retarget.plan import Plan
from animoe.retarget.portable import Frames, Solved
from animoe.rig.rotations import Array

_STANCE = 36
"""Doubles of `Stance` in foot_lock.h: two feet of 17 and a path of 2."""
_POINTER = ctypes.c_void_p


class _Rig(ctypes.Structure):
    """`Rig` of retarget.cpp."""

    _fields_ = [
        *(
            (name, ctypes.c_int32)
            for name in ("joints", "driven", "translated", "twists", "planted", "world", "root_bone")
        ),
        *((name, _POINTER) for name in ("begins", "source", "exponent", "joint", "outer", "rest")),
        *((f"twist_{name}", _POINTER) for name in ("joint", "source", "axis", "share", "before", "after", "rest")),
        *((name, _POINTER) for name in ("hip_centre", "arms", "into", "base", "legs", "own_bones", "bones")),
        *((name, _POINTER) for name in ("rest_heights", "reach", "place", "heading")),
        *((f"root_{name}", _POINTER) for name in ("turn", "place", "into", "rest")),
        *((name, ctypes.c_double) for name in ("ratio", "leg_m", "farthest_m", "follow")),
    ]


class _Motion(ctypes.Structure):
    """`Motion` of retarget.cpp."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("blocks", "frames")),
        *((name, _POINTER) for name in ("local", "root", "contacts", "headings", "stances")),
        *((name, _POINTER) for name in ("rotations", "translations", "places", "turns")),
    ]


class NativeSolver:
    """Retargets with a plan, as `PortableSolver` does to within rounding. A character's frames are the same whoever
    shares the call.

    Args:
        library: `native.library.load_library()`.
    """

    def __init__(self, plan: Plan, library: ctypes.CDLL) -> None:
        self._plan, self._library, self._keep = plan, library, Keeper()
        self._translated = len(plan.started) + plan.root_bone
        self._rig = self._compiled()

    def start(self) -> Array | None:
        """What must be remembered of a new character; None without a foot lock."""
        return None if self._plan.planting is None else np.zeros(_STANCE)

    def solve(self, frames: Frames, stances: Sequence[Array]) -> Solved:
        """As `PortableSolver.solve`."""
        count = len(frames.local)
        blocks = max(len(stances), 1)
        given = [np.ascontiguousarray(part, dtype=np.float64) for part in frames]
        found = Solved(
            np.empty((count, *self._plan.rest_rotations.shape)),
            np.empty((count, self._translated, 3)),
            np.empty((count, 3)),
            np.empty((count, 4)),
        )
        arrays = [*given, addresses(stances), *found]
        motion = _Motion(blocks, count // blocks, *(array.ctypes.data for array in arrays))
        self._library.animoe_retarget(ctypes.byref(self._rig), ctypes.byref(motion))
        return found

    def _compiled(self) -> _Rig:
        plan, keep = self._plan, self._keep
        factors = [factor for product in plan.products for factor in product]
        feet, planting, twist = plan.feet, plan.planting, plan.twist
        return _Rig(
            joints=len(plan.rest_rotations),
            driven=len(plan.driven),
            translated=len(plan.started),
            twists=len(twist.joints),
            planted=planting is not None,
            world=plan.world,
            root_bone=plan.root_bone,
            begins=keep.ints(np.cumsum([0, *map(len, plan.products)])),
            source=keep.ints([joint for joint, _ in factors]),
            exponent=keep.doubles(np.array([weight for _, weight in factors])),
            joint=keep.ints(plan.driven),
            outer=keep.doubles(plan.outer),
            rest=keep.doubles(plan.rest_rotations),
            twist_joint=keep.ints(twist.joints),
            twist_source=keep.ints(twist.sources),
            twist_axis=keep.doubles(twist.axes),
            twist_share=keep.doubles(twist.shares),
            twist_before=keep.doubles(twist.before),
            twist_after=keep.doubles(twist.after),
            twist_rest=keep.doubles(twist.rest),
            hip_centre=keep.doubles(plan.hip_centre),
            arms=keep.doubles(plan.arms),
            into=keep.doubles(plan.into),
            base=keep.doubles(plan.base),
            legs=keep.ints(LEGS[:3]),
            own_bones=keep.doubles(feet.own_bones),
            bones=keep.doubles(feet.bones),
            rest_heights=keep.doubles(feet.rest_heights),
            reach=None if planting is None else keep.doubles(planting.reach),
            place=keep.doubles(plan.way.place.T),  # that one acts on rows
            heading=keep.doubles(plan.way.heading.T),
            root_turn=keep.doubles(plan.way.joint_turn.T),
            root_place=keep.doubles(plan.way.joint_place.T),
            root_into=keep.doubles(plan.way.joint_into),
            root_rest=keep.doubles(plan.way.joint_rest),
            ratio=plan.ratio,
            leg_m=0.0 if planting is None else planting.leg_m,
            farthest_m=0.0 if planting is None else planting.farthest_m,
            follow=0.0 if planting is None else planting.follow,
        )
