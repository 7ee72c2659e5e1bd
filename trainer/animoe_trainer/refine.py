"""Better codes for given motions: analysis by synthesis.

The encoder's answer is a start. The latents are then moved down the gradient of the reconstruction error through the
frozen quantiser and decoder, and the best codes met on the way are kept. On held-out clips this takes the error to
about half; it costs seconds per minute of motion, so it is for files, not for live input.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from animoe.models.kinematics import heading_kinematics
from animoe.models.tokenizer import ROOT_COUNT, Tokenizer
from animoe.motion.features import FEATURE_COUNT
from animoe.motion.root_codes import FRAMES_PER_TOKEN, ROOT_GROUPS
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array
from animoe_trainer.tokenizer import length_batches, tokenise_all

REFINE_STEPS = 60
LEARNING_RATE = 0.1
_POSITION, _ROTATION, _VELOCITY = 10.0, 3.0, 0.4  # as in training


def refine_all(
    model: Tokenizer, motions: Sequence[Array], *, steps: int = REFINE_STEPS, batch: int = 24
) -> list[Array]:
    """Codes (T // 4, G) of motions (T, 203), each at least as near to its motion as the encoder's codes."""
    codes = tokenise_all(model, motions)
    for picks, padded in length_batches(motions, batch):
        pose = _refine_batch(model, torch.from_numpy(padded), [len(codes[i]) for i in picks], steps)
        for row, i in zip(pose, picks, strict=True):
            codes[i][:, ROOT_GROUPS:] = row[: len(codes[i])]
    return codes


def _refine_batch(model: Tokenizer, target: Tensor, token_counts: Sequence[int], steps: int) -> Array:
    """Pose codes (B, N, G - 3) of padded motions (B, 4N, 203); the padding does not count."""
    counts = torch.tensor(token_counts) * FRAMES_PER_TOKEN
    mask = (torch.arange(target.shape[1]) < counts[:, None]).float()
    with torch.no_grad():
        start = model.encode_latent(target)
        truth = heading_kinematics(target[..., :FEATURE_COUNT])
    latent = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([latent], lr=LEARNING_RATE)
    best = torch.full((len(target),), torch.inf)
    chosen = torch.zeros(0)
    for step in range(steps + 1):
        quantised, codes, _ = model.quantiser(latent)
        pose, _ = model.decoder.pose(quantised, model.decoder.initial_state(len(target)))
        loss, error = _losses(torch.cat([target[..., :ROOT_COUNT], pose], dim=-1), truth, mask)
        better = error < best
        chosen = torch.where(better[:, None, None], codes, chosen) if step else codes
        best = torch.where(better, error, best)
        if step == steps:
            break
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / steps)
        (latent.grad,) = torch.autograd.grad(loss, [latent])  # of the latents only: the model stays as it is
        optimiser.step()
    found: Array = chosen.numpy()
    return found


def _losses(features: Tensor, truth: tuple[Tensor, Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
    """What is minimised, and the mean joint error (B,) in metres that decides which codes are kept."""
    positions, rotations = heading_kinematics(features)
    offset = positions - truth[0]
    distance = offset.norm(dim=-1).mean(dim=-1)
    per_frame = _POSITION * offset.abs().mean(dim=(-1, -2)) + _ROTATION * (rotations - truth[1]).abs().mean(
        dim=(-1, -2, -3)
    )
    speed = offset.diff(dim=1).abs().mean(dim=(-1, -2)) * FRAME_RATE_HZ
    total = (per_frame * mask).sum() + _VELOCITY * (speed * mask[:, 1:]).sum()
    error = (distance * mask).sum(dim=1) / mask.sum(dim=1)
    return total * len(mask) / mask.sum() / FRAMES_PER_TOKEN, error.detach()
