"""Trains the evaluator on the train split; val selects the extractor, test is only reported (spec C1, C3)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from animoe.errors import InvalidRequest
from animoe.models.evaluator import (
    EMBEDDING_NORM,
    EmotionClassifier,
    EvaluatorConfig,
    EvaluatorNets,
    Extractor,
    Referee,
)
from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array
from animoe_trainer import metrics
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.evaluation_set import MIN_FRAMES, caption_group
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.evaluator_data import Augmentation, CaptionTable, MotionStore, balanced_weights
from animoe_trainer.loop import LoopConfig, Losses, run_loop
from animoe_trainer.metrics import principal_components, retrieval_hits
from animoe_trainer.pools import caption_matches, fixed_pools
from animoe_trainer.referee import kinematic_statistics

# Crops for captions keep most of a clip ("walks, then turns"); for emotion a second or two shows it.
EXTRACTOR_CROPS = Augmentation(frames=224, shortest=0.8)
EMOTION_CROPS = Augmentation(frames=144, shortest=0.35)
REFEREE_WINDOWS = (1.0, 0.6, 0.6)
"""Shares of a clip whose statistics the referee learns from."""
SMOOTHING = 0.1


@dataclass(frozen=True)
class EvaluatorTraining:
    """How long to train; steps of the extractor, the classifier gets as many and the referee `referee_steps`."""

    steps: int = 400
    batch: int = 96
    learning_rate: float = 2e-3
    referee_steps: int = 800
    referee_batch: int = 128
    seed: int = 0

    def loop(self) -> LoopConfig:
        """Settings of the shared training loop."""
        return LoopConfig(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=min(50, self.steps // 4),
            weight_decay=0.05,
            ema=0.99,
            checkpoint_every=self.steps,
            validate_every=max(25, self.steps // 6),
            seed=self.seed,
        )


def train_evaluator(
    corpus: Corpus,
    sentences: Mapping[str, Array],
    out: Path,
    training: EvaluatorTraining | None = None,
    *,
    device: str = "cpu",
    reconstructions: Sequence[Array] | None = None,
) -> Evaluator:
    """Trains, saves and returns the evaluator as it was stored (half precision).

    Args:
        sentences: text -> sentence vector of every text of the corpus.
        out: folder for `evaluator.safetensors`, `evaluator.json`, and the curves of both trainings.
        reconstructions: features (T, >= 140) of `corpus.items` after the tokenizer, in that order, so that the
            tokenizer's own traces are not taken for an emotion.

    Raises:
        InvalidRequest: no training clips, or not one reconstruction per item.
    """
    training = training or EvaluatorTraining()
    if reconstructions is not None and len(reconstructions) != len(corpus.items):
        raise InvalidRequest(f"{len(corpus.items)} items but {len(reconstructions)} reconstructions")
    kept = [i for i, item in enumerate(corpus.items) if item.split == "train" and _usable(item)]
    if not kept:
        raise InvalidRequest("no clip of the packs can be trained on; mark rows of pack.csv as split 'train'")
    items = [corpus.items[i] for i in kept]
    rebuilt = None if reconstructions is None else [reconstructions[i] for i in kept]
    torch.manual_seed(training.seed)
    store = MotionStore(corpus, items, device, rebuilt)
    width = len(next(iter(sentences.values())))
    config = EvaluatorConfig(sentence_dim=width, statistics=len(kinematic_statistics(corpus.frames(items[0]))))
    nets = EvaluatorNets(config).to(device)
    nets.frame_mean.copy_(store.mean)
    nets.frame_std.copy_(store.std)
    captions = CaptionTable(items, sentences, [caption_group(item) for item in items], device)
    nets.extractor = _train_extractor(nets, store, captions, corpus, sentences, out, training)
    nets.classifier = _train_classifier(nets, store, corpus, out, training)
    _train_referee(nets.referee, corpus, items, rebuilt, training, device)
    evaluator = Evaluator(nets, {}, device)
    embeddings = evaluator.embed_motion([corpus.frames(item) for item in items if not item.mirrored])
    found = principal_components(embeddings, nets.components.shape[1])
    nets.components[:, : found.shape[1]].copy_(torch.from_numpy(found))
    evaluator.save(out)
    evaluator = Evaluator.load(out, device)
    evaluator.figures = held_out_figures(evaluator, corpus, sentences, reconstructions)
    evaluator.save(out)
    return evaluator


def _train_extractor(
    nets: EvaluatorNets,
    store: MotionStore,
    captions: CaptionTable,
    corpus: Corpus,
    sentences: Mapping[str, Array],
    out: Path,
    training: EvaluatorTraining,
) -> Extractor:
    """The extractor with the best R-Precision on validation items."""
    weights = _pack_balanced(store.items)
    best: list[Any] = [-1.0, None]

    def batch_losses(step: int) -> Losses:
        generator = torch.Generator().manual_seed(training.seed * 2**32 + step)
        picks = torch.multinomial(weights, training.batch, replacement=True, generator=generator)
        frames, lengths = store.crops(picks, EXTRACTOR_CROPS, generator)
        vectors, same = captions.draw(picks, generator)
        texts = nets.extractor.embed_text(vectors + 0.02 * torch.randn_like(vectors))
        motions = nets.extractor.embed_motion(frames, lengths)
        return {"total": contrastive_loss(texts, motions, same, nets.extractor.log_scale)}

    def validate(averaged: nn.Module) -> dict[str, float]:
        judge = EvaluatorNets(nets.config).to(store.device)
        judge.load_state_dict(nets.state_dict())
        judge.extractor.load_state_dict(averaged.state_dict())
        items = _held_out(corpus, "val")
        if not items:
            best[1] = copy.deepcopy(averaged)
            return {}
        r1 = _retrieval(Evaluator(judge, {}, store.device), corpus, items, sentences)["r1"]
        if r1 >= best[0]:
            best[:] = [r1, copy.deepcopy(averaged)]
        return {"r1": r1}

    run_loop(
        nets.extractor, out / "extractor", training.loop(), batch_losses, validate, resume=False, label="extractor"
    )
    chosen: Extractor = best[1]
    return chosen


def contrastive_loss(texts: Tensor, motions: Tensor, same: Tensor, log_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of paired embeddings (B, D); pairs that say the same (B, B) are no negatives."""
    with torch.autocast(texts.device.type, enabled=False):
        logits = texts.float() @ motions.float().T / EMBEDDING_NORM**2 * log_scale.clamp(max=4.6).exp()
        excluded = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        target = torch.arange(len(same), device=same.device)
        there = F.cross_entropy(logits.masked_fill(excluded, -torch.inf), target)
        back = F.cross_entropy(logits.T.masked_fill(excluded.T, -torch.inf), target)
    return (there + back) / 2


