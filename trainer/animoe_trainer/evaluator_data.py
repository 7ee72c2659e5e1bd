"""Motions as the evaluator's networks want them: all frames on the device once, batches by indices only."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from animoe.engine.prompt_encoder import PromptEncoder
from animoe.errors import InvalidRequest, ShapeError
from animoe.models.evaluator import MIN_FRAMES, MOTION_COUNT
from animoe.models.tokenizer import Tokenizer
from animoe.motion.features import CONTACTS, FEATURE_COUNT, PLANAR_VELOCITY, POSITION_COUNT, heading_positions
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.rotations import Array
from animoe_trainer import tokenizer as tokens
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.performer import decode_all

MIN_STD = 0.05
"""A channel that hardly moves must not be blown up."""
_RATES = PLANAR_VELOCITY.stop
"""Leading features that are per second: yaw rate and planar velocity. They change with the tempo."""


def network_inputs(features: Array) -> Array:
    """Features (T, >= 140), with or without heading positions, -> (max(T, 4), 199) float32 without contacts.

    Raises:
        ShapeError: not features, or not finite.
    """
    if features.ndim != 2 or features.shape[0] < 1 or features.shape[1] < FEATURE_COUNT:
        raise ShapeError(f"a motion must be features (T, {FEATURE_COUNT}) or wider, got {features.shape}")
    if not np.isfinite(features).all():
        raise ShapeError("a motion holds NaN or infinite features; count it as failed instead of judging it")
    whole = features.shape[1] >= FEATURE_COUNT + POSITION_COUNT
    kept = features[:, FEATURE_COUNT : FEATURE_COUNT + POSITION_COUNT] if whole else heading_positions(features)
    frames = np.concatenate([features[:, : CONTACTS.start], kept], axis=1).astype(np.float32)
    return np.pad(frames, ((0, max(0, MIN_FRAMES - len(frames))), (0, 0)), mode="edge")


def length_batches(motions: Sequence[Array], batch: int = 64) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Motions of like length together: their indices, frames (B, T, 199) zero behind the true lengths (B,)."""
    order = sorted(range(len(motions)), key=lambda i: len(motions[i]))
    for first in range(0, len(order), batch):
        picks = order[first : first + batch]
        frames = [network_inputs(motions[i]) for i in picks]
        lengths = torch.tensor([len(f) for f in frames])
        padded = np.zeros((len(picks), int(lengths.max()), MOTION_COUNT), dtype=np.float32)
        for row, one in zip(padded, frames, strict=True):
            row[: len(one)] = one
        yield picks, torch.from_numpy(padded), lengths


@dataclass(frozen=True)
class Augmentation:
    """How much a training crop differs from its clip.

    shortest: least share of the clip that a crop keeps. tempo, amplitude: half-widths of factors around 1.
    offset: of a constant posture change, frame: of noise per frame, both in normalised units.
    """

    frames: int
    shortest: float = 0.7
    tempo: float = 0.08
    amplitude: float = 0.1
    offset: float = 0.1
    frame: float = 0.05


