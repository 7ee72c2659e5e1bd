"""Retargeting of many frames at a time in numpy: runs everywhere, and is what the C++ is tested against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from animoe.retarget.plan import PELVIS, Plan
from animoe.retarget.planting import Stance
from animoe.retarget.quadratic import fast_multiply, fast_rotate, power, rotated_constant, squares
from animoe.retarget.root_motion import yaw_turns
from animoe.retarget.two_bone import conjugate
from animoe.rig.rotations import IDENTITY, Array


class Frames(NamedTuple):
    """N frames of canonical motion: local rotations (N, 22, 4), pelvis (N, 3), contacts (N, 4), headings (N,)."""

    local: Array
    root: Array
    contacts: Array
    headings: Array


class Solved(NamedTuple):
    """N frames on a rig: rotations (N, J, 4), translations (N, K, 3), places (N, 3) and turns (N, 4) of the way."""

    rotations: Array
    translations: Array
    places: Array
    turns: Array


class PortableSolver:
    """Retargets with a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._hip_centre = rotated_constant(plan.hip_centre)
        self._arms = np.stack([rotated_constant(arm) for arm in plan.arms])
        self._compile_products()

    def start(self) -> Stance | None:
        """What must be remembered of a new character; None without a foot lock."""
        return None if self._plan.planting is None else self._plan.planting.start()

    def solve(self, frames: Frames, stances: Sequence[Stance]) -> Solved:
        """C characters, as many frames of each, one after another.

        Args:
            stances: of the C characters, moved on; unused without a foot lock.
        """
        plan, (local, root, contacts, headings) = self._plan, frames
        turns = plan.feet.turns(local)
        hips = root + squares(local[:, PELVIS]) @ self._hip_centre
        centres = hips * plan.ratio
        centres[:, 1] = plan.feet.hip_heights(turns, hips[:, 1])
        way = root * [plan.ratio, 0.0, plan.ratio]
        if plan.planting is not None and len(local):
            local, centres, path = plan.planting.apply(local, turns, centres, contacts, stances)
            way[:, [0, 2]] += path
        yaws = yaw_turns(headings)
        if not plan.world:
            back = conjugate(yaws)
            local = local.copy()
            local[:, PELVIS] = fast_multiply(back, local[:, PELVIS])
            centres = fast_rotate(back, centres - way)
        rotations, translations = self._rotations(local), self._translations(local, centres)
        if plan.root_bone:
            rotations[:, 0], first = plan.way.root_joint(way, yaws)
            translations = np.concatenate([first[:, None], translations], axis=1)
        return Solved(rotations, translations, *plan.way.in_frame(way, yaws))

    def _compile_products(self) -> None:
        """Numbers the distinct powers; `_steps` multiply further factors onto the rows that have them."""
        products = self._plan.products
        distinct = sorted({factor for product in products for factor in product}, key=lambda f: (f[1] != 1.0, f))
        number = {factor: i for i, factor in enumerate(distinct)}
        nothing = len(distinct)
        self._sources = np.array([joint for joint, _ in distinct])
        self._plain = sum(weight == 1.0 for _, weight in distinct)
        self._exponents = np.array([weight for _, weight in distinct[self._plain :]])
        self._first = np.array([number[p[0]] if p else nothing for p in products])
        self._steps = []
        for k in range(1, max((len(p) for p in products), default=0)):
            rows = [row for row, p in enumerate(products) if len(p) > k]
            self._steps.append((np.array(rows), np.array([number[products[row][k]] for row in rows])))

    def _rotations(self, local: Array) -> Array:
        """(N, J, 4) rig local rotations in the frame, from canonical (N, 22, 4)."""
        plan = self._plan
        factors = np.empty((len(local), len(self._sources) + 1, 4))
        factors[:, :-1] = local[:, self._sources]
        factors[:, -1] = IDENTITY
        if len(self._exponents):
            factors[:, self._plain : -1] = power(factors[:, self._plain : -1], self._exponents)
        turns = factors[:, self._first]
        for rows, column in self._steps:
            turns[:, rows] = fast_multiply(turns[:, rows], factors[:, column])
        rotations = np.empty((len(local), *plan.rest_rotations.shape))
        rotations[:] = plan.rest_rotations
        rotations[:, plan.driven] = np.matmul(plan.outer, turns[..., None])[..., 0]
        if len(plan.twist.joints):
            plan.twist.apply(rotations)
        return rotations

    def _translations(self, local: Array, centres: Array) -> Array:
        """(N, K, 3) local translations of the joints that start a driven chain, in the frame and its unit.

        Args:
            centres: (N, 3) hip centre of the rig, metres.
        """
        pelvis = squares(local[:, PELVIS])
        world = centres[:, None] + (pelvis[:, None, None] @ self._arms)[:, :, 0]
        translations: Array = np.matmul(self._plan.into, world[..., None])[..., 0] + self._plan.base
        return translations
