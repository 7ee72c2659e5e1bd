"""The generator of a bundle and its experts on a device, as `torch_step` runs them. Imports torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from animoe.bundle.manifest import bundle_file
from animoe.bundle.stacks import lay_out
from animoe.engine.experts import Expert, ExpertPool
from animoe.errors import BundleError
from animoe.models.decode_names import input_names
from animoe.models.decode_step import DecodeStep
from animoe.models.motion_lm import MotionLM, MotionLMConfig
from animoe.models.sequence import FAMILIES, step_stack_names

_LEAST_ROOM = 8


def open_generator(folder: Path, device: torch.device, rank: int) -> DecodeStep:
    """Reads the generator of a bundle, weight by weight: there is never a second one in memory.

    Args:
        rank: of experts.

    Raises:
        BundleError: damaged. InvalidRequest: its backbone is of a kind that is not performed live.
    """
    path = bundle_file(folder, "motion_lm.safetensors")
    try:
        fields = json.loads(bundle_file(folder, "motion_lm.json").read_text(encoding="utf-8"))
        config = replace(MotionLMConfig(**fields), planner=None)  # prompts are planned in numpy
        if not isinstance(config.backbone, dict):
            raise ValueError("motion_lm.json names a backbone and does not describe it")
        with torch.device("meta"):
            lm = MotionLM(config)
        with safe_open(path, framework="pt") as stored:
            state = {
                name: stored.get_tensor(name).to(device=device, dtype=tensor.dtype)
                for name, tensor in lm.state_dict().items()
            }
        lm.load_state_dict(state, assign=True)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"cannot read the generator in {path}: {error}; restore the bundle") from error
    step = DecodeStep(lm.eval(), rank)
    step.frequency = step.frequency.to(device)
    return step


class DeviceExperts:
    """Experts side by side (`bundle.stacks`) in room for more than there are.

    A newcomer is written into its column: nothing else moves, and what was captured stays valid.

    Attributes:
        room: columns. stacks: in the order of the step's inputs.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.room = 0
        self.stacks: list[Tensor] = []
        self._columns: dict[str, Tensor] = {}
        self._held: list[Expert | None] = []
        self._device, self._dtype = device, dtype

    def take_up(self, pool: ExpertPool) -> bool:
        """Puts a pool's experts into their columns; whether all stacks are new ones."""
        is_new = len(pool) > self.room
        if is_new:
            self._make_room(pool)
        self._held[len(pool) :] = [None] * (self.room - len(pool))
        for column, expert in enumerate(pool.experts):
            if self._held[column] is not expert:
                for name, one in lay_out([expert.arrays]).items():
                    place = self._columns[name][column]
                    place.copy_(torch.from_numpy(one).view(place.shape))
                self._held[column] = expert
        return is_new

    def _make_room(self, pool: ExpertPool) -> None:
        self.room = max(_LEAST_ROOM, 1 << (len(pool) - 1).bit_length())
        self._held, self.stacks, self._columns = [None] * self.room, [], {}
        one = lay_out([pool.experts[0].arrays])
        layers = len(one) // len(step_stack_names(0))
        for name in input_names(layers):
            if name in one:
                stack, self._columns[name] = self._empty(name, *one[name].shape)
                self.stacks.append(stack)

    def _empty(self, name: str, first: int, second: int) -> tuple[Tensor, Tensor]:
        """A stack of silent experts, from the shape of one, and a view of it: (room, ...), expert by expert."""
        kind, side, _ = name.rsplit("_", 2)
        shape: tuple[int, ...]
        if side == "out":  # (r, out) each, below each other
            shape, axis = (self.room, first, second), 0
        elif side == "scale":  # (c, r)
            shape, axis = (first, self.room, second), 1
        else:  # (in, c * r)
            count = len(FAMILIES[kind])
            shape, axis = (first, count, self.room, second // count), 2
        columns = torch.zeros(shape, dtype=self._dtype, device=self._device)
        stack = columns.flatten(0, 1) if axis == 0 else columns.flatten(1)
        return stack, columns.movedim(axis, 0)