class _Taught(nn.Module):
    """The classifier with two more heads that are thrown away: style and content have many more clips than emotion."""

    def __init__(self, classifier: EmotionClassifier, width: int, styles: int, contents: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.style = nn.Linear(width, styles)
        self.content = nn.Linear(width, contents)


def _train_classifier(
    nets: EvaluatorNets, store: MotionStore, corpus: Corpus, out: Path, training: EvaluatorTraining
) -> EmotionClassifier:
    items = store.items
    labels, styles, contents = (
        _numbered([getattr(item, name) for item in items], known)
        for name, known in (("emotion", EMOTIONS), ("style", ()), ("content", ()))
    )
    labels, styles, contents = labels.to(store.device), styles.to(store.device), contents.to(store.device)
    sizes = int(styles.max()) + 1, int(contents.max()) + 1
    model = _Taught(nets.classifier, nets.config.emotion_width, *sizes).to(store.device)
    weights = balanced_weights(items)

    def batch_losses(step: int) -> Losses:
        generator = torch.Generator().manual_seed(training.seed * 2**32 + 2**31 + step)
        picks = torch.multinomial(weights, training.batch, replacement=True, generator=generator)
        frames, lengths = store.crops(picks, EMOTION_CROPS, generator)
        rows = picks.to(store.device)
        hidden = F.leaky_relu(model.classifier.encoder(frames, lengths), 0.2)
        with torch.autocast(frames.device.type, enabled=False):
            hidden = hidden.float()
            emotion = F.cross_entropy(nets.classifier.emotion(hidden), labels[rows], label_smoothing=SMOOTHING)
            style = F.cross_entropy(model.style(hidden), styles[rows], label_smoothing=SMOOTHING)
            content = F.cross_entropy(model.content(hidden), contents[rows], label_smoothing=SMOOTHING)
        return {"total": emotion + 0.3 * style + 0.1 * content, "emotion": emotion, "style": style}

    def validate(averaged: nn.Module) -> dict[str, float]:
        assert isinstance(averaged, _Taught)
        return _classifier_check(averaged.classifier, nets, corpus, store.device)

    trained = run_loop(
        model, out / "classifier", training.loop(), batch_losses, validate, resume=False, label="emotion classifier"
    )
    assert isinstance(trained, _Taught)
    return trained.classifier


def _classifier_check(classifier: nn.Module, nets: EvaluatorNets, corpus: Corpus, device: str) -> dict[str, float]:
    items = _held_out(corpus, "val")
    if not items:
        return {}
    judge = EvaluatorNets(nets.config).to(device)
    judge.load_state_dict(nets.state_dict())
    judge.classifier.load_state_dict(classifier.state_dict())
    found = Evaluator(judge, {}, device).emotion_probabilities([corpus.frames(item) for item in items])
    labels = np.array([EMOTIONS.index(item.emotion) for item in items])
    return {"wf1": metrics.emotion_scores(labels, found.argmax(axis=1), len(EMOTIONS))["wf1"]}


def _numbered(names: Sequence[str], known: Sequence[str]) -> Tensor:
    order = list(known) or sorted(set(names))
    return torch.tensor([order.index(name) for name in names])


def _pack_balanced(items: Sequence[Item]) -> Tensor:
    """(n,) sampling weights: packs by the square root of their size."""
    sizes: dict[str, int] = {}
    for item in items:
        sizes[item.pack] = sizes.get(item.pack, 0) + 1
    return torch.tensor([sizes[item.pack] ** -0.5 for item in items])


def _train_referee(
    referee: Referee,
    corpus: Corpus,
    items: Sequence[Item],
    rebuilt: Sequence[Array] | None,
    training: EvaluatorTraining,
    device: str,
) -> None:
    """Small networks on statistics of whole clips and windows, each on its own bootstrap sample of the clips."""
    rng = np.random.default_rng((training.seed, 77))
    picks = [i for i, item in enumerate(items) if not item.mirrored]  # its statistics know no sides
    rows, owners = [], []
    for i in tqdm(picks, desc="referee statistics", leave=False, mininterval=2):
        for source in (corpus.frames(items[i]), *([rebuilt[i]] if rebuilt is not None else [])):
            for share in REFEREE_WINDOWS:
                rows.append(kinematic_statistics(_window(source, share, rng)))
                owners.append(i)
    table = torch.from_numpy(np.stack(rows)).to(device)
    referee.mean.copy_(table.mean(0))
    referee.std.copy_(table.std(0).clamp(min=1e-3))
    owner = np.array(owners)
    base = balanced_weights([items[i] for i in owners]).numpy()
    members = referee.into.shape[0]
    weights = []
    for _ in range(members):
        drawn = np.bincount(rng.integers(len(items), size=len(items)), minlength=len(items))
        weights.append(base * drawn[owner])
    drawn_weights = torch.from_numpy(np.stack(weights) + 1e-9)
    labels = torch.tensor([EMOTIONS.index(items[i].emotion) for i in owners], device=device)
    optimiser = torch.optim.AdamW(referee.parameters(), lr=3e-3, weight_decay=1.0)
    referee.train()
    generator = torch.Generator().manual_seed(training.seed + 77)
    for _ in tqdm(range(training.referee_steps), desc="referee", leave=False, mininterval=2):
        chosen = torch.multinomial(drawn_weights, training.referee_batch, replacement=True, generator=generator)
        chosen = chosen.to(device)
        logits = referee.member_logits(table[chosen])
        # No label smoothing: it would cap the probability and bend the dial of intensity near its top.
        loss = F.cross_entropy(logits.flatten(0, 1), labels[chosen].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    referee.eval()


def _window(motion: Array, share: float, rng: np.random.Generator) -> Array:
    length = max(MIN_FRAMES, min(len(motion), round(share * len(motion))))
    start = int(rng.integers(len(motion) - length + 1)) if len(motion) > length else 0
    return motion[start : start + length]


def _usable(item: Item) -> bool:
    """What actors did only: a blended intensity has no true label."""
    return item.count >= MIN_FRAMES and item.intensity == 1.0


def _held_out(corpus: Corpus, split: str) -> list[Item]:
    return [item for item in corpus.select(split) if _usable(item)]


def _retrieval(
    evaluator: Evaluator, corpus: Corpus, items: Sequence[Item], sentences: Mapping[str, Array]
) -> dict[str, float]:
    """R-Precision of real motions on fixed mixed pools, mean over all captions' first three."""
    texts = [item.texts[0] for item in items]
    matches = caption_matches(texts, [item.texts for item in items], [caption_group(item) for item in items])
    pools = fixed_pools(len(items))
    motions = evaluator.embed_motion([corpus.frames(item) for item in items])
    hits = retrieval_hits(evaluator.embed_text(np.stack([sentences[t] for t in texts])), motions, matches, pools)
    means = hits.mean(axis=0)
    return {
        "r1": float(means[0]),
        "r2": float(means[1]),
        "r3": float(means[2]),
        "pool_size": pools.size,
        "items": len(items),
        "chance": metrics.chance_hits(matches, pools),
    }


def held_out_figures(
    evaluator: Evaluator,
    corpus: Corpus,
    sentences: Mapping[str, Array],
    reconstructions: Sequence[Array] | None = None,
) -> dict[str, Any]:
    """What the judges reach on real held-out motion, and after the tokenizer, which no generator can pass.

    Returns:
        split -> `retrieval` (pack -> R-Precision, pool size, chance), `emotion` and, with reconstructions of
        `corpus.items`, `reconstructed_emotion` (see `emotion_figures`).
    """
    figures: dict[str, Any] = {}
    rebuilt = dict(zip(corpus.items, reconstructions, strict=True)) if reconstructions is not None else {}
    for split in ("val", "test"):
        items = _held_out(corpus, split)
        if not items:
            continue
        packs = sorted({item.pack for item in items})
        retrieval = {"all": _retrieval(evaluator, corpus, items, sentences)} | {
            pack: _retrieval(evaluator, corpus, [i for i in items if i.pack == pack], sentences) for pack in packs
        }
        figures[split] = {"retrieval": retrieval}
        figures[split]["emotion"] = emotion_figures(evaluator, items, [corpus.frames(item) for item in items])
        if rebuilt:
            motions = [rebuilt[item] for item in items]
            figures[split]["reconstructed_emotion"] = emotion_figures(evaluator, items, motions)
    return figures


def emotion_figures(evaluator: Evaluator, items: Sequence[Item], motions: Sequence[Array]) -> dict[str, Any]:
    """Scores of classifier and referee on motions of items, with floor, confusion (true class by row), agreement."""
    labels = np.array([EMOTIONS.index(item.emotion) for item in items])
    said = {
        "classifier": evaluator.emotion_probabilities(motions).argmax(axis=1),
        "referee": evaluator.referee_probabilities(motions).argmax(axis=1),
    }
    figures: dict[str, Any] = {
        "clips": len(items),
        "floor_wf1": metrics.majority_floor(labels, len(EMOTIONS)),
        "agreement": float((said["classifier"] == said["referee"]).mean()),
    }
    for name, predictions in said.items():
        figures[name] = metrics.emotion_scores(labels, predictions, len(EMOTIONS)) | {
            "confusion": metrics.confusion(labels, predictions, len(EMOTIONS)).tolist()
        }
    return figures
