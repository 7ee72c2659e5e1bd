"""Draws one pose as a body of shaded round cones on a studio floor.

Light is computed in linear colour: one soft key light with a shadow map, a sky, and a rim. The figure is
drawn at SAMPLES times its size and averaged down. Everything is deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from animoe.preview.body import ADULT_SPAN_M, Body
from animoe.preview.camera import Camera, length
from animoe.preview.raycast import Hits, cast
from animoe.rig.rotations import Array

SAMPLES = 2
_SHADOW_PX = 128


@dataclass(frozen=True)
class Studio:
    """Colours (sRGB 0 to 255) and light.

    Attributes:
        wall_low, wall_high: backdrop at the horizon and at the top.
        floor: the floor in full light.
        line: grid lines, one per metre; half-metre lines are fainter.
        tints: body colours of centre, left and right.
        mark: ring under a foot that stands.
        key: direction towards the key light, in view space terms (right, up, towards the camera).
    """

    wall_low: tuple[int, int, int] = (50, 58, 76)
    wall_high: tuple[int, int, int] = (20, 24, 34)
    floor: tuple[int, int, int] = (84, 94, 116)
    line: tuple[int, int, int] = (126, 140, 168)
    tints: tuple[tuple[int, int, int], ...] = ((232, 226, 216), (96, 196, 208), (244, 148, 96))
    mark: tuple[int, int, int] = (150, 240, 190)
    key: tuple[float, float, float] = (-0.55, 0.95, 0.75)


STUDIO = Studio()


def render_pose(
    body: Body,
    positions_m: Array,
    camera: Camera,
    *,
    planted: Sequence[int] = (),
    studio: Studio = STUDIO,
) -> Image.Image:
    """Draws one pose.

    Args:
        body: what to draw, from `Body.of(skeleton)`.
        positions_m: (J, 3) world joint positions, metres, Y up, floor at y = 0.
        camera: its picture size is the size of the result.
        planted: joints that stand on the floor now; each gets a ring.
        studio: colours and light.

    Returns:
        An RGB picture.
    """
    fine = Camera(
        camera.eye,
        camera.axes,
        camera.focal_px * SAMPLES,
        camera.width_px * SAMPLES,
        camera.height_px * SAMPLES,
    )
    starts, ends = body.cones(positions_m)
    light = _Light.over(body, starts, ends, fine, studio)
    hits = cast(fine, starts, ends, body.radii)
    scene = _scenery(camera, light, body, positions_m[list(planted)], studio)
    figure = hits.owner >= 0
    layer = np.zeros((*figure.shape, 4), dtype=np.float32)  # premultiplied linear colour and coverage
    layer[figure, :3] = _shade(hits, figure, fine, light, body, studio)
    layer[figure, 3] = 1
    layer[figure] *= _above_floor(hits.rays[figure], hits.distance[figure], camera)[:, None]
    layer = layer.reshape(camera.height_px, SAMPLES, camera.width_px, SAMPLES, 4).mean(axis=(1, 3))
    colour = scene * (1 - layer[..., 3:]) + layer[..., :3]
    pixels = (np.clip(colour, 0, 1) ** np.float32(1 / 2.2) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(pixels)


def _above_floor(rays: Array, distance: Array, camera: Camera) -> Array:
    """(N,) opacity: what has sunk below the floor is seen through it."""
    height = camera.eye[1] + (rays @ camera.axes[:, 1]) * distance
    opacity: Array = np.where(height < 0, np.float32(0.35), np.float32(1))
    return opacity


@dataclass(frozen=True, eq=False)
class _Light:
    """The key light: its direction and what it sees (a shadow map)."""

    direction: Array  # (3,) world, towards the light
    camera: Camera
    distance: Array  # (P, P) metres along the light's rays
    softened: Array  # (P, P) 0..1: how much of the light a blurred body takes away
    bias: float

    @classmethod
    def over(cls, body: Body, starts: Array, ends: Array, camera: Camera, studio: Studio) -> _Light:
        right, up, forward = camera.axes
        x, y, z = studio.key
        flat = np.array([forward[0], 0.0, forward[2]])
        direction = x * right + y * np.array([0.0, 1.0, 0.0]) - z * flat / np.linalg.norm(flat)
        direction = direction / np.linalg.norm(direction)
        centre = (starts.mean(axis=0) + ends.mean(axis=0)) / 2
        reach = float(np.abs(np.concatenate([starts, ends]) - centre).max()) + 0.15 * body.span_m
        eye = centre + direction * 12 * reach
        lamp = Camera.look_at(eye, centre, 3.2 * reach, _SHADOW_PX, _SHADOW_PX)
        thick = body.radii.max(axis=1) > 0.012 * body.span_m
        seen = cast(lamp, starts[thick], ends[thick], body.radii[thick])
        mask = Image.fromarray(((seen.owner >= 0) * 255).astype(np.uint8))
        soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(1.8)), dtype=np.float32) / 255
        return cls(direction.astype(np.float32), lamp, seen.distance, soft, 0.035 * body.span_m)

    def on_floor(self, points: Array) -> Array:
        """(N, 3) floor points -> (N,) light left, 1 = full."""
        x, y, _ = self._pixel(points)
        return 1 - _bilinear(self.softened, x, y)

    def on_body(self, points: Array) -> Array:
        """(N, 3) body points -> (N,) light left: soft depth comparisons, blended between pixels."""
        x, y, distance = self._pixel(points)
        x, y = np.clip(x, 0, _SHADOW_PX - 1.001), np.clip(y, 0, _SHADOW_PX - 1.001)
        c, r = x.astype(np.int32), y.astype(np.int32)
        fx, fy = x - c, y - r
        left = np.zeros(len(points), dtype=np.float32)
        for dc, dr, weight in (
            (0, 0, (1 - fx) * (1 - fy)),
            (1, 0, fx * (1 - fy)),
            (0, 1, (1 - fx) * fy),
            (1, 1, fx * fy),
        ):
            free = self.distance[r + dr, c + dc] - distance
            left += weight * np.clip(free / self.bias + 2, 0, 1)
        return left

    def _pixel(self, points: Array) -> tuple[Array, Array, Array]:
        view = self.camera.to_view(points)
        scale = self.camera.focal_px / np.maximum(view[:, 2], 1e-3)
        half = _SHADOW_PX / 2
        return half + view[:, 0] * scale - 0.5, half - view[:, 1] * scale - 0.5, length(view)


def _shade(hits: Hits, figure: Array, camera: Camera, light: _Light, body: Body, studio: Studio) -> Array:
    """(N, 3) linear colours of the figure's pixels."""
    rays, normal = hits.rays[figure], _smooth_trunk(hits, body, camera)[figure]
    view = rays * hits.distance[figure][:, None]
    world = view @ camera.axes + camera.eye
    albedo = np.stack([_linear(c) for c in studio.tints])[body.tints[hits.owner[figure]]]
    key = camera.axes @ light.direction
    facing = normal @ key
    lifted = world + (normal @ camera.axes) * np.float32(0.012 * body.span_m)
    lit = np.clip(facing * 0.85 + 0.15, 0, 1) * light.on_body(lifted)
    up = normal @ camera.axes[:, 1]
    sky = 0.5 + 0.5 * up
    bounce = np.clip(-up, 0, 1) * np.clip(1 - world[:, 1] / (0.5 * body.span_m), 0, 1)
    glance = 1 - np.clip(-np.einsum("ni,ni->n", normal, rays), 0, 1)
    half = key - rays
    half /= length(half)[:, None]
    gloss = np.clip(np.einsum("ni,ni->n", normal, half), 0, 1) ** 28 * lit
    ambient = _tone((0.20, 0.25, 0.36)) * sky[:, None] + _tone((0.05, 0.05, 0.07))
    warm = _tone((1.06, 0.98, 0.86)) * lit[:, None] * np.float32(0.80)
    colour = albedo * (ambient + warm + (0.10 * bounce)[:, None])
    colour += (glance**3.2 * (0.25 + 0.75 * sky))[:, None] * _tone((0.20, 0.27, 0.40))
    shaded: Array = colour + (0.16 * gloss)[:, None]
    return shaded


