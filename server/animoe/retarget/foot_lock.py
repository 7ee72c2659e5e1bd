"""Foot locking, frame by frame: where a foot that stands has to stay, and how it comes there and leaves again.

The rule works on the floor plane. While a contact lasts, its joint (the toes when they stand, else the ankle) is held
at one point; else the foot follows its source. Both ways are smooth: a foot that lands keeps its speed and slows down
exponentially (the point is chosen where that ends), one that is let go returns to its source along a critically damped
spring that starts with the offset and the speed it had (inertialisation: Bollo, GDC 2018). Nothing looks ahead.
"""

from __future__ import annotations

import numpy as np

from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array

ON, OFF = 0.6, 0.35
"""Contact probabilities above which a foot is locked and below which it is let go."""
LANDING_PER_S = 40.0
RELEASE_PER_S = 12.0
MAX_OFFSET = 0.3
"""In leg lengths: a foot whose source slides farther than this is let go until its contact ends."""
_JUMP = 0.6  # leg lengths per frame: the character was put elsewhere
_MAX_SPEED = 2.5  # leg lengths per second that a released foot may carry over
_DT = 1.0 / FRAME_RATE_HZ

# Columns of a foot's state.
_MODE, _BANNED, _PRIMED = 0, 1, 2
_POINT, _OFFSET, _SPEED = slice(3, 5), slice(5, 7), slice(7, 9)
_HELD, _HELD_SPEED = slice(9, 13), slice(13, 17)  # ankle and toes as they were put out, and their speeds
WIDTH = 17


def new_state() -> Array:
    """(2, WIDTH): both feet free."""
    return np.zeros((2, WIDTH))


def lock_feet(feet: Array, contacts: Array, states: Array, leg_m: float) -> Array:
    """Offsets that keep standing feet in place.

    Args:
        feet: (C, n, 2, 2, 2) ankle and toes (axis 3) of both feet (axis 2) of C characters on the floor (x, z), metres.
        contacts: (C, n, 2, 2) probabilities, same axes.
        states: (C, 2, WIDTH), moved on.
        leg_m: leg length of the rig.

    Returns:
        (C, n, 2, 2) what to add to each foot's place on the floor.
    """
    offsets = np.empty(feet.shape[:3] + (2,))
    for frame in range(feet.shape[1]):
        offsets[:, frame] = _advance(feet[:, frame], contacts[:, frame], states, leg_m)
    return offsets


_LANDING = float(np.exp(-LANDING_PER_S * _DT))
_FREE = float(np.exp(-RELEASE_PER_S * _DT))


def _advance(feet: Array, contacts: Array, s: Array, leg_m: float) -> Array:
    """One frame: feet (C, 2, 2, 2), contacts (C, 2, 2), states (C, 2, WIDTH) -> offsets (C, 2, 2)."""
    count = len(s)
    held = s[..., _HELD].reshape(count, 2, 2, 2)
    source = held - s[..., None, _OFFSET]
    jumped = (np.abs(feet - source).max(axis=(-1, -2)) > _JUMP * leg_m) | (s[..., _PRIMED] == 0)
    if jumped.any():
        s[jumped] = 0.0
        held = np.where(jumped[..., None, None], feet, held)
    mode, before = _wanted(contacts, s), s[..., _MODE]
    toes = (mode == 2)[..., None]
    place = np.where(toes, feet[:, :, 1], feet[:, :, 0])
    was = np.where(toes, held[:, :, 1], held[:, :, 0])
    landing = (mode > 0) & (mode != before)
    if landing.any():
        speed = np.where(toes, s[..., _HELD_SPEED][..., 2:], s[..., _HELD_SPEED][..., :2])
        s[..., _POINT] = np.where(landing[..., None], was + speed / LANDING_PER_S, s[..., _POINT])
    point, offset, speed = s[..., _POINT], s[..., _OFFSET], s[..., _SPEED]
    locked = point + (was - point) * _LANDING - place
    pull = speed + RELEASE_PER_S * offset
    free = (offset + pull * _DT) * _FREE
    standing = (mode > 0)[..., None]
    too_far = (mode > 0) & (np.einsum("...i,...i->...", locked, locked) > (MAX_OFFSET * leg_m) ** 2)
    if too_far.any():
        mode = np.where(too_far, 0.0, mode)
        standing = (mode > 0)[..., None]
        s[..., _BANNED] = np.where(too_far, 1.0, s[..., _BANNED])
    found: Array = np.where(standing, locked, free)
    limit = _MAX_SPEED * leg_m
    s[..., _SPEED] = np.where(
        standing, np.clip((locked - offset) / _DT, -limit, limit), (speed - pull * RELEASE_PER_S * _DT) * _FREE
    )
    put = (feet + found[:, :, None]).reshape(count, 2, 4)
    s[..., _HELD_SPEED] = np.where((s[..., _PRIMED] > 0)[..., None], (put - s[..., _HELD]) / _DT, 0.0)
    s[..., _HELD], s[..., _OFFSET], s[..., _MODE], s[..., _PRIMED] = put, found, mode, 1.0
    return found


def _wanted(contacts: Array, s: Array) -> Array:
    """(C, 2) 0 free, 1 held at the ankle, 2 held at the toes; with hysteresis, and never while banned."""
    limits = np.where(s[..., _MODE, None] > 0, OFF, ON)
    on = contacts > limits
    mode = np.where(on[..., 1], 2.0, np.where(on[..., 0], 1.0, 0.0))
    banned = (s[..., _BANNED] > 0) & (mode > 0)
    s[..., _BANNED] = banned
    return np.where(banned, 0.0, mode)
