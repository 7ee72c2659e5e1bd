"""Stage 1b: trains the generator, with CGED but without experts: text, emotion and length in, motion codes out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from animoe.engine.prompt_encoder import PromptEncoder
from animoe.errors import BundleError
from animoe.models.motion_lm import MotionLM, MotionLMConfig
from animoe.models.tokenizer import Tokenizer
from animoe.motion.emotion import EMOTIONS
from animoe_trainer.backbone_tuning import Tuning, merge_tuning, start_tuning
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.dictionary import emotion_rows
from animoe_trainer.loop import LoopConfig, Losses, run_loop
from animoe_trainer.prompts import PromptTable
from animoe_trainer.sequences import UNSAID, Batch, BatchConfig, BatchMaker, TokenCorpus, corpus_texts, long_enough

EMOTION_LOSS = 0.1
"""Weight of the emotion head's loss (lambda of the paper)."""
ROWS_PER_EMOTION = 8


def train_base(
    corpus: Corpus,
    tokenizer: Tokenizer,
    prompts: PromptEncoder,
    out: Path,
    lm: MotionLMConfig,
    loop: LoopConfig,
    batch: BatchConfig,
    *,
    items: Sequence[Item] | None = None,
    emotion_loss: float = EMOTION_LOSS,
    tuning: Tuning | None = None,
    resume: bool = False,
    device: str = "cpu",
) -> MotionLM:
    """Trains and saves the generator (`motion_lm.safetensors`, `motion_lm.json`) in `out`.

    Args:
        items: what to train on; None = the train split of the whole corpus, with its mirror images.
        emotion_loss: weight of the emotion head's loss.
        tuning: train a LoRA beside a frozen backbone and merge it at the end; None trains all weights.
    """
    chosen = corpus.select("train", mirrored=True) if items is None else list(items)
    held_out = long_enough(corpus.select("val"))
    table = PromptTable(corpus_texts([*chosen, *held_out]), prompts, device=device)
    train = TokenCorpus(corpus, chosen, tokenizer, table)
    checks = TokenCorpus(corpus, held_out, tokenizer, table) if held_out else None
    return fit_generator(
        train,
        checks,
        out,
        lm,
        loop,
        batch,
        emotion_loss=emotion_loss,
        tuning=tuning,
        resume=resume,
        device=device,
    )


def fit_generator(
    train: TokenCorpus,
    held_out: TokenCorpus | None,
    out: Path,
    lm: MotionLMConfig,
    loop: LoopConfig,
    batch: BatchConfig,
    *,
    emotion_loss: float = EMOTION_LOSS,
    tuning: Tuning | None = None,
    resume: bool = False,
    device: str = "cpu",
) -> MotionLM:
    """`train_base` on codes that are there already; `held_out` is for the validation figure."""
    torch.manual_seed(loop.seed)
    batches = BatchMaker(train, batch, loop.seed)
    checks = BatchMaker(held_out, batch, loop.seed) if held_out is not None else None
    model = MotionLM(lm)
    if model.planner is not None:
        model.planner.cged.add_rows(*emotion_rows(train, ROWS_PER_EMOTION, seed=loop.seed))
        model.planner.cged.freeze_rows()
    model.to(device)
    if tuning is not None:
        start_tuning(model, tuning)

    def batch_losses(step: int) -> Losses:
        return generator_losses(model, batches.batch(step), emotion_loss)

    def validate(averaged: nn.Module) -> dict[str, float]:
        assert isinstance(averaged, MotionLM)
        if checks is None:
            return {}
        found = [generator_losses(averaged, checks.batch(step, evaluate=True), 0.0)["total"] for step in range(8)]
        return {"nats": float(np.mean([loss.item() for loss in found]))}

    trained = run_loop(model, out, loop, batch_losses, validate, resume=resume, label="motion LM")
    assert isinstance(trained, MotionLM)
    if tuning is not None:
        merge_tuning(trained)
    save_motion_lm(trained, out)
    return trained


def generator_losses(model: MotionLM, batch: Batch, emotion_loss: float) -> Losses:
    """L_llm and, with a planner, L_emo; "total" is their weighted sum."""
    if model.planner is None:
        return {"total": model.loss(batch.inputs, batch.targets, batch.mask)}
    plan = model.plan(batch.words, batch.word_mask)
    found = {"llm": model.loss(batch.inputs, batch.targets, batch.mask, plan)}
    if emotion_loss and model.planner.config.decouple:
        found["emotion"] = head_loss(plan.logits, batch.told)
    total = found["llm"] + emotion_loss * found.get("emotion", torch.zeros(()))
    return {"total": total, **found}


def head_loss(logits: Tensor, told: Tensor) -> Tensor:
    """L_emo: cross entropy (B, E) against told emotions (B,), over the emotions that occur in the batch (A7-8).

    An emotion that a scenario never shows would otherwise be unlearned.
    """
    said = told != UNSAID
    if not bool(said.any()):
        return logits.sum() * 0.0
    logits, told = logits[said].float(), told[said]
    present = torch.zeros(len(EMOTIONS), dtype=torch.bool, device=logits.device)
    present[told] = True
    return F.cross_entropy(logits.masked_fill(~present, -1e4), told)


def save_motion_lm(model: MotionLM, folder: Path) -> None:
    """Writes weights (safetensors, no pickle) and config; a pretrained backbone's own config is written out in full."""
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    save_file(state, folder / "motion_lm.safetensors")
    backbone: Any = model.backbone.config
    fields = asdict(model.config) | {"backbone": backbone.to_dict()}
    (folder / "motion_lm.json").write_text(json.dumps(fields, indent=1) + "\n")


def load_motion_lm(folder: Path) -> MotionLM:
    """Reads what `save_motion_lm` wrote.

    Raises:
        BundleError: files missing or damaged.
    """
    try:
        model = MotionLM(MotionLMConfig(**json.loads((folder / "motion_lm.json").read_text())))
        state = load_file(folder / "motion_lm.safetensors")
        if model.planner is not None:  # the dictionary has as many rows as were learnt
            cged = model.planner.cged
            cged.rows, cged.row_class = state["planner.cged.rows"].float(), state["planner.cged.row_class"]
            model.planner.gate.keys = state["planner.gate.keys"].float()
        model.load_state_dict(state)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise BundleError(f"no usable motion LM in {folder}: {error}") from error
    return model.eval()
