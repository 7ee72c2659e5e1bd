"""Generation in torch, many clips at once: what evaluation needs (the server has its own, in ONNX Runtime)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from animoe.models.backbone import states
from animoe.models.decode_step import sample_nucleus
from animoe.models.motion_lm import LMInputs, MotionLM
from animoe.models.planner import Plan
from animoe.models.samoe import top_k_weights
from animoe.models.sequence import LEFT_OPEN, MAX_LEFT, PROMPT_SLOTS, SLOT_BEGIN, SLOT_TOKEN
from animoe.models.tokenizer import Tokenizer
from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array
from animoe_trainer.prompts import PromptTable


@dataclass(frozen=True)
class Take:
    """One clip to generate. `emotion` None leaves it to the text; `tokens` is its length (4 frames each)."""

    text: str
    tokens: int
    emotion: str | None = None
    intensity: float = 1.0


@dataclass(frozen=True, eq=False)
class Performance:
    """codes: (T, G) of each take. weights: (takes, 1 + N) of the experts, None without experts."""

    codes: list[Array]
    weights: Array | None
    suggested: Array | None


@torch.no_grad()
def perform_takes(
    lm: MotionLM,
    table: PromptTable,
    takes: Sequence[Take],
    *,
    seed: int = 0,
    temperature: float = 0.75,
    top_p: float = 0.9,
    expert: int | None = None,
    batch: int = 256,
    noise: Sequence[int] | None = None,
) -> Performance:
    """Generates all takes; the same seed gives the same codes whatever the batch.

    Args:
        table: holds the takes' texts.
        noise: number of each take's noise (default: its place); takes of one number are drawn alike.
        expert: use this column of the gate alone (0 = base, 1 = first expert ...) instead of the gate's choice.
    """
    codes: dict[int, Array] = {}
    weights: dict[int, Array] = {}
    suggested: dict[int, Array] = {}
    order = sorted(range(len(takes)), key=lambda i: takes[i].tokens)
    lm.eval()
    for first in range(0, len(order), batch):
        picks = order[first : first + batch]
        numbers = picks if noise is None else [noise[i] for i in picks]
        drawn, used, plan = _one_batch(lm, table, [takes[i] for i in picks], numbers, seed, temperature, top_p, expert)
        for row, i in enumerate(picks):
            codes[i] = drawn[row, : takes[i].tokens]
            if used is not None:
                weights[i] = used[row].cpu().numpy()
            if plan is not None:
                suggested[i] = plan.emotion[row].float().cpu().numpy()
    every = range(len(takes))
    return Performance(
        [codes[i] for i in every],
        np.stack([weights[i] for i in every]) if weights else None,
        np.stack([suggested[i] for i in every]) if suggested else None,
    )


def _one_batch(
    lm: MotionLM,
    table: PromptTable,
    takes: Sequence[Take],
    noise: Sequence[int],
    seed: int,
    temperature: float,
    top_p: float,
    expert: int | None,
) -> tuple[Array, Tensor | None, Plan | None]:
    home, count, groups = lm.inferred.device, len(takes), lm.config.groups
    rows = torch.tensor([table.ids[take.text] for take in takes])
    sentence, words, mask = table.vectors(rows)
    plan = lm.plan(words, mask) if lm.planner is not None else None
    used = _mix(lm, plan, expert)
    longest = max(take.tokens for take in takes)
    draws = [np.random.default_rng((seed, i)).random((longest, groups), dtype=np.float32) for i in noise]
    uniform = torch.from_numpy(np.stack(draws)).to(home)
    emotion = torch.from_numpy(np.stack([_vector(take) for take in takes])).to(home)
    inferred = torch.tensor([float(take.emotion is None) for take in takes], device=home)
    totals = torch.tensor([take.tokens for take in takes], device=home)
    temperatures, nuclei = (torch.full((count,), value, device=home) for value in (temperature, top_p))
    slots = torch.tensor([*range(PROMPT_SLOTS), SLOT_BEGIN], device=home).repeat(count, 1)
    codes = torch.zeros(count, PROMPT_SLOTS + 1, groups, dtype=torch.long, device=home)
    cache, drawn = None, []
    for position in range(longest):
        length = slots.shape[1]
        left = (totals - position).clamp(min=0, max=MAX_LEFT)[:, None].expand(-1, length)
        inputs = LMInputs(
            sentence,
            slots,
            codes,
            emotion[:, None].expand(-1, length, -1),
            inferred[:, None].expand(-1, length),
            left.clamp(max=LEFT_OPEN),
        )
        hidden, cache = states(lm.backbone, lm.embed(inputs, plan), cache, keep=True)
        token = _draw(lm, hidden[:, -1], uniform[:, position], temperatures, nuclei)
        drawn.append(token)
        slots, codes = torch.full((count, 1), SLOT_TOKEN, device=home), token[:, None]
    return torch.stack(drawn, dim=1).cpu().numpy(), used, plan


def _mix(lm: MotionLM, plan: Plan | None, expert: int | None) -> Tensor | None:
    if lm.experts is None or plan is None or lm.planner is None:
        return None
    if expert is None:
        weights = top_k_weights(plan.gate.float(), lm.planner.config.samoe.top_k)
    else:
        weights = torch.zeros_like(plan.gate)
        weights[:, expert] = 1.0
    lm.experts.use(weights)
    return weights


def _vector(take: Take) -> Array:
    row = np.zeros(len(EMOTIONS), dtype=np.float32)
    if take.emotion not in (None, "neutral"):
        row[EMOTIONS.index(str(take.emotion))] = take.intensity
    return row


def _draw(lm: MotionLM, hidden: Tensor, uniform: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
    drawn: list[Tensor] = []
    for group in range(lm.config.groups):
        logits = lm.heads.logits(hidden, group, torch.stack(drawn, dim=-1) if drawn else hidden)
        drawn.append(sample_nucleus(logits.float(), uniform[:, group], temperature, top_p))
    return torch.stack(drawn, dim=-1)


@torch.no_grad()
def decode_all(tokenizer: Tokenizer, codes: Sequence[Array], batch: int = 256) -> list[Array]:
    """Features (4T, 140) of codes (T, G); the decoder is causal, so padding changes nothing."""
    home = tokenizer.input_mean.device
    found: dict[int, Array] = {}
    order = sorted(range(len(codes)), key=lambda i: len(codes[i]))
    for first in range(0, len(order), batch):
        picks = order[first : first + batch]
        longest = len(codes[picks[-1]])
        padded = np.stack([np.pad(codes[i], ((0, longest - len(codes[i])), (0, 0)), mode="edge") for i in picks])
        features = tokenizer.decode(torch.from_numpy(padded).to(home))[0].float().cpu().numpy()
        for row, i in enumerate(picks):
            found[i] = features[row, : 4 * len(codes[i])]
    return [found[i] for i in range(len(codes))]
