"""The state of a training, so that one that was killed goes on and ends with the same numbers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from animoe.bundle.files import write_durable


@dataclass(frozen=True)
class Checkpoint:
    """One file: trained parameters, optimiser and history after some steps.

    path: the file; it is replaced in one step. every: steps between two states.
    """

    path: Path
    every: int = 50

    def save(self, step: int, optimiser: torch.optim.Optimizer, history: list[dict[str, float]]) -> None:
        """Keeps the state after `step` steps."""
        values = [p.detach() for group in optimiser.param_groups for p in group["params"]]
        state = {"step": step, "values": values, "optimiser": optimiser.state_dict(), "history": history}
        data = io.BytesIO()  # not straight to the file: torch reports a full disk as a RuntimeError
        torch.save(state, data)
        write_durable(self.path, data.getvalue())

    def restore(self, optimiser: torch.optim.Optimizer, history: list[dict[str, float]]) -> int:
        """Puts the kept state back and returns its step; 0 when there is none."""
        if not self.path.is_file():
            return 0
        state: dict[str, Any] = torch.load(self.path, weights_only=True)
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        with torch.no_grad():
            for parameter, value in zip(parameters, state["values"], strict=True):
                parameter.copy_(value)
        optimiser.load_state_dict(state["optimiser"])
        history.extend(state["history"])
        step: int = state["step"]
        return step
