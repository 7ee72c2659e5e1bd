"""Stage 1: trains the motion tokenizer on the train split of all packs (ES-MoE A1; `spec` in the README)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from animoe.errors import BundleError
from animoe.models import kinematics
from animoe.models.tokenizer import Tokenizer, TokenizerConfig
from animoe.motion import features as layout
from animoe.motion.contacts import CONTACT_INDICES
from animoe.motion.root_codes import FRAMES_PER_TOKEN, encode_root
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array
from animoe_trainer.augment import augment
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.loop import LoopConfig, Losses, run_loop

CROP_FRAMES = (32, 64, 128, 192)
PACK_BALANCE = 0.7
"""0 draws packs by their length, 1 all alike."""
_MIN_STD = 0.05  # a channel that hardly moves must not be blown up


@dataclass(frozen=True)
class LossWeights:
    """Weights of the reconstruction terms; positions in metres, velocities in m/s.

    Chosen so that the terms' gradients at the decoder's output have like norms.
    """

    features: float = 3.0
    rotations: float = 3.0
    positions: float = 10.0
    velocity: float = 0.4
    acceleration: float = 0.003
    slide: float = 0.04
    contacts: float = 0.5


def reconstruction_losses(output: Tensor, target: Tensor, std: Tensor, weights: LossWeights) -> Losses:
    """Losses of decoded features (B, T, 140) against the truth.

    Velocities and accelerations are differences of joint positions: a decoder that is right on average but trembles
    is punished (T2M-GPT's "velocity" term compares positions; ours is the real one).
    """
    out_positions, out_rotations = kinematics.heading_kinematics(output)
    with torch.no_grad():
        true_positions, true_rotations = kinematics.heading_kinematics(target)
    out_world = kinematics.world_positions(output, out_positions)
    true_world = kinematics.world_positions(target, true_positions)
    out_velocity = out_world.diff(dim=1) * FRAME_RATE_HZ
    true_velocity = true_world.diff(dim=1) * FRAME_RATE_HZ
    still = target[:, 1:, layout.CONTACTS] * target[:, :-1, layout.CONTACTS]
    feet = (out_velocity - true_velocity)[..., CONTACT_INDICES, :].norm(dim=-1)
    error = (output - target) / std
    terms = {
        "features": F.smooth_l1_loss(error, torch.zeros_like(error)),
        "rotations": (out_rotations - true_rotations).abs().mean(),
        "positions": (out_positions - true_positions).abs().mean(),
        "velocity": (out_velocity - true_velocity).abs().mean(),
        "acceleration": ((out_velocity - true_velocity).diff(dim=1) * FRAME_RATE_HZ).abs().mean(),
        "slide": (feet * still).mean(),
        "contacts": F.mse_loss(output[..., layout.CONTACTS], target[..., layout.CONTACTS]),
    }
    total = sum((getattr(weights, name) * value for name, value in terms.items()), torch.zeros(()))
    return {"total": total, **terms}


class CropSampler:
    """Draws training crops: small packs boosted, lengths mixed, mirror images included."""

    def __init__(self, corpus: Corpus, items: Sequence[Item], frames_per_batch: int, seed: int) -> None:
        self.corpus, self.frames, self.seed = corpus, frames_per_batch, seed
        self.items = [item for item in items if item.count >= FRAMES_PER_TOKEN]
        seconds: dict[str, int] = {}
        for item in self.items:
            seconds[item.pack] = seconds.get(item.pack, 0) + item.count
        self.weights = np.array([item.count / seconds[item.pack] ** PACK_BALANCE for item in self.items])

    def batch(self, step: int) -> Tensor:
        """(B, T, 203) crops of one length; the same step always gives the same batch."""
        rng = np.random.default_rng((self.seed, step))
        length = int(rng.choice(CROP_FRAMES))
        fits = np.array([item.count >= length for item in self.items])
        if not fits.any():
            length = max(item.count for item in self.items) // FRAMES_PER_TOKEN * FRAMES_PER_TOKEN
            fits = np.array([item.count >= length for item in self.items])
        weights = np.where(fits, self.weights, 0.0)
        picks = rng.choice(len(self.items), size=max(1, self.frames // length), p=weights / weights.sum())
        return torch.from_numpy(np.stack([self._crop(self.items[i], length, rng) for i in picks]))

    def _crop(self, item: Item, length: int, rng: np.random.Generator) -> Array:
        start = item.start + int(rng.integers(item.count - length + 1))
        crop: Array = self.corpus.inputs[start : start + length]
        return crop


def train_tokenizer(
    corpus: Corpus,
    out: Path,
    config: TokenizerConfig,
    loop: LoopConfig,
    *,
    frames_per_batch: int = 8192,
    resume: bool = False,
    device: str = "cpu",
) -> Tokenizer:
    """Trains and saves a tokenizer (`tokenizer.safetensors`, `tokenizer.json`) in `out`."""
    torch.manual_seed(loop.seed)
    model = Tokenizer(config).to(device)
    items = corpus.select("train", mirrored=True)
    mean, std = _statistics(corpus, items)
    model.set_statistics(mean.to(device), std.to(device))
    sampler = CropSampler(corpus, items, frames_per_batch, loop.seed)
    weights, feature_std = LossWeights(), std[: layout.FEATURE_COUNT].to(device)

    def batch_losses(step: int) -> Losses:
        inputs = augment(sampler.batch(step).to(device), torch.Generator().manual_seed(loop.seed * 2**32 + step))
        output, _, commitment = model(inputs)
        with torch.autocast(device, enabled=False):
            losses = reconstruction_losses(output.float(), inputs[..., : layout.FEATURE_COUNT], feature_std, weights)
        losses["total"] = losses["total"] + commitment
        return losses

    def validate(averaged: nn.Module) -> dict[str, float]:
        assert isinstance(averaged, Tokenizer)
        return quick_check(averaged, corpus, corpus.select("val")[:80], device)

    trained = run_loop(model, out, loop, batch_losses, validate, resume=resume, label="tokenizer")
    assert isinstance(trained, Tokenizer)
    save_tokenizer(trained, out)
    return trained


def quick_check(model: Tokenizer, corpus: Corpus, items: Sequence[Item], device: str) -> dict[str, float]:
    """Held-out reconstruction error in millimetres and code usage, for the progress line; empty without items."""
    items = [item for item in items if item.count >= FRAMES_PER_TOKEN]
    if not items:
        return {}
    errors, codes = [], []
    for item in items:
        inputs = torch.from_numpy(whole_tokens(corpus.frames(item)))[None].to(device)
        output, used, _ = model(inputs)
        a = kinematics.heading_kinematics(output.float())[0]
        b = kinematics.heading_kinematics(inputs[..., : layout.FEATURE_COUNT])[0]
        errors.append((a - b).norm(dim=-1).mean().item() * 1000)
        codes.append(used.reshape(-1, used.shape[-1]))
    merged = torch.cat(codes)
    usage = np.mean([len(column.unique()) / model.quantiser.codebook_size for column in merged.T])
    return {"mpjpe_mm": float(np.mean(errors)), "usage": float(usage)}


def tokenise_all(model: Tokenizer, motions: Sequence[Array]) -> list[Array]:
    """Codes (T // 4, G) int64, root first, of motions (T, 203). The encoder is causal, so padding changes nothing."""
    codes: dict[int, Array] = {}
    for picks, padded in length_batches(motions, batch=64):
        with torch.no_grad():
            pose = model.encode(torch.from_numpy(padded).to(model.input_mean.device))[1].cpu().numpy()
        for row, i in zip(pose, picks, strict=True):
            root = encode_root(whole_tokens(motions[i]))
            codes[i] = np.concatenate([root, row[: len(root)]], axis=-1)
    return [codes[i] for i in range(len(motions))]


def length_batches(motions: Sequence[Array], batch: int) -> Iterator[tuple[list[int], Array]]:
    """Motions of like length together: their indices, and (B, T, 203) whole tokens padded with the last frame."""
    cut = [whole_tokens(motion) for motion in motions]
    order = sorted(range(len(cut)), key=lambda i: len(cut[i]))
    for first in range(0, len(order), batch):
        picks = order[first : first + batch]
        longest = len(cut[picks[-1]])
        yield picks, np.stack([np.pad(cut[i], ((0, longest - len(cut[i])), (0, 0)), mode="edge") for i in picks])


def whole_tokens(inputs: Array) -> Array:
    """(T, ...) cut to a multiple of four frames."""
    return inputs[: len(inputs) // FRAMES_PER_TOKEN * FRAMES_PER_TOKEN]


def _statistics(corpus: Corpus, items: Sequence[Item]) -> tuple[Tensor, Tensor]:
    frames = np.concatenate([corpus.frames(item) for item in items])
    std = np.maximum(frames.std(axis=0), _MIN_STD)
    std[layout.CONTACTS] = 1.0
    mean = frames.mean(axis=0)
    mean[layout.CONTACTS] = 0.0
    return torch.from_numpy(mean), torch.from_numpy(std)


def save_tokenizer(model: Tokenizer, folder: Path) -> None:
    """Writes weights (safetensors, no pickle) and config."""
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "tokenizer.safetensors")
    (folder / "tokenizer.json").write_text(json.dumps(asdict(model.config), indent=1) + "\n")


def load_tokenizer(folder: Path) -> Tokenizer:
    """Reads what `save_tokenizer` wrote.

    Raises:
        BundleError: files missing or damaged.
    """
    try:
        raw: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text())
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        model = Tokenizer(TokenizerConfig(**fields))
        stored = load_file(folder / "tokenizer.safetensors")
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in stored.items()})
    except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise BundleError(f"no usable tokenizer in {folder}: {error}") from error
    return model.eval()
