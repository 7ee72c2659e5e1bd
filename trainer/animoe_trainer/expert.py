"""Learning one scenario: one more expert, its key, its dictionary rows; everything older stays (A4 of our notes).

What may change: A and B of the new expert, its key (`key_fit`, before the training), its dictionary rows. Emotions that
are shown for the first time move their own vectors and, slowly, the emotion head and the net that says how emotions are
expressed; a memory of old prompts (texts only) holds what these give for them (as SAPT's reflection). Nothing else of
the shared planner moves: with all of it at a tenth of the rate, prompt slots of the first scenario had drifted by 30 %
five scenarios later, and R@1 fell by 8 points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle
from tqdm import tqdm

from animoe.errors import InvalidRequest
from animoe.models.motion_lm import MotionLM
from animoe.models.planner import Plan, Planner
from animoe.models.samoe import top_k_weights
from animoe.motion.emotion import EMOTIONS
from animoe_trainer.base import EMOTION_LOSS, head_loss
from animoe_trainer.checkpoint import Checkpoint
from animoe_trainer.dictionary import emotion_rows
from animoe_trainer.key_fit import fit_key
from animoe_trainer.loop import Losses
from animoe_trainer.prompts import PromptTable
from animoe_trainer.sequences import Batch, BatchMaker, TokenCorpus, corpus_texts

MEMORY_TEXTS = 64
"""Texts that are kept of a scenario, at most."""


class Mode(Enum):
    """MIXTURE: ES-MoE. SEQUENTIAL: one LoRA trained on and on. ALONE: a new expert by itself, called by its number.

    The last two are controls: the one forgets, the other is told which scenario a prompt belongs to.
    """

    MIXTURE = "mixture"
    SEQUENTIAL = "sequential"
    ALONE = "alone"


@dataclass(frozen=True)
class ExpertConfig:
    """How an expert is learnt.

    planner_rate: share of the learning rate for what may move of the shared planner. mask_from: how likely an older
    expert is hidden at the start (falls to 0 linearly, A7-15). gate_memory: weight of the prompts of each older
    scenario while the key is fitted. plan_memory: weight of the loss that holds what the planner gives for them, each
    step on `memory_batch` of them.
    """

    steps: int = 300
    learning_rate: float = 2e-3
    planner_rate: float = 0.1
    weight_decay: float = 0.01
    warmup: int = 20
    rows_per_emotion: int = 4
    emotion_loss: float = EMOTION_LOSS
    mask_from: float = 0.5
    gate_memory: float = 1.0
    plan_memory: float = 10.0
    memory_batch: int = 96
    clip_norm: float = 1.0
    seed: int = 0
    mode: Mode = Mode.MIXTURE


class Memory:
    """Texts of earlier scenarios and what the planner gave for them when it was last known to be good."""

    def __init__(self, planner: Planner, table: PromptTable, texts: Sequence[str]) -> None:
        self.table, self.texts = table, list(dict.fromkeys(texts))
        self.rows = torch.tensor([table.ids[text] for text in self.texts])
        with torch.no_grad():
            self.before: Plan = planner(*table.vectors(self.rows)[1:])

    def drift(self, planner: Planner, picks: Tensor) -> Tensor:
        """How far slots, basis and emotion logits of some of the texts have moved, relative to their size, squared."""
        now: Plan = planner(*self.table.vectors(self.rows[picks])[1:])
        picks = picks.to(now.gate.device)
        pairs = [(getattr(now, name), getattr(self.before, name)[picks]) for name in ("slots", "basis", "logits")]
        drift = [F.mse_loss(a.float(), b.float()) / b.float().pow(2).mean().clamp(min=1e-6) for a, b in pairs]
        return torch.stack(drift).mean()


def choose_memory(texts: Sequence[str], vectors: Tensor, count: int = MEMORY_TEXTS) -> list[str]:
    """At most `count` texts that cover the scenario: farthest-point sampling over their sentence vectors (N, D)."""
    if len(texts) <= count:
        return list(texts)
    chosen = [0]
    nearest = (vectors - vectors[0]).norm(dim=-1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (vectors - vectors[chosen[-1]]).norm(dim=-1))
    return [texts[i] for i in chosen]


def train_expert(
    lm: MotionLM,
    tokens: TokenCorpus,
    batches: BatchMaker,
    memory: Memory | None,
    config: ExpertConfig,
    *,
    progress: Callable[[int, int, Losses], None] | None = None,
    known_emotions: Sequence[str] = (),
    checkpoint: Checkpoint | None = None,
) -> list[dict[str, float]]:
    """Adds expert N + 1 to `lm` and trains it on a scenario; returns the history of losses.

    Args:
        lm: with planner; experts of earlier scenarios attached. Changed in place; everything is frozen at the end.
        tokens, batches: of the scenario's train split.
        memory: prompts of earlier scenarios, taken before this call.
        progress: called with step, steps and losses.
        known_emotions: emotions that the bundle has learnt; vectors of others may be learnt now.
        checkpoint: where to keep the state of the training; goes on from what is there, with the same result.

    Raises:
        InvalidRequest: no planner, or the bundle is full.
    """
    if lm.planner is None:
        raise InvalidRequest("this generator has no planner; train a base with CGED first")
    planner, home = lm.planner, lm.inferred.device.type
    torch.manual_seed(config.seed)
    optimiser, hook = _open(lm, tokens, memory, config, known_emotions)
    peaks = [group["lr"] for group in optimiser.param_groups]
    history: list[dict[str, float]] = []
    first = checkpoint.restore(optimiser, history) if checkpoint is not None else 0
    lm.train()
    for step in range(first, config.steps):
        torch.manual_seed(config.seed * 2**32 + step)
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * _schedule(step, config)
        with torch.autocast(home, torch.bfloat16):
            losses = expert_losses(lm, batches.batch(step), memory, config, step)
        optimiser.zero_grad(set_to_none=True)
        losses["total"].backward()
        nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], config.clip_norm)
        optimiser.step()
        if step % 10 == 0 or step == config.steps - 1:
            history.append({"step": step, **{name: value.item() for name, value in losses.items()}})
        if checkpoint is not None and (step + 1) % checkpoint.every == 0 and step + 1 < config.steps:
            checkpoint.save(step + 1, optimiser, history)
        if progress is not None:
            progress(step + 1, config.steps, losses)
    if hook is not None:
        hook.remove()
    lm.eval().requires_grad_(False)
    lm.attach_experts().freeze()
    planner.gate.freeze_key()
    planner.cged.freeze_rows()
    return history


def expert_losses(lm: MotionLM, batch: Batch, memory: Memory | None, config: ExpertConfig, step: int) -> Losses:
    """L = L_llm + lambda L_emo + memory; the newest expert is always among the top k."""
    assert lm.planner is not None and lm.experts is not None
    plan = lm.plan(batch.words, batch.word_mask)
    lm.experts.use(_training_weights(plan.gate, lm.planner.config.samoe.top_k, config, step))
    found: Losses = {"llm": lm.loss(batch.inputs, batch.targets, batch.mask, plan)}
    total = found["llm"]
    if config.emotion_loss and lm.planner.config.decouple:
        found["emotion"] = head_loss(plan.logits, batch.told)
        total = total + config.emotion_loss * found["emotion"]
    if memory is not None and config.plan_memory:
        found["memory"] = memory.drift(lm.planner, torch.randperm(len(memory.rows))[: config.memory_batch])
        total = total + config.plan_memory * found["memory"]
    return {"total": total, **found}


def _training_weights(gate: Tensor, top_k: int, config: ExpertConfig, step: int) -> Tensor:
    """(B, 1 + N): top k with older experts hidden at random; the newest alone in the controls."""
    newest = gate.shape[1] - 1
    if config.mode is not Mode.MIXTURE:
        weights = torch.zeros_like(gate.float())
        weights[:, newest] = 1.0
        return weights
    chance = config.mask_from * (1 - step / max(1, config.steps - 1))
    blocked = torch.rand_like(gate.float()) < chance
    blocked[:, newest] = False
    return top_k_weights(gate.float(), top_k, blocked=blocked, forced=newest)


def _open(
    lm: MotionLM, tokens: TokenCorpus, memory: Memory | None, config: ExpertConfig, known_emotions: Sequence[str]
) -> tuple[torch.optim.Optimizer, RemovableHandle | None]:
    """Makes the new expert's part of the model trainable; the rest stays frozen."""
    planner, bank = lm.planner, lm.attach_experts()
    assert planner is not None
    first = bank.count == 0
    lm.requires_grad_(False)
    planner.cged.add_rows(*emotion_rows(tokens, config.rows_per_emotion, seed=config.seed))
    if config.mode is Mode.SEQUENTIAL and bank.count:
        bank.reopen_last()
    else:
        planner.gate.add_key()
        bank.start_new()
    if config.mode is Mode.MIXTURE:
        _fit_key(planner, tokens, memory, config, first=first)
    own = [planner.cged.new_rows] if planner.cged.new_rows is not None else []
    emotions = {EMOTIONS.index(item.emotion) for item in tokens.items if item.emotion not in known_emotions}
    fresh = sorted(emotions - {EMOTIONS.index("neutral")})
    table, hook = _open_emotions(lm, fresh)
    shared = [*planner.basis.parameters(), *planner.cged.head.parameters()] if fresh else []
    for parameter in (*shared, *own):
        parameter.requires_grad_(True)
    rate = config.learning_rate
    groups: list[dict[str, Any]] = [{"params": [*bank.trainable(), *own], "lr": rate}]
    groups += [{"params": shared, "lr": rate * config.planner_rate}] if shared else []
    groups += [{"params": table, "lr": rate, "weight_decay": 0.0}] if table else []
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, betas=(0.9, 0.98)), hook


