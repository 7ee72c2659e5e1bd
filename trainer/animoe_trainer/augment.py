"""Wider poses for the tokenizer: it has to reconstruct what no pack of the corpus shows.

Half of the crops get constant small turns on random joints, some get the arms and head of another crop. Legs are turned
little, so that contacts stay roughly true.
"""

from __future__ import annotations

import torch
from torch import Tensor

from animoe.models.kinematics import heading_kinematics, matrix_from_6d
from animoe.motion import features as layout
from animoe.motion.features import FEATURE_COUNT
from animoe.rig.canonical import CANONICAL_JOINTS

TURN_SHARE, TURN_JOINT_SHARE, SWAP_SHARE = 0.4, 0.3, 0.2
TURN_RAD, LEG_TURN_RAD = 0.25, 0.05
_NAMES = CANONICAL_JOINTS[1:]
_LEGS = torch.tensor([n.split("_")[-1] in ("hip", "knee", "ankle", "foot") for n in _NAMES])
_UPPER = torch.tensor([n.split("_")[-1] in ("neck", "head", "collar", "shoulder", "elbow", "wrist") for n in _NAMES])


def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Inputs (B, T, 203) -> the same with some poses changed; heading positions follow."""
    batch, home = len(inputs), inputs.device
    inputs = inputs.cpu()  # the generator draws on the CPU, so that a run repeats on any device
    rotations = inputs[..., layout.LOCAL_ROTATIONS].unflatten(-1, (21, 6))
    other = rotations[torch.randperm(batch, generator=generator)]
    swapped = (torch.rand(batch, 1, 1, 1, generator=generator) < SWAP_SHARE) & _UPPER[:, None]
    rotations = torch.where(swapped, other, rotations)
    turned = (torch.rand(batch, 1, 1, 1, generator=generator) < TURN_SHARE) & (
        torch.rand(batch, 1, 21, 1, generator=generator) < TURN_JOINT_SHARE
    )
    size = torch.where(_LEGS, LEG_TURN_RAD, TURN_RAD)[:, None]
    vectors = torch.randn(batch, 1, 21, 3, generator=generator) * size
    matrix = matrix_from_6d(rotations) @ torch.linalg.matrix_exp(_cross_matrix(vectors))
    rotations = torch.where(turned, torch.cat([matrix[..., 0], matrix[..., 1]], dim=-1), rotations)
    features = inputs[..., :FEATURE_COUNT].clone()
    features[..., layout.LOCAL_ROTATIONS] = rotations.flatten(-2)
    positions, _ = heading_kinematics(features)
    return torch.cat([features, positions[..., 1:, :].flatten(-2)], dim=-1).to(home)


def _cross_matrix(v: Tensor) -> Tensor:
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(r, dim=-1) for r in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return torch.stack(rows, dim=-2)