def _smooth_trunk(hits: Hits, body: Body, camera: Camera) -> Array:
    """Normals (H, W, 3) with those of the trunk averaged over a few centimetres, so its cones read as one."""
    trunk = (hits.owner >= 0) & body.trunk[hits.owner]
    rows, columns = np.flatnonzero(trunk.any(axis=1)), np.flatnonzero(trunk.any(axis=0))
    if not len(rows):
        return hits.normal
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside = trunk[box]
    depth = float(hits.distance[box][inside].mean())
    reach = max(int(0.022 * body.span_m * camera.focal_px / depth), 1)
    mean = hits.normal[box] * inside[..., None]
    for _ in range(2):
        mean = _box_blur(mean, reach)
    mean /= np.maximum(length(mean), 1e-6)[..., None]
    normal = hits.normal.copy()
    normal[box] = np.where(inside[..., None], mean, normal[box])
    return normal


def _box_blur(image: Array, reach: int) -> Array:
    """(H, W, C) box sums over 2 reach + 1 pixels in both directions; zero outside."""
    for axis in (0, 1):
        pad = [(0, 0)] * image.ndim
        pad[axis] = (reach + 1, reach)
        total = np.cumsum(np.pad(image, pad), axis=axis, dtype=np.float32)
        count = image.shape[axis]
        high = np.take(total, np.arange(2 * reach + 1, 2 * reach + 1 + count), axis=axis)
        image = (high - np.take(total, np.arange(count), axis=axis)) / np.float32(2 * reach + 1)
    return image


