"""A bundle's generator and its experts as the C++ step takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from animoe.engine.native.structs import (
    FAMILY_COUNT,
    AdapterStruct,
    HeadsStruct,
    LayerKeeper,
    LayerStruct,
    LinearStruct,
    ModelStruct,
)
from animoe.errors import BundleError
from animoe.models.sequence import FAMILIES, PROMPT_SLOTS, SLOT_TOKEN
from animoe.rig.rotations import Array

_LEVELS = np.float32(127.0)
_LANES = 16
_MOST_RANK, _EIGHT = 64, 8
"""As in experts.h."""


@dataclass(frozen=True)
class Shape:
    """Of a generator; `capacity` positions per cache, a multiple of 16.

    Raises:
        BundleError: the C++ step cannot run it.
    """

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    groups: int
    codebook: int
    rank: int
    epsilon: float
    theta: float
    capacity: int

    def __post_init__(self) -> None:
        uneven = [n for n in (self.width, self.hidden, self.head_dim, self.codebook, self.capacity) if n % _LANES]
        if uneven:
            raise BundleError(f"widths of {uneven} are no multiples of {_LANES}")
        if self.rank > _MOST_RANK:
            raise BundleError(f"experts of rank {self.rank}: C++ takes at most {_MOST_RANK}")

    @property
    def even_rank(self) -> int:
        """The rank that C++ works with."""
        return -(-self.rank // _EIGHT) * _EIGHT

    @property
    def cache_bytes(self) -> int:
        """Of one character: keys and values as bytes, with a scale for each head and position."""
        return self.layers * 2 * self.kv_heads * self.capacity * (self.head_dim + 4)

    @staticmethod
    def of(config: Mapping[str, Any], rank: int, positions: int) -> Shape:
        """From `motion_lm.json`, for caches of so many positions."""
        backbone = config["backbone"]
        rope = backbone.get("rope_parameters") or {}
        return Shape(
            layers=backbone["num_hidden_layers"],
            width=backbone["hidden_size"],
            hidden=backbone["intermediate_size"],
            heads=backbone["num_attention_heads"],
            kv_heads=backbone["num_key_value_heads"],
            head_dim=backbone.get("head_dim") or backbone["hidden_size"] // backbone["num_attention_heads"],
            groups=config["groups"],
            codebook=config["codebook_size"],
            rank=rank,
            epsilon=backbone["rms_norm_eps"],
            theta=float(rope.get("rope_theta", backbone.get("rope_theta", 10000.0))),
            capacity=-(-positions // _LANES) * _LANES,
        )


class NativeModel:
    """Owns what `struct` points to.

    Args:
        weights: of `motion_lm.safetensors`.
    """

    def __init__(self, weights: Mapping[str, Array], shape: Shape) -> None:
        self._weights, self._keep, self._shape = weights, LayerKeeper(), shape
        try:
            self.struct = self._model()
        except KeyError as error:
            raise BundleError(f"motion_lm.safetensors lacks {error}; restore the bundle") from error

    def _model(self) -> ModelStruct:
        keep, shape, groups = self._keep, self._shape, range(self._shape.groups)
        position = np.arange(shape.capacity)[:, None]
        angle = position * shape.theta ** (-np.arange(0, shape.head_dim, 2) / shape.head_dim)
        start = self._linear([f"heads.start.{group}" for group in groups])
        found = ModelStruct(
            layers=shape.layers,
            width=shape.width,
            hidden=shape.hidden,
            groups=shape.groups,
            codebook=shape.codebook,
            head_width=start.out // shape.groups,
            rank=shape.even_rank,
            emotions=self._weights["emotion.weight"].shape[1],
            prompt_slots=PROMPT_SLOTS,
            token_slot=SLOT_TOKEN,
            epsilon=shape.epsilon,
            heads=HeadsStruct(shape.heads, shape.kv_heads, shape.head_dim, shape.capacity),
            layer=keep.structs(LayerStruct, [self._layer(index) for index in range(shape.layers)]),
            final_norm=keep.floats(self._float("backbone.norm.weight")),
            slot=keep.floats(self._float("slot.weight")),
            left=keep.floats(self._float("left.weight")),
            inferred=keep.floats(self._float("inferred")),
            code=keep.floats(np.stack([self._float(f"code.{group}.weight") for group in groups])),
            previous=keep.floats(np.stack([self._float(f"heads.previous.{group}.weight") for group in groups[:-1]])),
            start=keep.structs(LinearStruct, [start]),
            middle=keep.structs(LinearStruct, [self._linear([f"heads.middle.{group}"]) for group in groups]),
            out=keep.structs(LinearStruct, [self._linear([f"heads.out.{group}"]) for group in groups]),
            cosine=keep.floats(np.cos(angle)),
            sine=keep.floats(np.sin(angle)),
        )
        return found

    def _layer(self, index: int) -> LayerStruct:
        prefix = f"backbone.layers.{index}"
        families = [self._linear([f"{prefix}.{_part(kind)}" for kind in kinds]) for kinds in FAMILIES.values()]
        return LayerStruct(
            self._keep.floats(self._float(f"{prefix}.input_layernorm.weight")),
            self._keep.floats(self._float(f"{prefix}.post_attention_layernorm.weight")),
            (LinearStruct * FAMILY_COUNT)(*families),
        )

    def _linear(self, names: list[str]) -> LinearStruct:
        """Layers side by side, in integers with one scale per output (as `bundle.int8` has them)."""
        weight = np.concatenate([self._float(f"{name}.weight") for name in names])
        integers, scale = in_integers(weight)
        biased = f"{names[0]}.bias" in self._weights
        bias = np.concatenate([self._float(f"{name}.bias") for name in names]) if biased else None
        return self._keep.linear(integers, scale, bias)

    def _float(self, name: str) -> Array:
        found: Array = self._weights[name].astype(np.float32)
        return found


class NativeExpert:
    """One quantised expert (`bundle.stacks.quantised`) as `address` of (layers, families) adapters."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._keep = LayerKeeper()
        layers = len(arrays["q_proj_down"])
        parts = [_adapter_parts(arrays, layer, kinds) for layer in range(layers) for kinds in FAMILIES.values()]
        # In one stretch, in the order of use: with many experts memory is what takes the time.
        places = iter(self._keep.together([array for part in parts for array in part]))
        adapters = [self._adapter(part, [next(places) for _ in part]) for part in parts]
        self.address = self._keep.structs(AdapterStruct, adapters)

    def _adapter(self, parts: Sequence[Array], places: Sequence[int]) -> AdapterStruct:
        down, *up, offset, worth = places
        found = AdapterStruct(down=down, offset=offset, worth=worth, bytes=worth + parts[-1].nbytes - down)
        found.up[: len(up)] = up
        return found


