"""Ray casting of round cones (a sphere swept along a segment while its radius changes linearly), in numpy.

For a ray x = t d from the camera and w = x - a, the sphere at parameter s along axis v = b - a has
|w - s v|^2 = (ra + s dr)^2, that is |w|^2 - ra^2 - 2 s N + s^2 D = 0 with N = w.v + ra dr and
D = |v|^2 - dr^2. The surface is the envelope over s: at s = N / D this becomes |w|^2 - ra^2 - N^2 / D = 0, a
quadratic in t. Where s leaves [0, 1] the surface is the sphere at that end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.preview.camera import Camera, length
from animoe.rig.rotations import Array

FAR = np.float32(1e9)


@dataclass(frozen=True, eq=False)
class Hits:
    """What each pixel sees.

    Attributes:
        distance: (H, W) metres along the ray, FAR where nothing is hit.
        normal: (H, W, 3) unit, view space; zero where nothing is hit.
        owner: (H, W) index of the cone, -1 for none.
        rays: (H, W, 3) unit directions, view space.
    """

    distance: Array
    normal: Array
    owner: Array
    rays: Array


def cast(camera: Camera, starts_m: Array, ends_m: Array, radii_m: Array) -> Hits:
    """Casts one ray per pixel at S cones: ends (S, 3) in the world, radii (S, 2)."""
    rays = camera.rays()
    shape = rays.shape[:2]
    distance = np.full(shape, FAR, dtype=np.float32)
    normal = np.zeros((*shape, 3), dtype=np.float32)
    owner = np.full(shape, -1, dtype=np.int32)
    a_view, b_view = camera.to_view(starts_m), camera.to_view(ends_m)
    for cone, (a, b, (ra, rb)) in enumerate(zip(a_view, b_view, radii_m, strict=True)):
        box = _box(camera, a, b, max(ra, rb))
        if box is None:
            continue
        t, n = _hit(rays[box], a, b, float(ra), float(rb))
        near = t < distance[box]
        distance[box][near] = t[near]
        normal[box][near] = n[near]
        owner[box][near] = cone
    return Hits(distance, normal, owner, rays)


def _box(camera: Camera, a: Array, b: Array, radius: float) -> tuple[slice, slice] | None:
    """Rows and columns that can see the cone; None when it is outside the picture or behind the camera."""
    nearest = min(a[2], b[2]) - radius
    if nearest <= 1e-3:
        return None
    ends = np.stack([a, b])
    pad = camera.focal_px * radius / nearest * 1.1 + 1.0
    x = camera.width_px / 2 + camera.focal_px * ends[:, 0] / ends[:, 2]
    y = camera.height_px / 2 - camera.focal_px * ends[:, 1] / ends[:, 2]
    left, right = max(int(x.min() - pad), 0), min(int(x.max() + pad) + 1, camera.width_px)
    low, high = max(int(y.min() - pad), 0), min(int(y.max() + pad) + 1, camera.height_px)
    return (slice(low, high), slice(left, right)) if left < right and low < high else None


def _hit(rays: Array, a: Array, b: Array, ra: float, rb: float) -> tuple[Array, Array]:
    """Distances (h, w) and normals (h, w, 3) of rays (h, w, 3) on one cone given in view space."""
    t = np.minimum(_sphere(rays, a, ra), _sphere(rays, b, rb))
    centre_s = np.where(_sphere_is_first(rays, a, ra, t), np.float32(0), np.float32(1))
    axis, dr = b - a, rb - ra
    spread = float(axis @ axis) - dr * dr
    if spread > 1e-8:  # else one end sphere holds the other
        m = rays @ axis
        n0 = ra * dr - float(a @ axis)
        qa = 1 - m * m / spread
        qb = -(rays @ a) - m * (n0 / spread)
        qc = float(a @ a) - ra * ra - n0 * n0 / spread
        root = qb * qb - qa * qc
        side = (root > 0) & (qa > 1e-6)
        tc = np.where(side, (-qb - np.sqrt(np.maximum(root, 0))) / np.where(side, qa, 1), FAR)
        s = (tc * m + n0) / spread
        on = side & (s > 0) & (s < 1) & (tc > 0)
        t = np.where(on, tc, t)
        centre_s = np.where(on, s, centre_s)
    normal = rays * t[..., None] - a - centre_s[..., None] * axis
    normal /= np.maximum(length(normal), 1e-9)[..., None]
    return t.astype(np.float32), normal.astype(np.float32)


def _sphere(rays: Array, centre: Array, radius: float) -> Array:
    along = rays @ centre
    root = along * along - np.float32(centre @ centre - radius * radius)
    hit: Array = np.where(root > 0, along - np.sqrt(np.maximum(root, 0)), FAR)
    return hit


def _sphere_is_first(rays: Array, centre: Array, radius: float, t: Array) -> Array:
    first: Array = _sphere(rays, centre, radius) <= t
    return first
