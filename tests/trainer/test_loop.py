"""The training loop: resumed runs equal uninterrupted ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from animoe.errors import FailedPrecondition, InvalidRequest
from animoe_trainer.loop import LoopConfig, Losses, learning_rate, run_loop

STEPS = 12


def run(out: Path, *, resume: bool = False, stop_at: int | None = None) -> nn.Module:
    """A toy with dropout, matrices and vectors; `stop_at` interrupts it in the middle of that step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 32), nn.Linear(32, 1))
    config = LoopConfig(steps=STEPS, learning_rate=1e-2, warmup=2, ema=0.9, checkpoint_every=4, validate_every=4)

    def batch_losses(step: int) -> Losses:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        return {"total": (model(x).float() - x.sum(-1, keepdim=True)).pow(2).mean()}

    return run_loop(model, out, config, batch_losses, lambda _: {"figure": 1.0}, resume=resume, label="toy")


@pytest.mark.parametrize("config", [{"steps": 0}, {"learning_rate": 0.0}, {"learning_rate": 1.5}])
def test_a_run_that_cannot_be_names_its_flag(config: dict[str, float]) -> None:
    flag = "--" + next(iter(config)).replace("_", "-")
    with pytest.raises(InvalidRequest, match=flag):
        LoopConfig(**config)  # type: ignore[arg-type]


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="nothing to resume"):
        run(tmp_path, resume=True)


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole").state_dict()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at=10)
    resumed = run(tmp_path / "broken", resume=True).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "broken")]
    assert histories[0] == histories[1]


def test_it_leaves_a_plot_and_a_history_with_validation(tmp_path: Path) -> None:
    run(tmp_path)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    history = json.loads((tmp_path / "history.json").read_text())
    assert history[-1]["step"] == STEPS - 1 and history[-1]["val_figure"] == 1.0


def test_the_averaged_weights_are_what_comes_out(tmp_path: Path) -> None:
    shipped = run(tmp_path).state_dict()
    raw = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"]
    assert not torch.allclose(shipped["0.weight"], raw["0.weight"], atol=1e-4)


@pytest.mark.parametrize(("step", "share"), [(0, 0.01), (99, 1.0), (100, 1.0), (550, 0.51), (1000, 0.02), (5000, 0.02)])
def test_learning_rate_by_hand(step: int, share: float) -> None:
    assert learning_rate(step, LoopConfig(steps=1000, learning_rate=0.1, warmup=100)) == pytest.approx(0.1 * share)
