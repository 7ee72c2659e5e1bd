"""Foot locking, frame by frame: where a foot that stands has to stay, and how it comes there and leaves again.

The rule works on the floor plane. While a contact lasts, its joint (the toes when they stand, else the ankle) is held
at one point; else the foot follows its source. Both ways are smooth: a foot that lands keeps its speed and slows down
exponentially (the point is chosen where that ends), one that is let go returns to its source along a critically damped
spring that starts with the offset and the speed it had (inertialisation: Bollo, GDC 2018). Nothing looks ahead.

Plain numbers, not arrays: a foot needs some sixty operations a frame, and numpy would spend its time on calls.
"""

from __future__ import annotations

from math import exp, hypot

from animoe.rig.canonical import FRAME_RATE_HZ

ON, OFF = 0.6, 0.35
"""Contact probabilities above which a foot is locked and below which it is let go."""
LANDING_PER_S = 80.0
RELEASE_PER_S = 12.0
_JUMP = 0.6  # leg lengths per frame: the character was put elsewhere
_MAX_SPEED = 2.5  # leg lengths per second that a released foot may carry over
_BACK, _CALM = 0.03, 0.25  # leg lengths, and per second: so near its source, which moves so slowly, it may stand again
_DT = 1.0 / FRAME_RATE_HZ
_LANDING = exp(-LANDING_PER_S * _DT)
_FREE = exp(-RELEASE_PER_S * _DT)
_ANKLE, _TOES = 0, 1

Point = tuple[float, float]
"""On the floor: x, z in metres."""


class FootLock:
    """One foot of one character.

    Args:
        leg_m: leg length of the rig.
        farthest_m: a foot whose source slides farther than this is let go until its contact ends or the source stands.
    """

    __slots__ = ("_banned", "_farthest", "_held", "_leg", "_offset", "_point", "_speed", "_speeds", "_standing")

    def __init__(self, leg_m: float, farthest_m: float) -> None:
        self._leg, self._farthest = leg_m, farthest_m
        self._restart(None)

    def _restart(self, place: tuple[Point, Point] | None) -> None:
        self._standing: int | None = None  # the joint that is held
        self._banned = False
        self._point: Point = (0.0, 0.0)
        self._offset: Point = (0.0, 0.0)
        self._speed: Point = (0.0, 0.0)  # of the offset
        self._held = place  # ankle and toes as they were put out
        self._speeds: tuple[Point, Point] = ((0.0, 0.0), (0.0, 0.0))

    @property
    def standing(self) -> bool:
        """Whether the foot is held."""
        return self._standing is not None

    def advance(self, ankle: Point, toes: Point, ankle_contact: float, toe_contact: float) -> Point:
        """What to add to the foot's place in the next frame.

        Args:
            ankle, toes: where the source has them. ankle_contact, toe_contact: probabilities that they stand.
        """
        place = (ankle, toes)
        if self._held is None or self._jumped(ankle):
            self._restart(place)
        held = self._held
        assert held is not None
        self._banned = self._banned and not self._calmed(toes)
        joint = self._wanted(ankle_contact, toe_contact)
        if joint is not None and joint != self._standing:
            (x, z), (vx, vz) = held[joint], self._speeds[joint]
            self._point = (x + vx / LANDING_PER_S, z + vz / LANDING_PER_S)
        found = None if joint is None else self._hold(held[joint], place[joint])
        if found is None:
            self._standing = None
            found = self._return()
        else:
            self._standing = joint
        self._put(place, held, found)
        return found

    def _jumped(self, ankle: Point) -> bool:
        assert self._held is not None
        (x, z), (ox, oz) = self._held[_ANKLE], self._offset
        return hypot(ankle[0] - x + ox, ankle[1] - z + oz) > _JUMP * self._leg

    def _calmed(self, toes: Point) -> bool:
        """Whether a foot that was let go is back at its source, and that stands: a contact may last for minutes."""
        assert self._held is not None
        (x, z), (ox, oz) = self._held[_TOES], self._offset
        moved = hypot(toes[0] - x + ox, toes[1] - z + oz)
        return hypot(ox, oz) < _BACK * self._leg and moved < _CALM * self._leg * _DT

    def _wanted(self, ankle_contact: float, toe_contact: float) -> int | None:
        """The joint to hold, with hysteresis; none while banned."""
        limit = ON if self._standing is None else OFF
        joint = _TOES if toe_contact > limit else _ANKLE if ankle_contact > limit else None
        self._banned = self._banned and joint is not None
        return None if self._banned else joint

    def _hold(self, held: Point, place: Point) -> Point | None:
        """The offset that brings the held joint nearer to its point; None when its source went too far away."""
        (px, pz), (ox, oz) = self._point, self._offset
        x, z = px + (held[0] - px) * _LANDING - place[0], pz + (held[1] - pz) * _LANDING - place[1]
        if hypot(x, z) > self._farthest:
            self._banned = True
            return None
        limit = _MAX_SPEED * self._leg
        self._speed = (_within((x - ox) / _DT, limit), _within((z - oz) / _DT, limit))
        return x, z

    def _return(self) -> Point:
        """The offset on its way to zero: critically damped, from the offset and speed of the frame before."""
        (ox, oz), (vx, vz) = self._offset, self._speed
        pull_x, pull_z = vx + RELEASE_PER_S * ox, vz + RELEASE_PER_S * oz
        ease = RELEASE_PER_S * _DT
        self._speed = ((vx - pull_x * ease) * _FREE, (vz - pull_z * ease) * _FREE)
        return (ox + pull_x * _DT) * _FREE, (oz + pull_z * _DT) * _FREE

    def _put(self, place: tuple[Point, Point], held: tuple[Point, Point], offset: Point) -> None:
        x, z = offset
        (ax, az), (tx, tz) = place
        put = ((ax + x, az + z), (tx + x, tz + z))
        (hax, haz), (htx, htz) = held
        rate = FRAME_RATE_HZ
        self._speeds = (
            ((put[0][0] - hax) * rate, (put[0][1] - haz) * rate),
            ((put[1][0] - htx) * rate, (put[1][1] - htz) * rate),
        )
        self._held, self._offset = put, offset


def _within(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))