def _fit_key(
    planner: Planner, tokens: TokenCorpus, memory: Memory | None, config: ExpertConfig, *, first: bool
) -> None:
    texts = corpus_texts(tokens.items)
    remembered, before = (memory.texts, memory.before.gate) if memory is not None else ([], None)
    if not config.gate_memory:
        remembered, before = [], None
    # Every older scenario counts as much as the new one: the mean over all of them would protect each less and less.
    weight = config.gate_memory * max(1.0, len(remembered) / MEMORY_TEXTS)
    fit_key(planner, tokens.prompts, texts, remembered, before, weight=weight, with_query_net=first)


def _open_emotions(lm: MotionLM, fresh: Sequence[int]) -> tuple[list[nn.Parameter], RemovableHandle | None]:
    """Lets the vectors of emotions that nobody has shown before be learnt; those of known ones stay bit-identical."""
    if not fresh:
        return [], None
    weight = lm.emotion.weight
    assert isinstance(weight, nn.Parameter)
    allowed = torch.zeros(weight.shape[1], device=weight.device)
    allowed[list(fresh)] = 1.0
    weight.requires_grad_(True)
    # Without weight decay AdamW leaves a number alone whose gradient was always 0.
    return [weight], weight.register_hook(lambda grad: grad * allowed)


def _schedule(step: int, config: ExpertConfig) -> float:
    """Share of the peak learning rate: linear warm-up, then cosine to 2 %."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def show_progress(label: str, steps: int) -> Callable[[int, int, Losses], None]:
    """A progress bar with the losses and the time left."""
    bar = tqdm(total=steps, desc=label, unit="step", mininterval=1)

    def show(step: int, _: int, losses: Losses) -> None:
        bar.update(1)
        if step % 10 == 0:
            bar.set_postfix({name: f"{value.item():.3f}" for name, value in losses.items()}, refresh=False)
        if step == steps:
            bar.close()

    return show
