"""NativeStep: decode steps in C++. Any characters share a step, newcomers and others alike, whatever their lengths."""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from animoe.bundle.manifest import bundle_file
from animoe.engine.batch import Row
from animoe.engine.experts import Expert, ExpertPool
from animoe.engine.native.structs import BatchStruct
from animoe.engine.native.weights import NativeExpert, NativeModel, Shape
from animoe.engine.places import Places
from animoe.engine.prompts import PlannedPrompt
from animoe.rig.rotations import Array

NO_EXPERT = -1


class NativeStep:
    """Runs the generator of a bundle.

    Args:
        library: `library.load_library()`. weights: of `motion_lm.safetensors`. rank, top_k: of experts.
        positions: that a cache holds. cohort: characters whose caches lie together.

    Attributes:
        places: where the caches of characters lie.

    Raises:
        BundleError: damaged, or of a shape that the C++ step cannot run.
    """

    name = "native"
    integers = True

    def __init__(
        self,
        library: ctypes.CDLL,
        folder: Path,
        weights: Mapping[str, Array],
        *,
        rank: int,
        top_k: int,
        positions: int,
        cohort: int,
    ) -> None:
        config = json.loads(bundle_file(folder, "motion_lm.json").read_text(encoding="utf-8"))
        self._library = library
        self._shape = Shape.of(config, rank, positions)
        self._model = NativeModel(weights, self._shape)
        self._experts: weakref.WeakKeyDictionary[Expert, NativeExpert] = weakref.WeakKeyDictionary()
        self._taken_up: ExpertPool | None = None
        self._columns: dict[str, int] = {}
        self._addresses: Array = np.zeros(0, dtype=np.uint64)
        self._top_k = top_k
        self._mixtures: weakref.WeakKeyDictionary[PlannedPrompt, tuple[list[int], list[float]]]
        self._mixtures = weakref.WeakKeyDictionary()
        self.places = Places(lambda: NativeCaches(cohort, self._shape.cache_bytes), cohort)

    def kind(self, row: Row) -> object:
        """All rows can share a step."""
        return None

    def company(self, kind: object) -> float:
        return self.places.taken()

    def step(self, batch: Sequence[Row], experts: ExpertPool) -> Array:
        if experts is not self._taken_up:
            self._take_up(experts)
        inputs = [row.inputs for row in batch]
        counts = np.array([len(i.slots) for i in inputs])
        draws = np.array([len(i.uniforms) for i in inputs], dtype=np.int32)
        mixtures = [self._mixture(row.prompt) for row in batch]
        found = np.empty((int(draws.sum()), self._shape.groups), dtype=np.int64)
        arrays: dict[str, Array] = {
            "experts": self._addresses,
            "begins": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            "past": np.array([i.positions[0] for i in inputs], dtype=np.int32),
            "caches": np.array([row.place.cohort.address(row.place.row) for row in batch], dtype=np.uint64),
            "expert": np.array([columns for columns, _ in mixtures], dtype=np.int32),
            "share": np.array([weights for _, weights in mixtures], dtype=np.float32),
            "basis": np.array([row.prompt.basis_address for row in batch], dtype=np.uint64),
            "content": np.array([row.prompt.content_address for row in batch], dtype=np.uint64),
            "emotion": np.stack([i.emotion for i in inputs]).astype(np.float32, copy=False),
            "inferred": np.array([i.inferred for i in inputs], dtype=np.float32),
            "slots": _joined([i.slots for i in inputs]),
            "lefts": _joined([i.left for i in inputs]),
            "codes": _joined([i.codes for i in inputs]),
            "draws": draws,
            "uniform": np.concatenate([i.uniforms for i in inputs]),
            "temperature": np.array([row.sampling.temperature for row in batch], dtype=np.float32),
            "top_p": np.array([row.sampling.top_p for row in batch], dtype=np.float32),
            "found": found,
        }
        struct = BatchStruct(
            len(batch), int(counts.sum()), self._top_k, *(value.ctypes.data for value in arrays.values())
        )
        self._library.animoe_step(ctypes.byref(self._model.struct), ctypes.byref(struct))
        return found

    def _mixture(self, prompt: PlannedPrompt) -> tuple[list[int], list[float]]:
        """Columns in the present pool and weights of a prompt's experts."""
        found = self._mixtures.get(prompt)
        if found is None:
            rest = self._top_k - len(prompt.weights)
            columns = [self._columns[expert.key] for expert, _ in prompt.weights] + [NO_EXPERT] * rest
            found = self._mixtures[prompt] = columns, [weight for _, weight in prompt.weights] + [0.0] * rest
        return found

    def _take_up(self, pool: ExpertPool) -> None:
        for expert in pool.experts:
            if expert not in self._experts:
                self._experts[expert] = NativeExpert(expert.arrays)
        # Sums are taken in this order: by name, so that it is the same on every machine and whatever was there before.
        ordered = sorted(pool.experts, key=lambda expert: (Path(expert.key).name, expert.key))
        self._columns = {expert.key: column for column, expert in enumerate(ordered)}
        self._addresses = np.array([self._experts[expert].address for expert in ordered], dtype=np.uint64)
        self._taken_up = pool
        self._mixtures.clear()


class NativeCaches:
    """Keys and values of `size` characters, `width` bytes each; pages are touched when a character writes there."""

    def __init__(self, size: int, width: int) -> None:
        self._memory: Array = np.zeros((size, width), dtype=np.uint8)
        self._begins: list[int] = [self._memory.ctypes.data + row * width for row in range(size)]

    def address(self, row: int) -> int:
        return self._begins[row]


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts).astype(np.int32)
