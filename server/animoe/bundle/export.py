"""Torch models -> ONNX graphs of a bundle. Weights are stored in half precision and widened when a session opens.

The graphs hold no weights: ONNX external data points into `motion_lm.safetensors` and `tokenizer.safetensors`, so that
training and serving share one file each. `onnx.save(onnx.load(path), other)` makes a graph that stands alone. Needs
torch and onnx.
"""

from __future__ import annotations

import contextlib
import json
import logging
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from animoe.models.decode_step import INPUT_NAMES, OUTPUT_NAMES, DecodeStep, stack_experts
from animoe.models.motion_lm import MotionLM
from animoe.models.samoe import SAMoEConfig, silent_expert
from animoe.models.sequence import EXPERT_INPUTS, PROMPT_SLOTS, SLOT_TOKEN
from animoe.models.tokenizer import Tokenizer
from animoe.motion.emotion import EMOTIONS

_LARGE = 256  # elements; smaller constants stay as they are


class _StreamingDecoder(nn.Module):
    """Codes (B, N, G) and state -> features (B, 4N, 140) and next state."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, codes: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.tokenizer.decode(codes, state)


def export_decoder(tokenizer: Tokenizer, weights: Path, path: Path) -> None:
    """Writes the streaming decoder: inputs `codes`, `state`; outputs `features`, `next_state`.

    Args:
        weights: the bundle's `tokenizer.safetensors` (half precision) beside it.
    """
    codes = torch.zeros(2, 3, tokenizer.config.groups, dtype=torch.long)
    state = tokenizer.decoder.initial_state(2)
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    model = _export(
        _StreamingDecoder(tokenizer.eval()),
        (codes, state),
        ["codes", "state"],
        ["features", "next_state"],
        {"codes": {0: batch, 1: tokens}, "state": {0: batch}},
    )
    _point_into(model, weights)
    onnx.save(model, str(path))


def export_motion_lm(lm: MotionLM, weights: Path, path: Path) -> None:
    """Writes one decode step; `weights` is the bundle's safetensors file (half precision) beside it."""
    step = DecodeStep(lm.eval())
    batch, new, past, used, stored = (torch.export.Dim(name) for name in ("batch", "new", "past", "used", "stored"))
    example = example_inputs(step, batch=2, new=3, past=5)
    axes: dict[str, dict[int, Any]] = {name: {0: batch} for name in INPUT_NAMES}
    for name in ("slots", "codes", "emotion", "inferred", "left", "positions"):
        axes[name][1] = new
    axes["past"][3] = past
    axes["past_mask"][1] = past
    for name in ("expert_ids", "expert_weights"):
        axes[name][1] = used
    for name in EXPERT_INPUTS:
        axes[name] = {0: stored}
    shapes: dict[str, Any] = {name: axes[name] for name in INPUT_NAMES if name not in EXPERT_INPUTS}
    shapes["stacks"] = tuple(axes[name] for name in EXPERT_INPUTS)  # one argument, many inputs
    model = _export(step, tuple(example.values()), list(INPUT_NAMES), list(OUTPUT_NAMES), axes, shapes)
    _point_into(model, weights)
    onnx.save(model, str(path))


def example_inputs(step: DecodeStep, *, batch: int, new: int, past: int) -> dict[str, Tensor]:
    """Well-formed inputs of a decode step, in the order of INPUT_NAMES."""
    config, planner = step.lm.config, step.lm.planner
    rank = (planner.config.samoe if planner is not None else SAMoEConfig()).rank
    positions = past + torch.arange(new).repeat(batch, 1)
    return {
        "sentence": torch.randn(batch, config.sentence_dim),
        "shift": torch.randn(batch, PROMPT_SLOTS, step.lm.width),
        "basis": torch.randn(batch, len(EMOTIONS), step.lm.width),
        "expert_ids": torch.arange(2).repeat(batch, 1),
        "expert_weights": torch.rand(batch, 2),
        "slots": torch.full((batch, new), SLOT_TOKEN),
        "codes": torch.randint(config.codebook_size, (batch, new, config.groups)),
        "emotion": torch.rand(batch, new, len(EMOTIONS)),
        "inferred": torch.zeros(batch, new),
        "left": torch.arange(new).repeat(batch, 1),
        "positions": positions,
        "past": torch.randn(batch, step.layers, 2, past, step.kv_heads, step.head_dim),
        "past_mask": torch.ones(batch, past),
        "uniform": torch.rand(batch, config.groups),
        "temperature": torch.ones(batch),
        "top_p": torch.full((batch,), 0.95),
        **dict(
            zip(EXPERT_INPUTS, stack_experts([silent_expert(step.lm.backbone, rank)] * 3, step.layers), strict=True)
        ),
    }


