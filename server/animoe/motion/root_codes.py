"""Root motion as codes: yaw rate and planar velocity at the end of every token, on a companded scale.

Root motion is not left to the learnt tokenizer: small errors of a velocity add up to a path that leads elsewhere. Here
the coder closes the loop. It integrates what it has coded so far and picks each velocity so that the decoded path comes
back to the true one, so the error stays bounded by the step of the scale however long the clip is. Within a token the
velocities run linearly, so they never jump. Path and heading of a motion can be read and set without a network.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array

FRAMES_PER_TOKEN = 4
ROOT_GROUPS = 3
"""Codes per token: yaw rate, planar velocity x (left), planar velocity z (forward)."""
ROOT_LEVELS = 256
_LIMITS = (14.0, 6.0, 8.0)  # rad/s, m/s, m/s
_MU = (60.0, 30.0, 40.0)  # how much finer the scale is near zero than at the limit
_DT = 1.0 / FRAME_RATE_HZ
_TOKEN_S = FRAMES_PER_TOKEN * _DT
_SHARES = tuple((frame + 1) / FRAMES_PER_TOKEN for frame in range(FRAMES_PER_TOKEN))
_REACH_S = _DT * sum(_SHARES)
"""How far the end of a token moves per unit of its end velocity."""
_STIFFNESS = 0.3
"""Trade-off of the closed loop: 0 follows the path exactly and jitters, large values drift."""
_GAIN = _REACH_S / _TOKEN_S**2 / ((_REACH_S / _TOKEN_S) ** 2 + _STIFFNESS)
_Triple = tuple[float, float, float]


def root_table() -> Array:
    """(3, 256) float32: velocity of every code; code 128 is zero (mu-law, finest near zero)."""
    t = (np.arange(ROOT_LEVELS) - 128) / 127.0
    rows = [limit * np.sign(t) * (np.power(1 + mu, np.abs(t)) - 1) / mu for limit, mu in zip(_LIMITS, _MU, strict=True)]
    return np.stack(rows).astype(np.float32)


def encode_root(features: Array) -> Array:
    """Features (T, 140), T a multiple of 4 -> codes (T / 4, 3) int64."""
    rates = features[:, :3].astype(np.float64)
    wanted = [rates[first + 2 : first + 5].mean(axis=0).tolist() for first in range(0, len(rates), FRAMES_PER_TOKEN)]
    steps = rates.tolist()
    true, decoded = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    codes = np.zeros((len(wanted), ROOT_GROUPS), dtype=np.int64)
    velocity: _Triple | None = None
    for token, goal in enumerate(wanted):
        true = _advance(true, steps[token * FRAMES_PER_TOKEN : (token + 1) * FRAMES_PER_TOKEN])
        error = _error(_advance(decoded, _ramp(velocity or goal, goal)), true)
        row = [_code(group, goal[group] - _GAIN * error[group]) for group in range(ROOT_GROUPS)]
        chosen = (_LEVELS[0][row[0]], _LEVELS[1][row[1]], _LEVELS[2][row[2]])
        decoded = _advance(decoded, _ramp(velocity or chosen, chosen))
        codes[token], velocity = row, chosen
    return codes


def _error(trial: _Triple, true: _Triple) -> _Triple:
    """Yaw and, in the decoded heading frame, planar distance (x, z) by which `trial` overshoots."""
    dx, dz = trial[1] - true[1], trial[2] - true[2]
    sin, cos = math.sin(trial[0]), math.cos(trial[0])
    return trial[0] - true[0], cos * dx - sin * dz, sin * dx + cos * dz


def _ramp(start: Sequence[float], end: Sequence[float]) -> list[list[float]]:
    """Velocities of the four frames, from `start` (the end of the token before) to `end`."""
    return [[a + (b - a) * share for a, b in zip(start, end, strict=True)] for share in _SHARES]


def _advance(state: _Triple, rates: Sequence[Sequence[float]]) -> _Triple:
    """Integrates (yaw, x, z) frame by frame, as `features.features_to_pose` does. Plain floats: numpy is 5x slower."""
    yaw, x, z = state
    for rate, left, forward in rates:
        sin, cos = math.sin(yaw), math.cos(yaw)
        x += (cos * left + sin * forward) * _DT
        z += (cos * forward - sin * left) * _DT
        yaw += rate * _DT
    return yaw, x, z


def _code(group: int, value: float) -> int:
    levels = _LEVELS[group]
    above = bisect_left(levels, value)
    if above == 0 or above == ROOT_LEVELS:
        return min(above, ROOT_LEVELS - 1)
    return above if levels[above] - value < value - levels[above - 1] else above - 1


_LEVELS: list[list[float]] = root_table().tolist()