class MotionStore:
    """Frames of many items on a device; crops are cut there, without a loop over items.

    Args:
        items: what can be drawn, by number.
        reconstructions: features (T, >= 140) of the items after the tokenizer, in their order; drawn half the time.
    """

    def __init__(
        self, corpus: Corpus, items: Sequence[Item], device: str, reconstructions: Sequence[Array] | None = None
    ) -> None:
        if not items:
            raise InvalidRequest("no clip of the packs can be trained on; mark rows of pack.csv as split 'train'")
        if reconstructions is not None and len(reconstructions) != len(items):
            raise InvalidRequest(f"{len(items)} training clips but {len(reconstructions)} reconstructions")
        self.items, self.device = list(items), device
        motions = [network_inputs(corpus.frames(item)) for item in items]
        self.variants = 1 if reconstructions is None else 2
        motions += [network_inputs(r) for r in reconstructions or ()]
        counts = np.array([len(m) for m in motions])
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        frames = np.concatenate(motions)
        self.mean = torch.from_numpy(frames.mean(axis=0))
        self.std = torch.from_numpy(np.maximum(frames.std(axis=0), MIN_STD))
        # Half precision: a thousandth of a standard deviation, at half the memory.
        normalised = ((torch.from_numpy(frames) - self.mean) / self.std).clamp(-30, 30).half()
        self.frames = normalised.to(device)
        self.starts = torch.from_numpy(starts).to(device)
        self.counts = torch.from_numpy(counts).to(device)
        self.shift = (self.mean / self.std)[:_RATES].to(device)

    def crops(self, picks: Tensor, augmentation: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Crops of items: normalised frames (B, augmentation.frames, 199) and true lengths (B,), on the device.

        Args:
            picks: (B,) item numbers, on the CPU.
            generator: on the CPU, so that a run repeats on any device.
        """
        a, batch = augmentation, len(picks)
        draw = torch.rand(batch, 5, generator=generator)
        noise = torch.randn(batch, 1, MOTION_COUNT, generator=generator).to(self.device)
        variant = torch.randint(self.variants, (batch,), generator=generator)
        rows = (picks + variant * len(self.items)).to(self.device)
        draw = draw.to(self.device)
        tempo = 1 + a.tempo * (2 * draw[:, 0] - 1)
        starts, counts = self.starts[rows], self.counts[rows]
        share = a.shortest + (1 - a.shortest) * draw[:, 1]
        lengths = ((counts * share) / tempo).long().clamp(MIN_FRAMES, a.frames)
        span = (lengths - 1) * tempo
        offset = draw[:, 2] * (counts - 1 - span).clamp(min=0)
        times = torch.arange(a.frames, device=self.device)
        places = (offset[:, None] + times * tempo[:, None]).clamp(max=counts[:, None] - 1)
        below = places.floor().long()
        above = torch.minimum(below + 1, counts[:, None] - 1)
        part = (places - below)[..., None]
        x = torch.lerp(self.frames[starts[:, None] + below].float(), self.frames[starts[:, None] + above].float(), part)
        rates = x[..., :_RATES] * tempo[:, None, None] + self.shift * (tempo[:, None, None] - 1)
        x = torch.cat([rates, x[..., _RATES:]], dim=-1)
        mask = (times < lengths[:, None])[..., None]
        middle = (x * mask).sum(1, keepdim=True) / lengths[:, None, None]
        factor = 1 + a.amplitude * (2 * draw[:, 3] - 1)
        x = middle + factor[:, None, None] * (x - middle) + a.offset * noise
        x = x + a.frame * torch.randn(x.shape, device=self.device)
        return x * mask, lengths


class CaptionTable:
    """Captions of items by number, and which of them say the same; on a device.

    Args:
        sentences: text -> sentence vector.
        groups: what each item's captions were written from; items of one group are no negatives of each other.
    """

    def __init__(
        self, items: Sequence[Item], sentences: Mapping[str, Array], groups: Sequence[object], device: str
    ) -> None:
        texts = sorted({text for item in items for text in item.texts})
        number = {text: i for i, text in enumerate(texts)}
        most = max(len(item.texts) for item in items)
        self.vectors = torch.from_numpy(np.stack([sentences[t] for t in texts]).astype(np.float32)).to(device)
        rows = [[number[t] for t in item.texts] for item in items]
        self.texts = torch.tensor([row + [-1] * (most - len(row)) for row in rows])
        self.counts = torch.tensor([len(row) for row in rows])
        ids: dict[object, int] = {}
        self.groups = torch.tensor([ids.setdefault(group, len(ids)) for group in groups])
        self.device = device

    def draw(self, picks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One caption of each item: sentence vectors (B, S), and (B, B) whether motion j answers caption i."""
        which = (torch.rand(len(picks), generator=generator) * self.counts[picks]).long()
        chosen = self.texts[picks, which]
        same = (chosen[:, None, None] == self.texts[picks][None]).any(-1)
        same |= self.groups[picks][:, None] == self.groups[picks][None]
        return self.vectors[chosen.to(self.device)], same.to(self.device)


def balanced_weights(items: Sequence[Item], *, neutral: float = 2.0) -> Tensor:
    """(n,) sampling weights: emotions alike, neutral `neutral` times as often; contents of an emotion evened out."""
    contents = Counter((item.emotion, item.content) for item in items)
    raw = [contents[item.emotion, item.content] ** -0.5 for item in items]
    totals: dict[str, float] = {}
    for item, weight in zip(items, raw, strict=True):
        totals[item.emotion] = totals.get(item.emotion, 0.0) + weight
    boost = {"neutral": neutral}
    return torch.tensor([w / totals[i.emotion] * boost.get(i.emotion, 1.0) for i, w in zip(items, raw, strict=True)])


def sentence_vectors(corpus: Corpus, encoder: Path, cache: Path) -> dict[str, Array]:
    """Sentence vector of every text of the corpus by the prompt encoder in a folder, through a cache folder."""
    texts = sorted({text for item in corpus.items for text in item.texts})
    digest = hashlib.sha256("\n".join(texts).encode())
    prompts = PromptEncoder(encoder)
    digest.update((encoder / "prompt_encoder.onnx").read_bytes())
    path = cache / f"sentences-{digest.hexdigest()[:12]}.npy"
    if path.is_file():
        return dict(zip(texts, np.load(path, allow_pickle=False), strict=True))
    found = np.stack([prompts.encode(text) for text in tqdm(texts, desc="embedding texts", leave=False, mininterval=2)])
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part.npy")
    np.save(part, found)
    part.replace(path)
    return dict(zip(texts, found, strict=True))


def reconstruct_all(tokenizer: Tokenizer, motions: Sequence[Array]) -> list[Array]:
    """Features (4 * (T // 4), 140) of motions (T, 203) after the tokenizer; motions below one token come back cut."""
    found = [motion[:, :FEATURE_COUNT] for motion in motions]
    long = [i for i, motion in enumerate(motions) if len(motion) >= FRAMES_PER_TOKEN]
    decoded = decode_all(tokenizer, tokens.tokenise_all(tokenizer, [motions[i] for i in long]))
    for i, features in zip(long, decoded, strict=True):
        found[i] = features
    return found