def _scenery(camera: Camera, light: _Light, body: Body, planted_m: Array, studio: Studio) -> Array:
    """(H, W, 3) linear colours of backdrop and floor, antialiased by formula."""
    world = camera.rays() @ camera.axes
    slope = world[..., 1]
    unit = body.span_m / ADULT_SPAN_M
    high = np.clip(slope * 2.2 + 0.25, 0, 1)[..., None]
    colour: Array = _linear(studio.wall_low) * (1 - high) + _linear(studio.wall_high) * high
    seen = slope < min(-camera.eye[1] / (40 * unit), -1e-3)
    distance, down = -camera.eye[1] / slope[seen], slope[seen]
    points = camera.eye + world[seen] * distance[:, None]
    focus = camera.eye + camera.axes[2] * (-camera.eye[1] / min(float(camera.axes[2, 1]), -1e-3))
    away = np.hypot(points[:, 0] - focus[0], points[:, 2] - focus[2]) / unit
    pool = np.exp(-((away / 2.6) ** 2))[:, None]
    ground = _linear(studio.floor) * (0.35 + 0.65 * pool)
    ground += (_linear(studio.line) - ground) * (_grid(points, distance, down, camera) * 0.62)[:, None] * pool
    ground *= (0.30 + 0.70 * light.on_floor(points))[:, None]
    for foot in planted_m:
        ring = _ring(points, foot, 0.105 * unit, distance / camera.focal_px)
        ground += (_linear(studio.mark) - ground) * (0.75 * ring)[:, None]
    haze = np.clip(1 - away / 7.0, 0, 1)[:, None] ** np.float32(1.5)
    colour[seen] = colour[seen] * (1 - haze) + ground * haze
    return colour


def _grid(points: Array, distance: Array, slope: Array, camera: Camera) -> Array:
    """(N,) strength of the floor lines: 1 per metre strong, half metres faint, antialiased."""
    width = np.maximum(distance / np.float32(camera.focal_px) / np.maximum(-slope, 0.05), 1e-5)  # metres per pixel
    strength = np.zeros(len(points), dtype=np.float32)
    for spacing, weight in ((1.0, 1.0), (0.5, 0.35)):
        fade = np.clip(spacing / (8 * width) - 0.5, 0, 1) * weight
        for axis in (0, 2):
            phase = points[:, axis] / spacing
            off = np.abs(phase - np.round(phase)) * spacing
            strength = np.maximum(strength, fade * np.clip(1.4 - off / np.maximum(width, 0.006), 0, 1))
    return strength


def _ring(points: Array, foot: Array, radius: float, pixel_m: Array) -> Array:
    off = np.abs(np.hypot(points[:, 0] - foot[0], points[:, 2] - foot[2]) - radius)
    ring: Array = np.clip(1.5 - off / np.maximum(2 * pixel_m, 0.06 * radius), 0, 1)
    return ring


def _bilinear(image: Array, x: Array, y: Array) -> Array:
    """Samples (P, P) at pixel positions (N,); 0 outside."""
    inside = (x > 0) & (y > 0) & (x < image.shape[1] - 1.001) & (y < image.shape[0] - 1.001)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    c, r = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - c, y - r
    top = image[r, c] * (1 - fx) + image[r, c + 1] * fx
    low = image[r + 1, c] * (1 - fx) + image[r + 1, c + 1] * fx
    sampled: Array = np.where(inside, top * (1 - fy) + low * fy, 0)
    return sampled


def _linear(colour: tuple[int, int, int]) -> Array:
    return (np.array(colour, dtype=np.float32) / np.float32(255)) ** np.float32(2.2)


def _tone(colour: tuple[float, float, float]) -> Array:
    return np.array(colour, dtype=np.float32)
