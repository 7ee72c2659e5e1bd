"""Bundles that learn, without training: experts written by hand, and an import command that is a small script."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from animoe.bundle.child import ensure_child
from animoe.bundle.lock import bundle_lock
from animoe.bundle.manifest import read_manifest
from animoe.bundle.publishing import next_state, next_version, publish
from animoe.bundle.scenarios import Column, ScenarioState, expert_shapes, read_planner, read_state
from animoe.client import Client
from animoe.engine import Engine
from animoe.serving.learning import LearningConfig

SCRIPT = Path(__file__).with_name("fake_import.py")


def publish_by_hand(folder: Path, name: str, *, seed: int = 0) -> Column:
    """Publishes an expert of random weights, whose key lies where the gate's query of most prompts is."""
    state = read_state(folder)
    column = Column(name, next_version(folder, name))
    layers, rank = read_manifest(folder).experts
    staged = folder / f"staged-{column.name}"
    staged.mkdir()
    random = np.random.default_rng(seed)
    save_file(_expert(folder, layers, rank, random), staged / "adapter_model.safetensors")
    (staged / "info.json").write_text(json.dumps({"created": "2026-01-01T00:00:00Z", "emotions": ["happy"]}))
    planner = folder / f"planner-{column.name}.safetensors"
    save_file(_planner(folder, state, random), planner)
    with bundle_lock(folder, "test"):
        publish(folder, staged, planner.read_bytes(), column)
    planner.unlink()
    assert read_state(folder) == replace(next_state(state, column), digest=read_state(folder).digest)
    return column


def _expert(folder: Path, layers: int, rank: int, random: np.random.Generator) -> dict[str, Any]:
    """Weights in the shapes of the generator's linear layers."""
    found = {}
    for name, (_, _, width) in expert_shapes(folder, rank).items():
        kind, side = name.rsplit("_", 1)
        part = "mlp" if kind in ("gate_proj", "up_proj", "down_proj") else "self_attn"
        for layer in range(layers):
            weight = random.normal(scale=0.3, size=(rank, width)).astype(np.float32)
            key = f"base_model.model.layers.{layer}.{part}.{kind}.lora_{'A' if side == 'down' else 'B'}.weight"
            found[key] = np.ascontiguousarray(weight if side == "down" else weight.T)
    return found


def _planner(folder: Path, state: ScenarioState, random: np.random.Generator) -> dict[str, Any]:
    weights = dict(read_planner(folder, state))
    emotion = weights.pop("emotion.weight")
    keys = weights["gate.keys"]
    # A key close to the base's wins for some prompts, and takes part in all.
    key = keys[0].astype(np.float32) + random.normal(scale=0.05, size=keys.shape[1])
    weights["gate.keys"] = np.concatenate([keys, key[None]]).astype(keys.dtype)
    return {f"planner.{name}": value for name, value in weights.items()} | {"emotion.weight": emotion}


class Clock:
    """Shows the time that a test sets; starts at 100 s."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def publish_expert() -> Callable[..., Column]:
    return publish_by_hand


@dataclass
class Learner:
    """A server on a bundle of its own that takes packs."""

    bundle: Path
    packs: Path
    server: Any

    @property
    def target(self) -> str:
        return str(self.server.target)


@pytest.fixture
def child(tiny: Any, tmp_path: Path) -> Path:
    """A bundle that may be written: a child of the toy bundle."""
    folder = tmp_path / "bundle"
    ensure_child(folder, tiny.bundle)
    return folder


@pytest.fixture
def start_learner(child: Path, tmp_path: Path, start_server: Callable[..., Any]) -> Callable[..., Learner]:
    """Starts servers on `child`; fields of LearningConfig may be given."""
    packs = tmp_path / "packs"
    packs.mkdir()

    def start(**config: Any) -> Learner:
        settings = {"packs": packs, "command": (sys.executable, str(SCRIPT)), "idle": False}
        learning = LearningConfig(child, **(settings | config))
        return Learner(child, packs, start_server(lambda: Engine.load(child), bundle=child, learning=learning))

    return start


@pytest.fixture
def learner(start_learner: Callable[..., Learner]) -> Learner:
    return start_learner()


@pytest.fixture
def learner_client(learner: Learner) -> Iterator[Client]:
    with Client(learner.target) as connection:
        yield connection
