"""The feature representation that the tokenizer sees, and the way back. 30 fps, canonical skeleton.

Per frame, 140 numbers (`LAYOUT`): yaw rate of the heading (rad/s), planar velocity of the pelvis in the heading frame
(x left, z forward, m/s), pelvis height (m), pelvis tilt relative to the heading (6D), 21 local rotations (6D), four
foot contacts. Rotations are decoded directly: never rebuilt from positions by inverse kinematics.

Root motion is causal: yaw(t) = yaw(t-1) + rate(t) dt and p(t) = p(t-1) + R(yaw(t-1)) v(t) dt, so a decoder integrates
it frame by frame with `RootState` and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from animoe.errors import ShapeError
from animoe.motion.clip import Clip
from animoe.motion.contacts import foot_contacts
from animoe.rig.canonical import CANONICAL_JOINTS, FRAME_RATE_HZ, canonical_skeleton
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import Array, from_6d, from_yaw, inverse, multiply, rotate, to_6d

YAW_RATE = slice(0, 1)
PLANAR_VELOCITY = slice(1, 3)
HEIGHT = slice(3, 4)
TILT = slice(4, 10)
LOCAL_ROTATIONS = slice(10, 136)
CONTACTS = slice(136, 140)
FEATURE_COUNT = 140
POSITION_COUNT = 21 * 3
"""Extra encoder inputs per frame: joint positions (without the pelvis) in the heading frame, metres."""

_HEADING_SIGMA_FRAMES = 3.0
_DT = 1.0 / FRAME_RATE_HZ


@dataclass
class RootState:
    """Where the root of a stream stands: heading (radians about +Y, 0 faces +Z) and position on the floor (x, z)."""

    yaw: float = 0.0
    planar: Array = field(default_factory=lambda: np.zeros(2))


def clip_to_features(clip: Clip) -> tuple[Array, RootState]:
    """Canonical 30 fps clip of T frames -> features (T, 140) float32 and the root state *before* frame 0.

    Raises:
        ShapeError: the clip is not on the canonical skeleton at 30 fps, or has no frames.
    """
    if clip.skeleton.joint_names != CANONICAL_JOINTS or abs(clip.frame_rate_hz - FRAME_RATE_HZ) > 0.01:
        raise ShapeError("features need a canonical clip at 30 fps; call retarget.canonicalise first")
    if clip.frame_count == 0:
        raise ShapeError("the clip has no frames")
    yaw = heading(clip.local_rotations[:, 0])
    planar = clip.root_positions[:, [0, 2]]
    rate = np.diff(yaw) / _DT
    world_velocity = np.diff(planar, axis=0) / _DT
    velocity = _turn_planar(world_velocity, -yaw[:-1])
    rate = np.concatenate([rate[:1] if len(rate) else [0.0], rate])
    velocity = np.concatenate([velocity[:1] if len(velocity) else np.zeros((1, 2)), velocity])
    tilt = multiply(inverse(from_yaw(yaw)), clip.local_rotations[:, 0])
    contacts = foot_contacts(clip.world()[1], FRAME_RATE_HZ)
    columns = [
        rate[:, None],
        velocity,
        clip.root_positions[:, 1:2],
        to_6d(tilt),
        to_6d(clip.local_rotations[:, 1:]).reshape(clip.frame_count, -1),
        contacts,
    ]
    before_yaw = float(yaw[0] - rate[0] * _DT)
    before = RootState(before_yaw, planar[0] - _turn_planar(velocity[:1], np.array([before_yaw]))[0] * _DT)
    return np.concatenate(columns, axis=-1).astype(np.float32), before


def features_to_pose(features: Array, root: RootState) -> tuple[Array, Array, Array]:
    """Integrates features (n, 140) from `root`, which it moves on.

    Returns:
        local rotations (n, 22, 4), pelvis positions in the world (n, 3) metres, contacts (n, 4) in [0, 1].
    """
    rotations, positions, contacts, _ = features_to_poses(features[None], [root])
    return rotations[0], positions[0], contacts[0]


def features_to_poses(features: Array, roots: Sequence[RootState]) -> tuple[Array, Array, Array, Array]:
    """Integrates features (B, n, 140) of B characters from their `roots`, which it moves on.

    Returns:
        local rotations (B, n, 22, 4), pelvis positions in the world (B, n, 3) metres, contacts (B, n, 4) in [0, 1] and
        headings (B, n) radians.
    """
    wide = features.astype(np.float64)
    batch, count = wide.shape[:2]
    yaw = np.array([root.yaw for root in roots])
    yaws = yaw[:, None] + np.cumsum(wide[..., 0], axis=1) * _DT
    before = np.concatenate([yaw[:, None], yaws[:, :-1]], axis=1)
    steps = _turn_planar(wide[..., PLANAR_VELOCITY].reshape(-1, 2), before.ravel()).reshape(batch, count, 2)
    planar = np.stack([root.planar for root in roots])[:, None] + np.cumsum(steps, axis=1) * _DT
    for index, root in enumerate(roots):
        root.yaw, root.planar = float(yaws[index, -1]), planar[index, -1].copy()
    pelvis = multiply(from_yaw(yaws), from_6d(wide[..., TILT]))
    joints = from_6d(wide[..., LOCAL_ROTATIONS].reshape(batch, count, 21, 6))
    positions = np.stack([planar[..., 0], wide[..., 3], planar[..., 1]], axis=-1)
    rotations = np.concatenate([pelvis[:, :, None], joints], axis=2)
    return rotations, positions, np.clip(wide[..., CONTACTS], 0.0, 1.0), yaws


def features_to_clip(features: Array, root: RootState | None = None, name: str = "") -> Clip:
    """Features (T, 140) -> canonical clip; it starts at the origin facing +Z unless `root` says otherwise."""
    start = RootState(root.yaw, root.planar.copy()) if root is not None else RootState()
    rotations, positions, _ = features_to_pose(features, start)
    return Clip.from_root(canonical_skeleton(), FRAME_RATE_HZ, rotations, positions, name)


def heading_positions(features: Array) -> Array:
    """(T, 63) float32 positions of joints 1..21 relative to the point on the floor under the pelvis, heading frame."""
    skeleton = canonical_skeleton()
    count = len(features)
    rotations = np.concatenate(
        [from_6d(features[:, TILT])[:, None], from_6d(features[:, LOCAL_ROTATIONS].reshape(count, 21, 6))], axis=1
    )
    translations = np.tile(skeleton.rest_translations, (count, 1, 1))
    translations[:, 0] = 0.0
    translations[:, 0, 1] = features[:, 3]
    positions = local_to_model(rotations, translations, skeleton.parents)[1]
    return positions[:, 1:].reshape(count, -1).astype(np.float32)


def heading(pelvis_rotations: Array) -> Array:
    """(T,) unwrapped heading in radians of world pelvis rotations (T, 4): the smoothed twist about +Y.

    The twist (Dobrowolski 2015) is undefined where the pelvis is upside down, so it is averaged over a few frames
    with its own reliability as weight: a somersault passes through without a spin of the heading.
    """
    twist = (pelvis_rotations[:, 3] + 1j * pelvis_rotations[:, 1]) ** 2  # |.| = reliability, angle = yaw
    radius = int(4 * _HEADING_SIGMA_FRAMES)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _HEADING_SIGMA_FRAMES) ** 2)
    padded = np.pad(twist, radius, mode="edge")
    smooth = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return np.unwrap(np.angle(smooth))


def mirrored(clip: Clip) -> Clip:
    """The canonical clip seen in a mirror: left and right change places (x -> -x)."""
    order = [CANONICAL_JOINTS.index(_other_side(name)) for name in CANONICAL_JOINTS]
    rotations = clip.local_rotations[:, order] * np.array([1.0, -1.0, -1.0, 1.0])
    positions = clip.root_positions * np.array([-1.0, 1.0, 1.0])
    return Clip.from_root(clip.skeleton, clip.frame_rate_hz, rotations, positions, clip.name)


def _other_side(name: str) -> str:
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    return "left_" + name.removeprefix("right_") if name.startswith("right_") else name


def _turn_planar(planar: Array, yaw: Array) -> Array:
    """Turns (n, 2) floor vectors (x, z) by (n,) radians about +Y."""
    vectors = np.stack([planar[:, 0], np.zeros(len(planar)), planar[:, 1]], axis=-1)
    return rotate(from_yaw(yaw), vectors)[:, [0, 2]]
