"""Experts on disk: a PEFT LoRA folder each, and the planner's state after a scenario (safetensors, no pickle)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from animoe.errors import BundleError
from animoe.models.motion_lm import MotionLM
from animoe.models.samoe import SAMoEConfig
from animoe.models.sequence import ADAPTED

_PREFIX = "base_model.model."
_GROWING = ("planner.cged.rows", "planner.cged.row_class", "planner.gate.keys")


def save_expert(folder: Path, expert: dict[str, tuple[Tensor, Tensor]], config: SAMoEConfig) -> None:
    """Writes one expert so that `peft.PeftModel.from_pretrained(backbone, folder)` loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {}
    for name, (down, up) in expert.items():
        state[f"{_PREFIX}{name}.lora_A.weight"] = down.detach().cpu().half().contiguous()
        state[f"{_PREFIX}{name}.lora_B.weight"] = up.detach().cpu().half().contiguous()
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    fields = {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": _targets(expert),
        "bias": "none",
        "inference_mode": True,
        "base_model_name_or_path": "animoe-motion-lm",
    }
    (folder / "adapter_config.json").write_text(json.dumps(fields, indent=1) + "\n")


def _targets(layers: Iterable[str]) -> list[str]:
    """Short names where they are Llama's; elsewhere full ones, as a last part may also name something else."""
    names = list(layers)
    return list(ADAPTED) if all(name.rpartition(".")[2] in ADAPTED for name in names) else sorted(names)


def load_expert(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer name -> (A, B) of a PEFT LoRA folder.

    Raises:
        BundleError: missing or damaged.
    """
    try:
        state = load_file(folder / "adapter_model.safetensors")
        names = sorted({key.removeprefix(_PREFIX).rsplit(".lora_", 1)[0] for key in state})
        return {
            name: tuple(state[f"{_PREFIX}{name}.lora_{side}.weight"].float() for side in "AB")  # type: ignore[misc]
            for name in names
        }
    except (OSError, KeyError, ValueError) as error:
        raise BundleError(f"no usable expert in {folder}: {error}; restore the bundle") from error


def planner_state(lm: MotionLM) -> dict[str, Tensor]:
    """What a scenario may change besides its expert, in half precision: the planner and the vectors of emotions."""
    found = {name: value for name, value in lm.state_dict().items() if name.startswith("planner.")}
    found["emotion.weight"] = lm.emotion.weight
    kept = {name: value.detach().cpu().contiguous() for name, value in found.items()}
    return {name: value.half() if value.dtype == torch.float32 else value for name, value in kept.items()}


def load_planner_state(lm: MotionLM, state: dict[str, Tensor]) -> None:
    """Puts back what `planner_state` gave; the dictionary and the keys take the size they had."""
    assert lm.planner is not None
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    home = lm.inferred.device
    lm.planner.cged.rows, lm.planner.cged.row_class = (state[name].to(home) for name in _GROWING[:2])
    lm.planner.gate.keys = state[_GROWING[2]].to(home)
    missing, unexpected = lm.load_state_dict(state, strict=False)
    if unexpected or any(name.startswith("planner.") for name in missing):
        raise BundleError(f"the planner's state does not fit the generator: {[*unexpected, *missing][:3]}")


def save_scenario_state(lm: MotionLM, out: Path, name: str, memory: list[str]) -> None:
    """Writes the newest expert, the planner after it and the scenario's memory to `out/scenarios/name`."""
    assert lm.planner is not None and lm.experts is not None
    folder = out / "scenarios" / name
    save_expert(folder, lm.experts.expert(lm.experts.count - 1), lm.planner.config.samoe)
    save_file(planner_state(lm), folder / "planner.safetensors")
    (folder / "memory.json").write_text(json.dumps(memory, indent=1) + "\n")