def _export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    axes: dict[str, Any],
    shapes: dict[str, Any] | None = None,
) -> onnx.ModelProto:
    """`axes`: free axes by input name. `shapes`: the same by argument name, when arguments are not the inputs."""
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module,
            example,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes or axes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _check_free_axes(model, axes)
    _drop_notes(model)
    return model


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keeps torch's ONNX exporter from filling the console with notes about itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            yield
    finally:
        logging.disable(before)


def _drop_notes(model: onnx.ModelProto) -> None:
    """The exporter's stack traces and shape notes are nine tenths of a graph without weights."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for noted in (model, model.graph):
        noted.ClearField("metadata_props")
    del model.graph.value_info[:]


def _check_free_axes(model: onnx.ModelProto, axes: dict[str, Any]) -> None:
    """The exporter silently fixes an axis whose size the traced code turned into a plain number."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        fixed = [axis for axis in axes.get(value.name, {}) if not dims[axis].dim_param]
        if fixed:
            raise RuntimeError(f"the export fixed axes {fixed} of {value.name!r}: traced code uses a size as a number")


def _large_floats(model: onnx.ModelProto) -> list[TensorProto]:
    return [
        t
        for t in model.graph.initializer
        if t.data_type == TensorProto.FLOAT and int(np.prod(t.dims, dtype=np.int64)) >= _LARGE
    ]


def _widen(name: str, *, transposed: bool = False) -> list[onnx.NodeProto]:
    """Nodes that turn the half-precision tensor `name__half` into float `name`; ONNX Runtime folds them at start."""
    if not transposed:
        return [helper.make_node("Cast", [f"{name}__half"], [name], to=TensorProto.FLOAT)]
    return [
        helper.make_node("Cast", [f"{name}__half"], [f"{name}__wide"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", [f"{name}__wide"], [name], perm=[1, 0]),
    ]


def _replace(model: onnx.ModelProto, replacements: dict[str, TensorProto], nodes: list[onnx.NodeProto]) -> None:
    kept = [replacements.get(t.name, t) for t in model.graph.initializer]
    graph_nodes = [*nodes, *model.graph.node]
    del model.graph.initializer[:]
    del model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(graph_nodes)


def _point_into(model: onnx.ModelProto, weights: Path) -> None:
    """Replaces large float constants by references into a half-precision safetensors file.

    Constants that half precision does not hold exactly (statistics, the root's scale) stay in the graph.

    Raises:
        RuntimeError: a weight of the graph is not in the file (the file belongs to another model).
    """
    stored = _safetensors_index(weights)
    replacements, nodes = {}, []
    for tensor in _large_floats(model):
        exact = numpy_helper.to_array(tensor)
        half = exact.astype(np.float16)
        if not np.array_equal(half, exact):
            continue
        place = stored.get(half.tobytes())
        transposed = place is None and half.ndim == 2
        if transposed:
            place = stored.get(np.ascontiguousarray(half.T).tobytes())
        if place is None:
            raise RuntimeError(f"weight {tensor.name} {tuple(tensor.dims)} is not in {weights}")
        dims = list(tensor.dims)[::-1] if transposed else list(tensor.dims)
        replacements[tensor.name] = _external(f"{tensor.name}__half", dims, weights.name, *place)
        nodes += _widen(tensor.name, transposed=transposed)
    _replace(model, replacements, nodes)


def _external(name: str, dims: list[int], location: str, offset: int, length: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _safetensors_index(path: Path) -> dict[bytes, tuple[int, int]]:
    """Raw bytes of every tensor -> (offset in the file, length). Format: u64 header size, JSON header, data."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    index = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (8 + size + offset for offset in entry["data_offsets"])
            index[data[start:end]] = (start, end - start)
    return index
