"""What a sequence has learnt so far, in full precision, so that one that was stopped goes on with the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from animoe.bundle.files import write_durable
from animoe.errors import BundleError
from animoe.models.motion_lm import MotionLM
from animoe.rig.rotations import Array
from animoe_trainer.performer import Performance
from animoe_trainer.sequence_data import save_arrays

_OWN = ("planner.", "emotion.")


@dataclass
class Progress:
    """done: scenarios learnt. memories: texts kept of the base and of each scenario. known: emotions shown so far."""

    done: int = 0
    memories: dict[str, list[str]] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)


def save_state(path: Path, lm: MotionLM, progress: Progress) -> None:
    """Writes experts, planner, emotion vectors and the progress to one file, whole or not at all."""
    learnt = {
        name: value.detach().cpu().clone().contiguous()
        for name, value in lm.state_dict().items()
        if name.startswith(_OWN) or name.endswith((".down", ".up"))
    }
    write_durable(path, save(learnt, metadata={"progress": json.dumps(vars(progress))}))


def load_state(path: Path, lm: MotionLM) -> Progress:
    """Puts into the base what `save_state` kept.

    Raises:
        BundleError: damaged, or of another base.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            progress = Progress(**json.loads(stored.metadata()["progress"]))
        _restore(lm, load_file(path))
    except Exception as error:  # safetensors raises its own type for a damaged file
        raise BundleError(f"no usable state in {path}: {error}; delete the folder and start again") from error
    return progress


def _restore(lm: MotionLM, state: Mapping[str, Tensor]) -> None:
    bank, planner, home = lm.attach_experts(), lm.planner, lm.inferred.device
    assert planner is not None
    for name, layer in bank.layers.items():
        layer.down, layer.up = (state[f"backbone.{name}.{part}"].to(home) for part in ("down", "up"))
        bank.count = len(layer.down) // bank.config.rank
    planner.cged.rows, planner.cged.row_class = (state[f"planner.cged.{n}"].to(home) for n in ("rows", "row_class"))
    planner.gate.keys = state["planner.gate.keys"].to(home)
    _, unexpected = lm.load_state_dict(dict(state), strict=False)
    if unexpected:
        raise BundleError(f"it belongs to another base ({unexpected[0]})")


def save_codes(path: Path, made: Performance) -> None:
    """Codes of all takes, and the weights of the experts."""
    arrays = {
        "codes": np.concatenate(made.codes).astype(np.uint16),
        "lengths": np.array([len(codes) for codes in made.codes]),
    }
    if made.weights is not None:
        arrays["weights"] = made.weights.astype(np.float32)
    save_arrays(path, arrays)


def load_codes(path: Path) -> tuple[list[Array], Array | None]:
    """Codes (T, G) of all takes and the weights (takes, 1 + N), None without experts.

    Raises:
        BundleError: missing or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            ends = np.cumsum(stored["lengths"])[:-1]
            weights = stored["weights"] if "weights" in stored.files else None
            return np.split(stored["codes"].astype(np.int64), ends), weights
    except Exception as error:  # a damaged zip raises whatever its damage leads to
        raise BundleError(f"no usable codes in {path}: {error}; run the sequence again with --resume") from error


def joined(parts: Sequence[tuple[Sequence[int], Performance]], count: int) -> Performance:
    """Performances of parts of `count` takes, each with the places of its takes, as one without weights."""
    codes: list[Array | None] = [None] * count
    for places, made in parts:
        for place, one in zip(places, made.codes, strict=True):
            codes[place] = one
    return Performance([one for one in codes if one is not None], None, None)
