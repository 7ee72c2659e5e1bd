"""Trains the expert of an import within its time, from its checkpoint if there is one, and stores it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save

from animoe.bundle.files import refused_writes, write_durable
from animoe.errors import FailedPrecondition, WriteError
from animoe.models.motion_lm import MotionLM
from animoe_trainer.checkpoint import Checkpoint
from animoe_trainer.expert import ExpertConfig, Memory, train_expert
from animoe_trainer.expert_store import planner_state, save_expert
from animoe_trainer.importing.progress import Clock
from animoe_trainer.sequences import BatchConfig, BatchMaker, TokenCorpus

FEWEST_STEPS, MOST_STEPS = 40, 400
PLANNER = "planner.safetensors"
_TRAINING_SHARE = 0.5
"""Of the time budget; the rest reads the pack and judges."""


@dataclass(frozen=True)
class Schedule:
    """steps and batch: of the training. cut: whether the time budget made it shorter than the pack deserves."""

    steps: int
    batch: int
    cut: bool


def wanted_steps(clips: int) -> int:
    """Steps that a pack deserves: 120 for ten clips, 220 for a hundred, 400 from some four hundred on."""
    return max(FEWEST_STEPS, min(MOST_STEPS, round(90 + 13 * math.sqrt(clips))))


def plan_training(
    lm: MotionLM, tokens: TokenCorpus, minutes: float | None, *, batch: int, steps: int | None
) -> Schedule:
    """Decides how long to train: by the pack's size, shortened when two trial steps show that the time is too short.

    Args:
        minutes: for the whole import; None = as long as it takes, so that every machine learns the same.
        steps: a user's own number, which wins.
    """
    wanted = steps or wanted_steps(sum(not item.mirrored and item.intensity == 1.0 for item in tokens.items))
    if minutes is None or steps is not None:
        return Schedule(wanted, batch, False)
    seconds = _trial(lm, tokens, batch)
    affordable = int(minutes * 60 * _TRAINING_SHARE / seconds)
    return Schedule(max(FEWEST_STEPS, min(wanted, affordable)), batch, affordable < wanted)


def _trial(lm: MotionLM, tokens: TokenCorpus, batch: int) -> float:
    """Seconds of one training step."""
    trial, seconds = copy.deepcopy(lm), []
    makers = BatchMaker(tokens, BatchConfig(batch=batch), 0)

    def note(*_: Any) -> None:
        seconds.append(time.monotonic())

    train_expert(trial, tokens, makers, None, ExpertConfig(steps=3), progress=note)
    return max((seconds[-1] - seconds[0]) / (len(seconds) - 1), 1e-3)


def train(
    lm: MotionLM,
    tokens: TokenCorpus,
    memory: Memory | None,
    schedule: Schedule,
    seed: int,
    known_emotions: tuple[str, ...],
    work: Path,
    clock: Clock,
) -> list[dict[str, float]]:
    """Adds the expert to `lm`, writes it to `work/staged` (PEFT) and `work/planner.safetensors`; history of losses.

    Raises:
        FailedPrecondition: the training diverged.
    """
    config = ExpertConfig(steps=schedule.steps, warmup=min(20, schedule.steps // 4), seed=seed)
    (work / "train").mkdir(parents=True, exist_ok=True)
    batches = BatchMaker(tokens, BatchConfig(batch=schedule.batch), seed)
    history = train_expert(
        lm,
        tokens,
        batches,
        memory,
        config,
        progress=lambda step, steps, _: clock("train", step, steps),
        known_emotions=known_emotions,
        checkpoint=Checkpoint(work / "train" / "checkpoint.pt"),
    )
    assert lm.experts is not None and lm.planner is not None
    expert = lm.experts.expert(lm.experts.count - 1)
    planner = planner_state(lm)
    tensors = [*(t.half() for pair in expert.values() for t in pair), *planner.values()]
    if not all(bool(t.isfinite().all()) for t in tensors if t.is_floating_point()):
        raise FailedPrecondition(
            "the training diverged (a weight is not finite); nothing was published. Look for broken clips with "
            "`animoe pack check`, or import with another --seed"
        )
    save_expert(work / "staged", expert, lm.planner.config.samoe)
    write_durable(work / PLANNER, save(planner))
    return history


@contextmanager
def library_writes(bundle: Path) -> Iterator[None]:
    """Failing writes, also those that safetensors reports in its own way, as sentences.

    Raises:
        WriteError: the disk is full. InvalidRequest: no right to write.
    """
    with refused_writes(bundle):
        try:
            yield
        except SafetensorError as error:
            if "I/O error" not in str(error):
                raise
            raise WriteError(f"{bundle} cannot take more data ({error}); free some space, then --resume") from error
