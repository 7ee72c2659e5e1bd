"""The structs of `step.cpp` and `decoder.cpp` in `animoe/native/src`, field by field."""

from __future__ import annotations

import ctypes

import numpy as np

from animoe.native.keeper import Keeper
from animoe.rig.rotations import Array

FAMILY_COUNT = 4
MOST_KINDS = 3
_POINTER = ctypes.c_void_p


class LinearStruct(ctypes.Structure):
    _fields_ = [
        ("packed", _POINTER),
        ("scale", _POINTER),
        ("offset", _POINTER),
        ("bias", _POINTER),
        ("in_", ctypes.c_int32),
        ("out", ctypes.c_int32),
    ]


class LayerStruct(ctypes.Structure):
    _fields_ = [("input_norm", _POINTER), ("middle_norm", _POINTER), ("family", LinearStruct * FAMILY_COUNT)]


class AdapterStruct(ctypes.Structure):
    _fields_ = [
        ("down", _POINTER),
        ("up", _POINTER * MOST_KINDS),
        ("offset", _POINTER),
        ("worth", _POINTER),
        ("bytes", ctypes.c_int64),
    ]


class HeadsStruct(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in ("heads", "kv_heads", "dim", "capacity")]


class ModelStruct(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_int32)
            for name in (
                "layers",
                "width",
                "hidden",
                "groups",
                "codebook",
                "head_width",
                "rank",
                "emotions",
                "prompt_slots",
                "token_slot",
            )
        ),
        ("epsilon", ctypes.c_float),
        ("heads", HeadsStruct),
        *(
            (name, _POINTER)
            for name in (
                "layer",
                "final_norm",
                "slot",
                "left",
                "inferred",
                "code",
                "previous",
                "start",
                "middle",
                "out",
                "cosine",
                "sine",
            )
        ),
    ]


class BatchStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("characters", "tokens", "slots_per_character")),
        *(
            (name, _POINTER)
            for name in (
                "experts",
                "begins",
                "past",
                "caches",
                "expert",
                "share",
                "basis",
                "content",
                "emotion",
                "inferred",
                "slots",
                "lefts",
                "codes",
                "draws",
                "uniform",
                "temperature",
                "top_p",
                "found",
            )
        ),
    ]


class BlockStruct(ctypes.Structure):
    _fields_ = [
        ("norm_weight", _POINTER),
        ("norm_bias", _POINTER),
        ("convolution", LinearStruct),
        ("project", LinearStruct),
        ("dilation", ctypes.c_int32),
    ]


class DecoderStruct(ctypes.Structure):
    _fields_ = [
        *((n, ctypes.c_int32) for n in ("width", "blocks", "poses", "groups", "codebook", "levels")),
        *((n, _POINTER) for n in ("block", "lift", "lift_bias", "norm_weight", "norm_bias")),
        *((n, _POINTER) for n in ("out", "out_bias", "opening", "opening_bias")),
        *((n, ctypes.c_int32) for n in ("points", "opened")),
        *((n, _POINTER) for n in ("spline", "mean", "deviation", "velocities")),
    ]


class TokensStruct(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32), *((n, _POINTER) for n in ("codes", "before", "after", "features"))]


class LayerKeeper(Keeper):
    """Keeps layers too."""

    def linear(self, weight: Array, scale: Array, bias: Array | None = None) -> LinearStruct:
        """A layer from its integers (out, in) and scales (out,); what is no multiple of 16 outputs is filled up."""
        outputs, inputs = weight.shape
        padded = -outputs % 16
        weight, scale = np.pad(weight, ((0, padded), (0, 0))), np.pad(scale, (0, padded))
        return LinearStruct(
            self.bytes(_packed(weight)),
            self.floats(scale),
            self.ints(-128 * weight.astype(np.int32).sum(axis=1, dtype=np.int32)),
            None if bias is None else self.floats(np.pad(bias, (0, padded))),
            inputs,
            outputs + padded,
        )


def _packed(weight: Array) -> Array:
    """(out, in) int8 as `Linear` of products.h has it: blocks of 16 outputs, four together, then two, then one."""
    pieces, first = [], 0
    for wide in (64, 32, 16):
        count = (len(weight) - first) // wide
        piece = weight[first : first + count * wide].reshape(count, wide // 16, 16, weight.shape[1] // 4, 4)
        pieces.append(piece.transpose(0, 3, 1, 2, 4).ravel())
        first += count * wide
    return np.concatenate(pieces)
