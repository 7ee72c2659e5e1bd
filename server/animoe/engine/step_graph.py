"""The exported decode step in ONNX Runtime: inputs and outputs bound where they lie, nothing allocated per step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from animoe.bundle.manifest import bundle_file
from animoe.engine.batch import Row
from animoe.engine.cache import Cohort
from animoe.engine.conditions import Conditions
from animoe.engine.experts import ExpertPool
from animoe.engine.feeds import FeedBuilder, store
from animoe.engine.onnx_session import open_session
from animoe.engine.places import Places
from animoe.errors import BundleError
from animoe.models.decode_names import FEED_NAMES, OUTPUT_NAMES
from animoe.rig.rotations import Array


@dataclass(frozen=True, eq=False)
class StepResult:
    """codes (R, G) int64; keys and values (L, B, H, S, D). Valid until the next step."""

    codes: Array
    keys: Array
    values: Array


class OnnxStep:
    """`motion_lm_step.onnx` of a bundle as a step runner: batches of fresh windows of one length, or of one cohort.

    Args:
        conditions: of the generator. cache: (layers, heads, head_dim). positions: that a cache holds.
        cohort: characters whose caches lie together.

    Attributes:
        integers: whether it takes experts in int8. places: where the caches of characters lie.

    Raises:
        BundleError: damaged, or written by an AniMoE with another step.
    """

    name = "onnx"

    def __init__(
        self,
        folder: Path,
        conditions: Conditions,
        cache: tuple[int, int, int],
        positions: int,
        cohort: int,
        *,
        threads: int = 1,
    ) -> None:
        self.places = Places(lambda: Cohort(cache, cohort, positions), cohort)
        self._feeds = FeedBuilder(conditions, cache)
        path = bundle_file(folder, "motion_lm_step.onnx")
        self._session = open_session(path, threads=threads)
        self._inputs = {value.name: value for value in self._session.get_inputs()}
        outputs = {value.name: value for value in self._session.get_outputs()}
        if not {*FEED_NAMES, "qkv_in_0"} <= self._inputs.keys() or set(OUTPUT_NAMES) != outputs.keys():
            raise BundleError(f"{path} is a step of another AniMoE; `animoe-train reexport` writes it anew")
        self.integers = self._inputs["qkv_in_0"].type == "tensor(int8)"
        self._groups = int(self._inputs["codes"].shape[2])
        self._layers = sum(name.startswith("past_key_") for name in self._inputs)
        self._heads, self._head_dim = (int(self._inputs["past_key_0"].shape[axis]) for axis in (1, 3))
        self._binding: Any = self._session.io_binding()
        self._bound_experts: ExpertPool | None = None
        self._buffers: dict[str, Array] = {}

    def kind(self, row: Row) -> object:
        return len(row.inputs.slots) if row.inputs.positions[0] == 0 else row.place.cohort

    def company(self, kind: object) -> float:
        return self.places.taken(kind) if isinstance(kind, Cohort) else math.inf

    def step(self, batch: Sequence[Row], experts: ExpertPool) -> Array:
        result = self.run(self._feeds.build(batch, experts, self.places.used(batch[0].place.cohort)), experts)
        store(batch, result.keys, result.values)
        return result.codes[: sum(len(row.inputs.uniforms) for row in batch)]

    def run(self, feeds: Mapping[str, Array], experts: ExpertPool) -> StepResult:
        """One run; `feeds` are the inputs of `DecodeStep.forward` without the experts."""
        if experts is not self._bound_experts:
            for name, value in experts.inputs.items():
                self._bind(name, value)
            self._bound_experts = experts
        for name, value in feeds.items():
            self._bind(name, value)
        batch, new = feeds["slots"].shape
        fresh = (self._layers, batch, self._heads, new, self._head_dim)
        codes = self._output("next_codes", (len(feeds["draws"]), self._groups), np.int64)
        keys, values = self._output("keys", fresh, np.float32), self._output("values", fresh, np.float32)
        self._session.run_with_iobinding(self._binding)
        return StepResult(codes, keys, values)

    def _bind(self, name: str, value: Array) -> None:
        assert value.flags.c_contiguous, name
        self._binding.bind_input(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)

    def _output(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """A buffer that grows to the largest batch and then stays."""
        size = int(np.prod(shape))
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = np.empty(size, dtype=dtype)
        self._binding.bind_output(name, "cpu", 0, buffer.dtype.type, shape, buffer.ctypes.data)
        found: Array = buffer[:size].reshape(shape)
        return found
