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

from animoe.bundle.int8 import use_integers
from animoe.bundle.stacks import lay_out, split_experts
from animoe.models.decode_names import FEED_NAMES, OUTPUT_NAMES, input_names
from animoe.models.decode_step import DecodeStep, check_exportable, stack_experts
from animoe.models.motion_lm import MotionLM
from animoe.models.samoe import silent_expert
from animoe.models.sequence import EXPERT_INPUTS, FAMILIES, SLOT_TOKEN
from animoe.models.tokenizer import Tokenizer

_OPSET = 23  # rotary embedding and RMS norm are one node each
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


def export_motion_lm(lm: MotionLM, weights: Path, path: Path, *, integers: bool = True) -> None:
    """Writes one decode step.

    Args:
        weights: the bundle's safetensors file of the generator (half precision) beside it.
        integers: matrix products in int8 (`bundle.int8`); else in float32.

    Raises:
        InvalidRequest: the backbone is of another kind, too large, or in half precision.
    """
    check_exportable(lm)
    step = DecodeStep(lm.eval())
    example = example_inputs(step, batch=3, new=2, past=5, draws=4)
    axes = {name: _step_axes(name, step.rank) for name in example}
    shapes: dict[str, Any] = {name: axes[name] for name in FEED_NAMES}
    shapes["rest"] = tuple(axes[name] for name in example if name not in FEED_NAMES)  # one argument, many inputs
    model = _export(step, tuple(example.values()), list(example), list(OUTPUT_NAMES), axes, shapes)
    widened = _point_into(model, weights)
    if integers:
        use_integers(model, widened)
    onnx.save(model, str(path))


def _step_axes(name: str, rank: int) -> dict[int, Any]:
    """Free axes of an input of the step."""
    dim = torch.export.Dim
    batch, new, draws, places, stored = (dim(n) for n in ("batch", "new", "draws", "places", "stored"))
    if name.startswith("past_"):
        return {0: places, 1 if name == "past_mask" else 2: dim("past")}
    if name in ("rows", "shares"):
        return {0: batch, 1: stored} if name == "shares" else {0: batch}
    if name in FEED_NAMES:
        if name == "active":
            return {0: places}
        return {0: draws} if name in ("draws", "uniform", "temperature", "top_p") else {0: batch, 1: new}
    kind, side, _ = name.rsplit("_", 2)
    if side == "in":
        return {1: len(FAMILIES[kind]) * rank * stored}
    return {1 if side == "scale" else 0: rank * stored}


def example_inputs(
    step: DecodeStep, *, batch: int, new: int, past: int, draws: int, experts: int = 3
) -> dict[str, Tensor]:
    """Well-formed inputs of a decode step in the order of its inputs; its cache has one place more than the batch."""
    config, places = step.lm.config, batch + 1
    silent = silent_expert(step.lm.backbone, step.rank)
    loud = [
        {name: (torch.randn_like(a), torch.randn_like(b)) for name, (a, b) in silent.items()} for _ in range(experts)
    ]
    stacks = dict(zip(EXPERT_INPUTS, (s.numpy() for s in stack_experts(loud, step.layers)), strict=True))
    laid_out = lay_out(split_experts(stacks))
    rows = torch.randperm(places)[:batch]
    active = torch.zeros(places, dtype=torch.long)
    active[rows] = torch.arange(batch)
    found = {
        "given": torch.randn(batch, new, step.lm.width),
        "slots": torch.full((batch, new), SLOT_TOKEN),
        "codes": torch.randint(config.codebook_size, (batch, new, config.groups)),
        "left": torch.arange(new).repeat(batch, 1),
        "positions": past + torch.arange(new).repeat(batch, 1),
        "rows": rows,
        "active": active,
        "past_mask": torch.where(torch.rand(places, past) < 0.7, 0.0, -1e9),
        "draws": torch.randint(batch, (draws,)),
        "uniform": torch.rand(draws, config.groups),
        "temperature": torch.ones(draws),
        "top_p": torch.full((draws,), 0.95),
        "shares": torch.rand(batch, experts) * 0.1,
    }
    shape = (places, step.kv_heads, past, step.head_dim)
    found |= {
        name: torch.randn(shape) for name in input_names(step.layers) if name.startswith("past_") and name not in found
    }
    return found | {name: torch.from_numpy(laid_out[name]) for name in input_names(step.layers) if name in laid_out}


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
            opset_version=_OPSET,
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


def _point_into(model: onnx.ModelProto, weights: Path) -> set[str]:
    """Replaces large float constants by references into a half-precision safetensors file.

    Constants that half precision does not hold exactly (statistics, the root's scale) stay in the graph.

    Returns:
        The names under which the graph uses the weights.

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
    return set(replacements)


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