def _adapter_parts(arrays: Mapping[str, Array], layer: int, kinds: tuple[str, ...]) -> list[Array]:
    """What an `Adapter` of experts.h points to, in its order; ranks are filled up to eights."""
    down = np.concatenate([_evened(arrays[f"{kind}_down"][layer]) for kind in kinds])
    eights, inputs = len(down) // _EIGHT, down.shape[1]
    packed = down.reshape(eights, _EIGHT, inputs // _EIGHT, _EIGHT).transpose(0, 2, 1, 3)
    worth = np.concatenate([_evened(arrays[f"{kind}_scale"][layer]) for kind in kinds])
    return [
        np.ascontiguousarray(packed),
        *(_risen(_evened(arrays[f"{kind}_up"][layer])) for kind in kinds),
        -128 * down.sum(axis=1, dtype=np.int32),
        worth.astype(np.float32),
    ]


def _evened(rows: Array) -> Array:
    """(rank, ...) with zeros up to the next eight."""
    return np.pad(rows, [(0, -len(rows) % _EIGHT), *[(0, 0)] * (rows.ndim - 1)])


def _risen(up: Array) -> Array:
    """(rank, out) int8 -> (out / 16, rank / 4, 16, 4) uint8, each 128 more."""
    rank, outputs = up.shape
    blocks = up.reshape(rank // 4, 4, outputs // _LANES, _LANES).transpose(2, 0, 3, 1)
    return (blocks.astype(np.int16) + 128).astype(np.uint8)


def in_integers(weight: Array) -> tuple[Array, Array]:
    """(out, in) float32 -> int8 of that shape and a scale per output, as `bundle.int8` has them."""
    scale = np.maximum(np.abs(weight).max(axis=1), np.float32(1e-9)) / _LEVELS
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def _part(kind: str) -> str:
    return f"mlp.{kind}" if kind in ("gate_proj", "up_proj", "down_proj") else f"self_attn.{kind}"
