"""Experts side by side, as the exported decode step takes them: one wide matrix per family of layers.

All experts act on every row, and each row's gate weights say how much of which counts. That costs little (rank 8 each,
integers) and keeps a row's result apart from who shares its batch, which gathering the experts of a batch would not.

With r the rank, N experts and c layers in a family, for each layer l of the generator (names: `sequence.FAMILIES`):
    FAMILY_in_l     (in, c * N * r)   A of all experts
    FAMILY_scale_l  (c, N * r)        what a unit of the low-rank values is worth: 1, or of the integers below
    KIND_out_l      (N * r, out)      B of all experts
An int8 step takes A and B as integers, each row of an expert with its own scale, so that experts do not touch each
other: adding one changes nothing for those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from animoe.models.sequence import FAMILIES
from animoe.rig.rotations import Array

_LEVELS = np.float32(127.0)


def split_experts(stacks: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Stacks (N, L, r, width) of N experts -> one mapping each: KIND_down (L, r, in), KIND_up (L, r, out)."""
    count = len(next(iter(stacks.values())))
    return [{name: stack[row] for name, stack in stacks.items()} for row in range(count)]


def quantised(expert: Mapping[str, Array]) -> dict[str, Array]:
    """An expert in int8, with KIND_scale (L, r) beside it: the product of the scales of its rows of A and B."""
    found: dict[str, Array] = {}
    for kind in (kind for kinds in FAMILIES.values() for kind in kinds):
        down, down_scale = _to_integers(expert[f"{kind}_down"])
        up, up_scale = _to_integers(expert[f"{kind}_up"])
        found |= {f"{kind}_down": down, f"{kind}_up": up, f"{kind}_scale": down_scale * up_scale}
    return found


def lay_out(experts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Experts, all plain or all `quantised`, as inputs of the step. At least one."""
    layers, rank = experts[0]["q_proj_down"].shape[:2]
    found: dict[str, Array] = {}
    for layer in range(layers):
        for family, kinds in FAMILIES.items():
            wide = [np.concatenate([expert[f"{kind}_down"][layer] for expert in experts]) for kind in kinds]
            found[f"{family}_in_{layer}"] = np.ascontiguousarray(np.concatenate(wide).T)
            found[f"{family}_scale_{layer}"] = np.stack([_scales(experts, kind, layer, rank) for kind in kinds])
            for kind in kinds:
                found[f"{kind}_out_{layer}"] = np.concatenate([expert[f"{kind}_up"][layer] for expert in experts])
    return found


def _scales(experts: Sequence[Mapping[str, Array]], kind: str, layer: int, rank: int) -> Array:
    """(N * r,)."""
    ones = np.ones(rank, dtype=np.float32)
    return np.concatenate([expert[f"{kind}_scale"][layer] if f"{kind}_scale" in expert else ones for expert in experts])


def _to_integers(rows: Array) -> tuple[Array, Array]:
    """(L, r, width) float32 -> int8 of that shape and scales (L, r), 0 for rows of zeros."""
    scale = np.abs(rows).max(axis=-1) / _LEVELS
    integers = np.rint(rows / np.where(scale > 0, scale, 1)[..., None])
    return integers.astype(np.int8), scale.astype(np.float32)
