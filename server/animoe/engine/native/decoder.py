"""NativeDecoder: the streaming decoder of a bundle in C++, one token of many characters at a time."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from animoe.bundle.manifest import bundle_file
from animoe.bundle.scenarios import read_weights
from animoe.engine.native.structs import BlockStruct, DecoderStruct, LayerKeeper, TokensStruct
from animoe.engine.native.weights import in_integers
from animoe.errors import BundleError
from animoe.motion.features import FEATURE_COUNT
from animoe.motion.root_codes import FRAMES_PER_TOKEN, ROOT_GROUPS, ROOT_LEVELS, root_table
from animoe.motion.spline import SPLINE
from animoe.native.keeper import addresses
from animoe.rig.rotations import Array

_POSES = FEATURE_COUNT - ROOT_GROUPS
_STATE_ROWS = 4
_LANES = 16


class NativeDecoder:
    """Decodes tokens as `decoder.onnx` does, in integers where it does not show.

    Args:
        library: `library.load_library()`.

    Raises:
        BundleError: damaged, or a tokenizer that the C++ decoder cannot run.
    """

    def __init__(self, library: ctypes.CDLL, folder: Path) -> None:
        config = json.loads(bundle_file(folder, "tokenizer.json").read_text(encoding="utf-8"))
        if config["quantiser"] != "fsq" or config["width"] % _LANES:
            raise BundleError("only tokenizers with finite scalar quantisation, of even widths, are decoded in C++")
        self._library, self._keep = library, LayerKeeper()
        self._weights = read_weights(bundle_file(folder, "tokenizer.safetensors"))
        self._dilations: list[int] = config["decoder_dilations"]
        self._rows = 2 * sum(self._dilations) + _STATE_ROWS
        self._width: int = config["width"]
        try:
            self._struct = self._model(config["levels"], config["pose_groups"])
        except KeyError as error:
            raise BundleError(f"tokenizer.safetensors lacks {error}; restore the bundle") from error

    def decode(self, codes: Array, before: Sequence[Array]) -> tuple[Array, list[Array]]:
        """Codes (R, G) int64 and the state (rows, width) before each -> features (R, 4, 140), the states after."""
        count = len(codes)
        codes = np.ascontiguousarray(codes, dtype=np.int64)
        after = [np.empty((self._rows, self._width), dtype=np.float32) for _ in range(count)]  # each for itself: one
        # character keeps its own, not those of a whole batch
        features = np.empty((count, FRAMES_PER_TOKEN, FEATURE_COUNT), dtype=np.float32)
        arrays = (codes, addresses(before), addresses(after), features)
        tokens = TokensStruct(count, *(array.ctypes.data for array in arrays))
        self._library.animoe_decode(ctypes.byref(self._struct), ctypes.byref(tokens))
        return features, after

    def _model(self, levels: Sequence[int], groups: int) -> DecoderStruct:
        keep = self._keep
        out, out_bias = self._padded("decoder.out")
        opening, opening_bias = self._padded("decoder.opening")
        return DecoderStruct(
            width=self._width,
            blocks=len(self._dilations),
            poses=_POSES,
            groups=groups,
            codebook=int(np.prod(levels)),
            levels=ROOT_LEVELS,
            block=keep.structs(BlockStruct, [self._block(i, dilation) for i, dilation in enumerate(self._dilations)]),
            lift=keep.floats(self._lift(levels, groups)),
            lift_bias=keep.floats(self._float("decoder.lift.bias")),
            norm_weight=keep.floats(self._float("decoder.norm.weight")),
            norm_bias=keep.floats(self._float("decoder.norm.bias")),
            out=keep.floats(out),
            out_bias=keep.floats(out_bias),
            opening=keep.floats(opening),
            opening_bias=keep.floats(opening_bias),
            points=out.shape[1],
            opened=opening.shape[1],
            spline=keep.floats(SPLINE),
            mean=keep.floats(self._float("decoder.mean")),
            deviation=keep.floats(self._float("decoder.std")),
            velocities=keep.floats(root_table()),
        )

    def _block(self, index: int, dilation: int) -> BlockStruct:
        prefix = f"decoder.stack.blocks.{index}"
        convolution, project = (
            self._keep.linear(*in_integers(self._float(f"{name}.weight")), self._float(f"{name}.bias"))
            for name in (f"{prefix}.conv.linear", f"{prefix}.project")
        )
        norms = (self._keep.floats(self._float(f"{prefix}.norm.{part}")) for part in ("weight", "bias"))
        return BlockStruct(*norms, convolution, project, dilation)

    def _lift(self, levels: Sequence[int], groups: int) -> Array:
        """(groups, codebook, width): what each code of each group adds to the first layer."""
        digits = fsq_latents(levels)  # (codebook, len(levels))
        weight = self._float("decoder.lift.weight").reshape(self._width, groups, len(levels))
        found: Array = np.einsum("cd,wgd->gcw", digits, weight)
        return found

    def _padded(self, name: str) -> tuple[Array, Array]:
        """(in, out) and (out,) of a layer, filled up to a multiple of 16 outputs."""
        weight, bias = self._float(f"{name}.weight"), self._float(f"{name}.bias")
        more = -len(weight) % _LANES
        return np.pad(weight, ((0, more), (0, 0))).T, np.pad(bias, (0, more))

    def _float(self, name: str) -> Array:
        found: Array = self._weights[name].astype(np.float32)
        return found


def fsq_latents(levels: Sequence[int]) -> Array:
    """(codebook, len(levels)) what each code stands for (`models.quantiser.FiniteScalarQuantiser.lookup`)."""
    sizes = np.array(levels)
    width = np.floor((sizes - 1) * (1 + 1e-3) / 2 + 0.5)
    basis = np.cumprod([1, *levels[:-1]])
    digits = np.arange(int(np.prod(levels)))[:, None] // basis % sizes
    found: Array = ((digits - width) / width).astype(np.float32)
    return found
