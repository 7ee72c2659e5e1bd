"""Root motion as codes: yaw rate and planar velocity at the end of every token, on a companded scale.

Root motion is not left to the learnt tokenizer: small errors of a velocity add up to a path that leads elsewhere. Here
the coder closes the loop. It integrates what it has coded so far and picks each velocity so that the decoded path comes
back to the true one, so the error stays bounded by the step of the scale however long the clip is. Within a token the
velocities run linearly, so they never jump. Path and heading of a motion can be read and set without a network.
"""

from __future__ import annotations

import math

import numpy as np

from animoe.motion.features import RootState
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
_REACH_S = _DT * sum((f + 1) / FRAMES_PER_TOKEN for f in range(FRAMES_PER_TOKEN))
"""How far the end of a token moves per unit of its end velocity."""
_STIFFNESS = 0.3
"""Trade-off of the closed loop: 0 follows the path exactly and jitters, large values drift."""


def root_table() -> Array:
    """(3, 256) float32: velocity of every code; code 128 is zero (mu-law, finest near zero)."""
    t = (np.arange(ROOT_LEVELS) - 128) / 127.0
    rows = [limit * np.sign(t) * (np.power(1 + mu, np.abs(t)) - 1) / mu for limit, mu in zip(_LIMITS, _MU, strict=True)]
    return np.stack(rows).astype(np.float32)


def encode_root(features: Array) -> Array:
    """Features (T, 140), T a multiple of 4 -> codes (T / 4, 3) int64."""
    rates = features[:, :3].astype(np.float64)
    true, decoded = RootState(), RootState()
    velocity = [float(v) for v in rates[: FRAMES_PER_TOKEN - 1].mean(axis=0)]
    codes = np.zeros((len(features) // FRAMES_PER_TOKEN, ROOT_GROUPS), dtype=np.int64)
    started = False
    for token in range(len(codes)):
        first = token * FRAMES_PER_TOKEN
        _advance(true, rates[first : first + FRAMES_PER_TOKEN])
        wanted = rates[first + 2 : first + 5].mean(axis=0)
        trial = RootState(decoded.yaw, decoded.planar)
        _advance(trial, _ramp(velocity if started else wanted, wanted))
        error = _error(trial, true)
        gain = _REACH_S / _TOKEN_S**2 / ((_REACH_S / _TOKEN_S) ** 2 + _STIFFNESS)
        codes[token] = [_code(group, wanted[group] - gain * error[group]) for group in range(ROOT_GROUPS)]
        chosen = [float(_TABLE[group, codes[token, group]]) for group in range(ROOT_GROUPS)]
        _advance(decoded, _ramp(velocity if started else chosen, chosen))
        velocity, started = chosen, True
    return codes


def _error(trial: RootState, true: RootState) -> tuple[float, float, float]:
    """Yaw and, in the decoded heading frame, planar distance by which `trial` overshoots."""
    dx, dz = trial.planar - true.planar
    sin, cos = math.sin(trial.yaw), math.cos(trial.yaw)
    return trial.yaw - true.yaw, cos * dx - sin * dz, sin * dx + cos * dz


def _ramp(start: list[float] | Array, end: list[float] | Array) -> Array:
    """(4, 3) velocities that run from `start` (the end of the token before) to `end`."""
    a, b = np.asarray(start), np.asarray(end)
    share = (np.arange(FRAMES_PER_TOKEN)[:, None] + 1) / FRAMES_PER_TOKEN
    ramp: Array = a + (b - a) * share
    return ramp


def _advance(state: RootState, rates: Array) -> None:
    """Integrates yaw rate and heading-frame velocity frame by frame, as `features.features_to_pose` does."""
    x, z = float(state.planar[0]), float(state.planar[1])
    for rate, left, forward in rates.tolist():
        sin, cos = math.sin(state.yaw), math.cos(state.yaw)
        x += (cos * left + sin * forward) * _DT
        z += (cos * forward - sin * left) * _DT
        state.yaw += rate * _DT
    state.planar = np.array([x, z])


def _code(group: int, value: float) -> int:
    return int(np.abs(_TABLE[group] - value).argmin())


_TABLE = root_table()
