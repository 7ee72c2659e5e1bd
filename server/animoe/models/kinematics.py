"""Differentiable forward kinematics of the canonical skeleton (the numpy twin is `rig.kinematics`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from animoe.motion import features as layout
from animoe.rig.canonical import FRAME_RATE_HZ, canonical_skeleton

_REST = torch.from_numpy(canonical_skeleton().rest_translations).float()
_PARENTS = canonical_skeleton().parents.tolist()


def matrix_from_6d(rotation: Tensor) -> Tensor:
    """6D rotations (..., 6) -> matrices (..., 3, 3) by Gram-Schmidt, columns x, y, z."""
    x = F.normalize(rotation[..., :3], dim=-1)
    z = F.normalize(torch.linalg.cross(x, rotation[..., 3:]), dim=-1)
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=-1)


def heading_kinematics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B, T, 140) -> positions (B, T, 22, 3) and matrices (B, T, 22, 3, 3) in the heading frame.

    Positions are relative to the point on the floor under the pelvis, metres.
    """
    tilt = matrix_from_6d(features[..., layout.TILT])
    local = matrix_from_6d(features[..., layout.LOCAL_ROTATIONS].unflatten(-1, (21, 6)))
    zero = torch.zeros_like(features[..., 3])
    positions = [torch.stack([zero, features[..., 3], zero], dim=-1)]
    rotations = [tilt]
    for joint in range(1, len(_PARENTS)):
        above = rotations[_PARENTS[joint]]
        positions.append(positions[_PARENTS[joint]] + above @ _REST[joint].to(above))
        rotations.append(above @ local[..., joint - 1, :, :])
    return torch.stack(positions, dim=-2), torch.stack(rotations, dim=-3)


def integrate_root(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B, T, 140) -> yaw (B, T) in radians and planar position (B, T, 2) in metres, from the origin."""
    dt = 1.0 / FRAME_RATE_HZ
    yaw = torch.cumsum(features[..., 0], dim=-1) * dt
    before = F.pad(yaw[..., :-1], (1, 0))
    x, z = features[..., 1], features[..., 2]
    sin, cos = before.sin(), before.cos()
    steps = torch.stack([cos * x + sin * z, cos * z - sin * x], dim=-1)
    return yaw, torch.cumsum(steps, dim=-2) * dt


def world_positions(features: Tensor, positions: Tensor) -> Tensor:
    """Heading-frame positions (B, T, J, 3) -> world positions, the stream starting at the origin."""
    yaw, planar = integrate_root(features)
    sin, cos = yaw.sin()[..., None], yaw.cos()[..., None]
    x, y, z = positions.unbind(-1)
    turned = [cos * x + sin * z + planar[..., :1], y, cos * z - sin * x + planar[..., 1:]]
    return torch.stack(turned, dim=-1)
