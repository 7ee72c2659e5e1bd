"""Turns the large matrix products of an ONNX graph into int8 ones. Needs onnx.

Weights get one scale per output column, activations one per row: unlike ONNX Runtime's own dynamic quantisation, which
takes one scale for the whole batch, this leaves every row of a batch alone. Sums of integers are exact, so a row's
result does not depend on the batch, its size or the machine's kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

_CONSTANTS: dict[str, np.ndarray[Any, Any]] = {
    "int8_levels": np.array(127.0, np.float32),
    "int8_step": np.array(1.0 / 127.0, np.float32),
    "int8_offset": np.array(128.0, np.float32),
    "int8_zero": np.array(128, np.uint8),
    "int8_tiny": np.array(1e-9, np.float32),
    "int8_rows": np.array([0]),
    "int8_last": np.array([-1]),
}


def use_integers(model: onnx.ModelProto, weights: set[str]) -> None:
    """Rewrites products with `weights` (2-D) and with experts (inputs that a product takes as its right side).

    The experts become int8 inputs, as `bundle.stacks.quantised` makes them.
    """
    inputs = {value.name: value for value in model.graph.input}
    rewriter = _Rewriter()
    for node in model.graph.node:
        right = node.input[1] if node.op_type in ("MatMul", "Gemm") else ""
        if right in inputs and len(inputs[right].type.tensor_type.shape.dim) == 2:
            inputs[right].type.tensor_type.elem_type = TensorProto.INT8
            rewriter.expert_product(node)
        elif right in weights:
            rewriter.weight_product(node)
        else:
            rewriter.nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(rewriter.nodes)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items())


class _Rewriter:
    """Collects the nodes of the new graph, each thing that is turned into integers once."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self._seen: dict[str, tuple[str, str]] = {}

    def expert_product(self, node: NodeProto) -> None:
        """x @ B with B an int8 input; its scales are applied by the graph."""
        left, scale = self._activation(node.input[0])
        self._product(left, node.input[1], scale, node.output[0])

    def weight_product(self, node: NodeProto) -> None:
        """x @ W, or x @ W^T + b (Gemm)."""
        name, result = node.output[0], node.output[0]
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        left, scale = self._activation(node.input[0])
        right, steps = self._weight(node.input[1], transposed)
        self._product(left, right, scale, f"{name}__rows")
        biased = len(node.input) > 2
        result = f"{name}__product" if biased else name
        self._add("Mul", [f"{name}__rows", steps], result)
        if biased:
            self._add("Add", [result, node.input[2]], name)

    def _product(self, left: str, right: str, scale: str, result: str) -> None:
        self._add("MatMulInteger", [left, right, "int8_zero"], f"{result}__sum")
        self._add("Cast", [f"{result}__sum"], f"{result}__float", to=TensorProto.FLOAT)
        self._add("Mul", [f"{result}__float", scale], result)

    def _activation(self, x: str) -> tuple[str, str]:
        """Unsigned integers around 128 and one scale per row."""
        if x not in self._seen:
            self._add("Abs", [x], f"{x}__abs")
            self._add("ReduceMax", [f"{x}__abs", "int8_last"], f"{x}__max", keepdims=1)
            self._add("Add", [f"{x}__max", "int8_tiny"], f"{x}__range")
            self._add("Div", ["int8_levels", f"{x}__range"], f"{x}__sharp")
            self._add("Mul", [x, f"{x}__sharp"], f"{x}__scaled")
            self._add("Round", [f"{x}__scaled"], f"{x}__round")
            self._add("Add", [f"{x}__round", "int8_offset"], f"{x}__offset")
            self._add("Cast", [f"{x}__offset"], f"{x}__u8", to=TensorProto.UINT8)
            self._add("Mul", [f"{x}__range", "int8_step"], f"{x}__scale")
            self._seen[x] = (f"{x}__u8", f"{x}__scale")
        return self._seen[x]

    def _weight(self, w: str, transposed: bool) -> tuple[str, str]:
        """Signed integers (in, out) and one scale per column; ONNX Runtime folds all of it at start."""
        if w not in self._seen:
            source = w
            if transposed:
                source = f"{w}__by_row"
                self._add("Transpose", [w], source, perm=[1, 0])
            self._add("ReduceMax", [source, "int8_rows"], f"{w}__high", keepdims=0)
            self._add("ReduceMin", [source, "int8_rows"], f"{w}__low", keepdims=0)
            self._add("Neg", [f"{w}__low"], f"{w}__depth")
            self._add("Max", [f"{w}__high", f"{w}__depth", "int8_tiny"], f"{w}__range")
            self._add("Mul", [f"{w}__range", "int8_step"], f"{w}__steps")
            self._add("QuantizeLinear", [source, f"{w}__steps"], f"{w}__s8", axis=1, output_dtype=TensorProto.INT8)
            self._seen[w] = (f"{w}__s8", f"{w}__steps")
        return self._seen[w]

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
