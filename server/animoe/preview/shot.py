"""Shot: one clip with its body, label and the camera that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.preview.body import Body
from animoe.preview.camera import Camera, follow_camera
from animoe.rig.rotations import Array

_TIGHTEST, _WIDEST = 1.25, 2.4
"""Picture height in body spans: never closer, never further, whatever the motion does."""
_SMOOTHING_S = 0.25
_SAME_UNIT = 4.0
"""Bodies that differ by more than this factor are in different units; each is then drawn at its own scale."""


@dataclass(frozen=True, eq=False)
class Shot:
    """A clip ready to be drawn.

    Attributes:
        clip, label: as given.
        body: what is drawn.
        positions_m: (T, J, 3) float32 world joint positions.
        track_m: (T, 3) what the camera looks at: the smoothed pelvis, at constant height.
        yaw: which way the character faces, radians about +Y.
        view_height_m: metres that fill the picture's height; the same for all shots of a picture.
    """

    clip: Clip
    label: str
    body: Body
    positions_m: Array
    track_m: Array
    yaw: float
    view_height_m: float

    @property
    def ground_path(self) -> Array:
        """(T, 2) x and z of the pelvis, metres."""
        path: Array = self.positions_m[:, self.body.pelvis][:, [0, 2]]
        return path

    def spread(self, count: int) -> Array:
        """`count` evenly spaced frame numbers from the first to the last."""
        return np.round(np.linspace(0, self.clip.frame_count - 1, count)).astype(int)

    def camera(self, frame: int, width_px: int, height_px: int) -> Camera:
        """The following camera at one frame."""
        return follow_camera(self.track_m[frame], self.yaw, self.view_height_m, width_px, height_px, self.body.span_m)

    def planted(self, frame: int) -> tuple[int, ...]:
        """Foot joints that are low and nearly still at `frame` (for the eye, not for measuring)."""
        if not self.body.feet or self.clip.frame_count < 2:
            return ()
        before, after = max(frame - 1, 0), min(frame + 1, self.clip.frame_count - 1)
        feet = list(self.body.feet)
        moved = np.linalg.norm(self.positions_m[after, feet] - self.positions_m[before, feet], axis=-1)
        speed = moved * self.clip.frame_rate_hz / (after - before)
        low = self.positions_m[frame, feet, 1] < 0.045 * self.body.span_m
        return tuple(joint for joint, on in zip(feet, low & (speed < 0.3 * self.body.span_m), strict=True) if on)


def frame_all(clips: Sequence[Clip], labels: Sequence[str], aspect: float, *, samples: int = 24) -> list[Shot]:
    """Makes one shot per clip, so that every character stays inside its picture.

    All have the same scale, unless their sizes differ so much that they must be in different units.

    Args:
        clips, labels: equally many, at least one.
        aspect: picture width / height.
        samples: frames per clip that are looked at to choose the scale.

    Raises:
        InvalidRequest: no clips, another number of labels, a clip without frames or with NaN.
    """
    if not clips:
        raise InvalidRequest("there is no clip to draw; give at least one")
    if len(labels) != len(clips):
        raise InvalidRequest(f"{len(clips)} clips need as many labels, got {len(labels)}")
    shots = [_shot(clip, str(label)) for clip, label in zip(clips, labels, strict=True)]
    heights = [_needed_height(shot, aspect, samples) for shot in shots]
    spans = [shot.body.span_m for shot in shots]
    if max(spans) <= _SAME_UNIT * min(spans):
        return [replace(shot, view_height_m=max(heights)) for shot in shots]
    widest = max(height / span for height, span in zip(heights, spans, strict=True))
    return [replace(shot, view_height_m=widest * shot.body.span_m) for shot in shots]


def _shot(clip: Clip, label: str) -> Shot:
    what = repr(label or clip.name or "clip")
    if clip.frame_count == 0:
        raise InvalidRequest(f"the clip {what} has no frames; there is nothing to draw")
    positions = clip.world()[1]
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=(1, 2)))
    if len(bad):
        raise InvalidRequest(f"the clip {what} holds NaN or infinite numbers at frame {bad[0]}; repair it first")
    body = Body.of(clip.skeleton)
    track = _smoothed(positions[:, body.pelvis], _SMOOTHING_S * clip.frame_rate_hz)
    pelvis_height = float(np.median(positions[:, body.pelvis, 1]))
    track[:, 1] = max(0.52 * body.span_m, pelvis_height - 0.06 * body.span_m)  # raw clips may float
    yaw = body.facing(positions)
    return Shot(clip, label, body, positions.astype(np.float32), track, yaw, _TIGHTEST * body.span_m)


def _smoothed(path: Array, sigma: float) -> Array:
    """(T, 3) Gaussian-smoothed over time; the ends are mirrored through their end point, so no lag arises."""
    reach = int(min(max(3 * sigma, 1), len(path) - 1))
    if reach < 1:
        return np.array(path, dtype=np.float64)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    before = 2 * path[:1] - path[reach:0:-1]
    after = 2 * path[-1:] - path[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, path, after])
    return np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], axis=-1)


def _needed_height(shot: Shot, aspect: float, samples: int) -> float:
    """View height in metres at which the body stays inside the picture with a margin, within limits."""
    body, span, need = shot.body, shot.body.span_m, 0.0
    for frame in np.unique(shot.spread(samples)):
        camera = follow_camera(shot.track_m[frame], shot.yaw, 1.0, 1, 1, span)
        starts, ends = body.cones(shot.positions_m[frame])
        for points, radius in ((starts, body.radii[:, 0]), (ends, body.radii[:, 1])):
            view = camera.to_view(points)
            distance = float(np.linalg.norm(camera.eye - shot.track_m[frame]))
            spread = distance / np.maximum(view[:, 2] - radius, 0.1 * distance)
            x = (np.abs(view[:, 0]) + radius) * spread / aspect
            y = (np.abs(view[:, 1]) + radius) * spread
            need = max(need, float(np.maximum(x, y).max()))
    return float(np.clip(2 * need * 1.06, _TIGHTEST * span, _WIDEST * span))
