"""The scenarios that a bundle has learnt: immutable experts and planners, and one small file that says which count.

experts/NAME@VERSION/     adapter_config.json, adapter_model.safetensors (PEFT LoRA); what the import found out about it
planners/NNNN.safetensors the planner and the emotion vectors after generation NNNN
scenarios.json            the current generation: its planner, and the columns of the gate in the order of its keys

Publishing, rolling back and removing write nothing but a new `scenarios.json`, in one step: a reader sees the old
generation or the new one. Columns never change their place; one that is not active is never chosen.

A bundle may be the child of another (`manifest.parent`): what it does not hold itself is read from there, and the
parent is never written.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from animoe.bundle.manifest import bundle_file
from animoe.errors import BundleError
from animoe.rig.rotations import Array

SCENARIOS = "scenarios.json"
_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Column:
    """One expert: `NAME@VERSION`. Inactive ones keep their place in the gate."""

    scenario: str
    version: int
    active: bool = True

    @property
    def name(self) -> str:
        return f"{self.scenario}@{self.version}"


@dataclass(frozen=True)
class ScenarioState:
    """One generation of a bundle.

    Attributes:
        planner: file of the planner's weights, relative to the bundle; empty = as in the generator's own weights.
        columns: of the gate after the base's, oldest first.
        digest: of everything that decides which motion comes out, "" for a bundle without experts.
    """

    generation: int = 0
    planner: str = ""
    columns: tuple[Column, ...] = ()
    digest: str = ""

    def active(self) -> Iterator[tuple[int, Column]]:
        """Index and column of the experts in use."""
        return ((i, column) for i, column in enumerate(self.columns) if column.active)


def read_state(folder: Path) -> ScenarioState:
    """The current generation of a bundle.

    Raises:
        BundleError: the file is damaged.
    """
    path = bundle_file(folder, SCENARIOS)
    if not path.is_file():
        return ScenarioState()
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        columns = tuple(Column(str(c["scenario"]), int(c["version"]), bool(c["active"])) for c in raw["columns"])
        return ScenarioState(int(raw["generation"]), str(raw["planner"]), columns, str(raw["digest"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path} is damaged: {error}; restore it, or roll back with `animoe scenario rollback`"
        ) from error


def write_state(folder: Path, state: ScenarioState) -> None:
    """Makes `state` the current generation, in one step and durable."""
    handle, name = tempfile.mkstemp(prefix=".scenarios-", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(asdict(state), stream, indent=1)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, folder / SCENARIOS)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def expert_folder(folder: Path, column: Column) -> Path:
    """Where the files of an expert lie, in the bundle or in its parent."""
    return bundle_file(folder, f"experts/{column.name}")


def read_weights(path: Path) -> Mapping[str, Array]:
    """Arrays of a safetensors file, each read when it is asked for: a large backbone may be more than memory holds.

    Raises:
        BundleError: the file is missing or damaged; later, an array is in a precision that numpy has not (bfloat16).
    """
    return _Weights(path)


class _Weights(Mapping[str, Array]):
    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._path = path
        try:
            self._file = safe_open(path, framework="numpy")
            self._names = dict.fromkeys(self._file.keys())  # type: ignore[no-untyped-call]
        except (OSError, ValueError, SafetensorError) as error:
            raise BundleError(f"cannot read {path}: {error}; restore the bundle") from error

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        try:
            found: Array = self._file.get_tensor(name)  # type: ignore[no-untyped-call]
        except (TypeError, ValueError) as error:
            raise BundleError(f"{self._path}: {name} is of a type that only torch reads ({error})") from error
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_planner(folder: Path, state: ScenarioState) -> dict[str, Array]:
    """Weights of the planner (`planner.` taken off) and `emotion.weight` of a generation."""
    stored = read_weights(bundle_file(folder, state.planner or "motion_lm.safetensors"))
    found = {name.removeprefix("planner."): stored[name] for name in stored if name.startswith("planner.")}
    return found | {"emotion.weight": stored["emotion.weight"]}


def expert_shapes(folder: Path, rank: int) -> dict[str, tuple[int, int, int]]:
    """(L, rank, width) of each of `EXPERT_INPUTS` for the generator of a bundle."""
    backbone = json.loads(bundle_file(folder, "motion_lm.json").read_text(encoding="utf-8"))["backbone"]
    width, hidden, heads = (backbone[n] for n in ("hidden_size", "intermediate_size", "num_attention_heads"))
    dim = backbone.get("head_dim") or width // heads
    query, key = heads * dim, (backbone.get("num_key_value_heads") or heads) * dim
    sides = {
        "q_proj": (width, query),
        "k_proj": (width, key),
        "v_proj": (width, key),
        "o_proj": (query, width),
        "gate_proj": (width, hidden),
        "up_proj": (width, hidden),
        "down_proj": (hidden, width),
    }
    layers = backbone["num_hidden_layers"]
    return {
        f"{kind}_{side}": (layers, rank, wide)
        for kind, both in sides.items()
        for side, wide in zip(("down", "up"), both, strict=True)
    }


def read_expert(folder: Path, column: Column, shapes: Mapping[str, tuple[int, int, int]]) -> dict[str, Array]:
    """An expert's weights: KIND_down (L, r, in), KIND_up (L, r, out), float32.

    Args:
        shapes: of each (`expert_shapes`).

    Raises:
        BundleError: it is missing or of another shape.
    """
    stored = read_weights(expert_folder(folder, column) / "adapter_model.safetensors")
    found = {}
    for name, (layers, rank, width) in shapes.items():
        kind, side = name.rsplit("_", 1)
        part = "mlp" if kind in ("gate_proj", "up_proj", "down_proj") else "self_attn"
        found[name] = np.empty((layers, rank, width), dtype=np.float32)
        for layer in range(layers):
            key = f"{_PREFIX}layers.{layer}.{part}.{kind}.lora_{'A' if side == 'down' else 'B'}.weight"
            value = stored.get(key)
            value = value.T if value is not None and side == "up" else value
            if value is None or value.shape != (rank, width):
                raise BundleError(f"expert {column.name} does not fit this generator ({key}); import it again")
            found[name][layer] = value
    return found
