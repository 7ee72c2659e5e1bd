"""How a body moves, in some hundred numbers: what the referee judges emotion by. Left and right are not told apart."""

from __future__ import annotations

import numpy as np

from animoe.motion.features import FEATURE_COUNT, HEIGHT, PLANAR_VELOCITY, POSITION_COUNT, YAW_RATE, heading_positions
from animoe.rig.canonical import CANONICAL_JOINTS, FRAME_RATE_HZ
from animoe.rig.rotations import Array

CADENCE_HZ = (0.4, 4.0)
_QUANTILES = (0.1, 0.5, 0.9)
_MIN_FRAMES = 8


def kinematic_statistics(features: Array) -> Array:
    """(K,) float32 statistics of one motion (T, >= 140): posture, extents, speeds, smoothness, rhythm."""
    features = _long_enough(features)
    root = features.astype(np.float64)
    heights = features[:, FEATURE_COUNT:] if features.shape[1] > FEATURE_COUNT else heading_positions(features)
    positions = heights[:, :POSITION_COUNT].reshape(len(features), 21, 3).astype(np.float64)
    signals = [*_posture(root, positions), *_speeds(root, positions)]
    table = np.stack(signals, axis=1)
    quantiles = np.quantile(table, _QUANTILES, axis=0)
    columns = [quantiles.ravel(), table.mean(axis=0), table.std(axis=0), _rhythm(positions), _smoothness(positions)]
    return np.concatenate(columns).astype(np.float32)


def _long_enough(features: Array) -> Array:
    short = _MIN_FRAMES - len(features)
    return features if short <= 0 else np.pad(features, ((0, short), (0, 0)), mode="edge")


def _at(positions: Array, *names: str) -> Array:
    """(T, len(names), 3)."""
    found: Array = positions[:, [CANONICAL_JOINTS.index(name) - 1 for name in names]]
    return found


def _sides(positions: Array, joint: str) -> Array:
    """(T, 2, 3) of the left and the right joint."""
    return _at(positions, f"left_{joint}", f"right_{joint}")


def _posture(root: Array, positions: Array) -> list[Array]:
    """Signals (T,) of how the body is held, metres; pairs of sides as the greater and the smaller one."""
    neck, head = _at(positions, "neck")[:, 0], _at(positions, "head")[:, 0]
    found = [
        root[:, HEIGHT][:, 0],
        head[:, 1],
        neck[:, 2],
        head[:, 2] - neck[:, 2],
        head[:, 1] - neck[:, 1],
        neck[:, 0],
    ]
    found[-1] = np.abs(found[-1])
    shoulder = _sides(positions, "shoulder")
    found += [
        shoulder[..., 1].mean(1) - neck[:, 1],
        np.ptp(shoulder[..., 0], axis=1),
        shoulder[..., 2].mean(1) - neck[:, 2],
    ]
    for joint in ("wrist", "elbow"):
        place = _sides(positions, joint) - shoulder
        for values in (np.abs(place[..., 0]), place[..., 1], place[..., 2]):
            found += [values.max(1), values.min(1)]
    wrists, ankles = _sides(positions, "wrist"), _sides(positions, "ankle")
    found.append(np.linalg.norm(wrists[:, 0] - wrists[:, 1], axis=-1))
    found += [np.abs(ankles[:, 0, 0] - ankles[:, 1, 0]), np.abs(ankles[:, 0, 2] - ankles[:, 1, 2])]
    leg = np.linalg.norm(_sides(positions, "hip") - ankles, axis=-1)
    return [*found, leg.max(1), leg.min(1), ankles[..., 1].max(1)]


def _speeds(root: Array, positions: Array) -> list[Array]:
    """Signals (T,) of how fast it moves: logarithms of m/s and rad/s, so that a tempo is a shift."""
    ground = np.linalg.norm(root[:, PLANAR_VELOCITY], axis=-1)
    found = [_log(ground), _log(np.abs(root[:, YAW_RATE][:, 0]))]
    velocity = np.gradient(positions, 1 / FRAME_RATE_HZ, axis=0)
    speed = np.linalg.norm(velocity, axis=-1)
    for joint in ("wrist", "elbow", "knee", "ankle"):
        pair = _sides(speed[..., None], joint)[..., 0]
        found += [_log(pair.max(1)), _log(pair.min(1))]
    found += [_log(_at(speed[..., None], name)[:, 0, 0]) for name in ("head", "spine3")]
    found.append(_log(np.abs(np.gradient(root[:, HEIGHT][:, 0], 1 / FRAME_RATE_HZ))))
    return [*found, _log(speed.mean(1))]


def _log(values: Array) -> Array:
    found: Array = np.log(values + 0.05)
    return found


def _rhythm(positions: Array) -> Array:
    """Beat (log Hz), how regular it is and how wide, of the feet and of the hands."""
    found = []
    for joint in ("ankle", "wrist"):
        pair = _sides(positions, joint)
        signal = pair[:, 0, 2] - pair[:, 1, 2]
        signal = (signal - signal.mean()) * np.hanning(len(signal))
        power = np.abs(np.fft.rfft(signal, n=512)) ** 2
        rates = np.fft.rfftfreq(512, 1 / FRAME_RATE_HZ)
        band = (rates >= CADENCE_HZ[0]) & (rates <= CADENCE_HZ[1])
        total = power.sum() + 1e-9
        centre = (power[band] * np.log(rates[band])).sum() / (power[band].sum() + 1e-9)
        found += [centre, power[band].max() / total, float(np.ptp(pair[..., 2], axis=0).mean())]
        found.append(float(np.ptp(pair[..., 1], axis=0).mean()))
    return np.array(found)


def _smoothness(positions: Array) -> Array:
    """Logarithms of mean acceleration and jerk of hands, feet and head, and jerk over speed."""
    found = []
    for names in (("left_wrist", "right_wrist"), ("left_ankle", "right_ankle"), ("head", "spine3")):
        place = _at(positions, *names)
        speed, acceleration, jerk = (
            np.linalg.norm(np.diff(place, n=n, axis=0) * FRAME_RATE_HZ**n, axis=-1).mean() for n in (1, 2, 3)
        )
        found += [np.log(acceleration + 0.5), np.log(jerk + 5.0), np.log((jerk + 5.0) / (speed + 0.05))]
    return np.array(found)
