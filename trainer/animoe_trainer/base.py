"""Stage 1b: trains the motion LM on all packs: text, emotion and length in, motion codes out. No experts yet.

Emotion must be a control and not only a word. Two thirds of the acted clips are therefore shown with a *neutral*
description of the same content ("a person walks") and the emotion vector alone says how; the rest keep their own words,
with the vector or with the flag that leaves the emotion to the text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from animoe.engine.prompt_encoder import PromptEncoder
from animoe.errors import BundleError, InvalidRequest
from animoe.models.motion_lm import LMInputs, MotionLM, MotionLMConfig
from animoe.models.sequence import LEFT_OPEN, MAX_LEFT, PROMPT_SLOTS, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN
from animoe.models.tokenizer import Tokenizer
from animoe.motion.emotion import EmotionKey
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.rotations import Array
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.loop import LoopConfig, Losses, run_loop
from animoe_trainer.tokenizer import tokenise_all

MIN_TOKENS = 2
Batch = tuple[LMInputs, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class BaseConfig:
    """How batches are made.

    crop_tokens: longest crop (40 tokens = 5.3 s). acted_boost: how much likelier a clip with an acted emotion is drawn.
    corrupt: share of context tokens replaced by another clip's, so that sampling errors do not derail the model.
    """

    batch: int = 64
    crop_tokens: int = 40
    acted_boost: float = 6.0
    corrupt: float = 0.06
    from_start: float = 0.5
    open_end: float = 0.3
    drop_text: float = 0.1


class TokenCorpus:
    """Codes of every item at all four frame offsets, and the sentence vectors of its texts."""

    def __init__(self, corpus: Corpus, items: Sequence[Item], tokenizer: Tokenizer, prompts: PromptEncoder) -> None:
        self.items = long_enough(items)
        if not self.items:
            raise InvalidRequest("no clip of the packs is long enough to train on")
        # Every clip started at frame 0, 1, 2 and 3: four tokenisations of the same motion.
        offsets = range(FRAMES_PER_TOKEN)
        found = tokenise_all(tokenizer, [corpus.frames(item)[offset:] for item in self.items for offset in offsets])
        self.codes = [found[i : i + FRAMES_PER_TOKEN] for i in range(0, len(found), FRAMES_PER_TOKEN)]
        texts = sorted({t for item in self.items for t in item.texts})
        vectors = [prompts.encode(text) for text in tqdm(texts, desc="embedding texts", leave=False)]
        self.sentences = dict(zip(texts, vectors, strict=True))
        self.plain = _plain_texts(self.items)


def long_enough(items: Sequence[Item]) -> list[Item]:
    """Items that hold two tokens at any frame offset."""
    return [item for item in items if item.count >= FRAMES_PER_TOKEN * (MIN_TOKENS + 1)]


def _plain_texts(items: Sequence[Item]) -> dict[tuple[str, bool], list[str]]:
    """(content, mirrored) -> descriptions of that content performed neutrally in an ordinary style."""
    plain: dict[tuple[str, bool], list[str]] = {}
    for item in items:
        if item.emotion == "neutral" and item.style == "normal":
            plain.setdefault((item.content, item.mirrored), []).extend(item.texts)
    return plain


class BatchMaker:
    """Draws training sequences; the same step always gives the same batch."""

    def __init__(self, tokens: TokenCorpus, config: BaseConfig, sentence_dim: int, seed: int) -> None:
        self.tokens, self.config, self.seed = tokens, config, seed
        self.sentence_dim = sentence_dim
        totals: dict[str, int] = {}
        for item in tokens.items:
            totals[item.pack] = totals.get(item.pack, 0) + item.count
        boost = {True: config.acted_boost, False: 1.0}
        weights = [
            np.sqrt(item.count) * boost[item.emotion != "neutral"] / totals[item.pack] ** 0.4 for item in tokens.items
        ]
        self.weights = np.array(weights) / np.sum(weights)

    def batch(self, step: int, *, evaluate: bool = False) -> Batch:
        """Inputs, targets (B, S, G) and the mask (B, S) of positions whose next token counts."""
        rng = np.random.default_rng((self.seed, step, int(evaluate)))
        picks = rng.choice(len(self.tokens.items), size=self.config.batch, p=self.weights)
        rows = [self._sequence(int(i), rng, evaluate) for i in picks]
        length = max(len(r["slots"]) for r in rows)
        arrays = {key: np.stack([_padded(r[key], length) for r in rows]) for key in rows[0] if key != "sentence"}
        sentence = torch.from_numpy(np.stack([r["sentence"] for r in rows]))
        t = {key: torch.from_numpy(value) for key, value in arrays.items()}
        inputs = LMInputs(sentence, t["slots"], t["codes"], t["emotion"], t["inferred"], t["left"])
        return inputs, t["targets"], t["mask"]

    def _sequence(self, index: int, rng: np.random.Generator, evaluate: bool) -> dict[str, Array]:
        config, item = self.config, self.tokens.items[index]
        clip = self.tokens.codes[index][int(rng.integers(FRAMES_PER_TOKEN))]
        total = len(clip)
        start = 0 if rng.random() < config.from_start else int(rng.integers(max(1, total - MIN_TOKENS)))
        codes = clip[start : start + config.crop_tokens]
        sentence, emotion, inferred = self._condition(item, rng, evaluate)
        count = len(codes)
        slots = np.array([*range(PROMPT_SLOTS), SLOT_BEGIN if start == 0 else SLOT_RESUME, *[SLOT_TOKEN] * (count - 1)])
        seen = np.zeros((len(slots), codes.shape[1]), dtype=np.int64)
        seen[PROMPT_SLOTS + 1 :] = codes[:-1]
        if not evaluate:
            self._corrupt(seen[PROMPT_SLOTS + 1 :], rng)
        targets = np.zeros_like(seen)
        targets[PROMPT_SLOTS:] = codes
        left = np.full(len(slots), LEFT_OPEN)
        if rng.random() >= config.open_end:
            left[PROMPT_SLOTS:] = np.minimum(total - start - np.arange(count), MAX_LEFT)
            left[:PROMPT_SLOTS] = left[PROMPT_SLOTS]
        return {
            "sentence": sentence,
            "slots": slots,
            "codes": seen,
            "targets": targets,
            "emotion": np.tile(emotion, (len(slots), 1)),
            "inferred": np.full(len(slots), inferred, dtype=np.float32),
            "left": left,
            "mask": np.arange(len(slots)) >= PROMPT_SLOTS,
        }

    def _condition(self, item: Item, rng: np.random.Generator, evaluate: bool) -> tuple[Array, Array, float]:
        """Sentence vector, emotion vector and the flag "emotion left to the text"."""
        own = self.tokens.sentences[str(rng.choice(item.texts))]
        given = EmotionKey(0.0, {item.emotion: 1.0}).vector
        draw = rng.random()
        plain = self.tokens.plain.get((item.content, item.mirrored), [])
        if item.emotion != "neutral" and plain and draw < 0.65:
            own, inferred = self.tokens.sentences[str(rng.choice(plain))], 0.0
        else:
            inferred = float(draw > 0.82) if item.emotion != "neutral" else float(draw > 0.7)
        if not evaluate and rng.random() < self.config.drop_text:
            own = np.zeros(self.sentence_dim, dtype=np.float32)
        return own, np.zeros_like(given) if inferred else given, inferred

    def _corrupt(self, seen: Array, rng: np.random.Generator) -> None:
        hit = np.flatnonzero(rng.random(len(seen)) < self.config.corrupt)
        for position in hit:
            other = self.tokens.codes[int(rng.integers(len(self.tokens.codes)))][0]
            seen[position] = other[int(rng.integers(len(other)))]


def _padded(row: Array, length: int) -> Array:
    return np.pad(row, [(0, length - len(row))] + [(0, 0)] * (row.ndim - 1))


def train_base(
    corpus: Corpus,
    tokenizer: Tokenizer,
    prompts: PromptEncoder,
    out: Path,
    lm: MotionLMConfig,
    loop: LoopConfig,
    base: BaseConfig,
    *,
    resume: bool = False,
    device: str = "cpu",
) -> MotionLM:
    """Trains and saves the generator (`motion_lm.safetensors`, `motion_lm.json`) in `out`."""
    torch.manual_seed(loop.seed)
    train = TokenCorpus(corpus, corpus.select("train", mirrored=True), tokenizer, prompts)
    held_out = long_enough(corpus.select("val"))
    batches = BatchMaker(train, base, lm.sentence_dim, loop.seed)
    checks = None
    if held_out:
        checks = BatchMaker(TokenCorpus(corpus, held_out, tokenizer, prompts), base, lm.sentence_dim, loop.seed)
    model = MotionLM(lm).to(device)

    def batch_losses(step: int) -> Losses:
        inputs, targets, mask = to_device(batches.batch(step), device)
        return {"total": model.loss(inputs, targets, mask)}

    def validate(averaged: nn.Module) -> dict[str, float]:
        assert isinstance(averaged, MotionLM)
        if checks is None:
            return {}
        losses = []
        for step in range(8):
            inputs, targets, mask = to_device(checks.batch(step, evaluate=True), device)
            losses.append(averaged.loss(inputs, targets, mask).item())
        return {"nats": float(np.mean(losses))}

    trained = run_loop(model, out, loop, batch_losses, validate, resume=resume, label="motion LM")
    assert isinstance(trained, MotionLM)
    save_motion_lm(trained, out)
    return trained


def to_device(batch: Batch, device: str) -> Batch:
    """The same batch on another device."""
    inputs, targets, mask = batch
    moved = LMInputs(**{name: tensor.to(device) for name, tensor in vars(inputs).items()})
    return moved, targets.to(device), mask.to(device)


def save_motion_lm(model: MotionLM, folder: Path) -> None:
    """Writes weights (safetensors, no pickle) and config; a pretrained backbone's own config is written out in full."""
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "motion_lm.safetensors")
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
        state = {k: v.float() for k, v in load_file(folder / "motion_lm.safetensors").items()}
        model.load_state_dict(state)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise BundleError(f"no usable motion LM in {folder}: {error}") from error
    return model.eval()
