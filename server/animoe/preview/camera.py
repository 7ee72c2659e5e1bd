"""A small perspective camera. View space: x right, y up, z the distance in front of the camera, metres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from animoe.rig.rotations import Array


@dataclass(frozen=True, eq=False)
class Camera:
    """Looks from `eye` along the rows of `axes`.

    Attributes:
        eye: (3,) world position in metres.
        axes: (3, 3) rows right, up, forward in the world.
        focal_px: pixels per unit of tangent.
        width_px, height_px: size of the picture.
    """

    eye: Array
    axes: Array
    focal_px: float
    width_px: int
    height_px: int

    @classmethod
    def look_at(cls, eye: Array, target: Array, view_height_m: float, width_px: int, height_px: int) -> Camera:
        """Looks from eye (3,) at target (3,); `view_height_m` fills the picture's height at the target."""
        forward = target - eye
        distance = float(np.linalg.norm(forward))
        forward = forward / distance
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right = right / np.linalg.norm(right)
        axes = np.stack([right, np.cross(right, forward), forward])
        focal = height_px * distance / view_height_m
        return cls(np.asarray(eye, np.float32), axes.astype(np.float32), focal, width_px, height_px)

    def to_view(self, points_m: Array) -> Array:
        """World points (..., 3) -> view space (..., 3)."""
        view: Array = (np.asarray(points_m, np.float32) - self.eye) @ self.axes.T
        return view

    def project(self, points_m: Array) -> Array:
        """World points (..., 3) -> pixels (..., 2), x right, y down."""
        view = self.to_view(points_m)
        scale = self.focal_px / np.maximum(view[..., 2], 1e-3)
        return np.stack([self.width_px / 2 + view[..., 0] * scale, self.height_px / 2 - view[..., 1] * scale], axis=-1)

    def rays(self) -> Array:
        """(H, W, 3) float32 unit directions in view space through the pixel centres; read-only."""
        return _rays(self.width_px, self.height_px, float(self.focal_px))


@lru_cache(maxsize=8)
def _rays(width_px: int, height_px: int, focal_px: float) -> Array:
    x = (np.arange(width_px, dtype=np.float32) + 0.5 - width_px / 2) / np.float32(focal_px)
    y = (height_px / 2 - np.arange(height_px, dtype=np.float32) - 0.5) / np.float32(focal_px)
    rays = np.empty((height_px, width_px, 3), dtype=np.float32)
    rays[..., 0], rays[..., 1], rays[..., 2] = x, y[:, None], 1.0
    rays /= length(rays)[..., None]
    rays.flags.writeable = False
    return rays


def length(v: Array) -> Array:
    """Lengths (...) of vectors (..., 3); several times faster on small last axes than `np.linalg.norm`."""
    lengths: Array = np.sqrt(np.einsum("...i,...i->...", v, v))
    return lengths


def follow_camera(
    target_m: Array, yaw: float, view_height_m: float, width_px: int, height_px: int, span_m: float
) -> Camera:
    """Looks at `target_m` from the front-left (3/4 view) of a character that faces `yaw` radians about +Y."""
    turn = yaw + np.radians(38.0)  # a character's left is +X when it faces +Z, so its front-left is a positive yaw
    away = np.array([np.sin(turn), 0.30, np.cos(turn)])
    eye = np.asarray(target_m, dtype=np.float64) + away / np.linalg.norm(away) * 3.6 * span_m
    return Camera.look_at(eye, target_m, view_height_m, width_px, height_px)
