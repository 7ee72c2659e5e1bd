"""The cubic B-spline through whose control points decoded joints move: two points per token of four frames."""

from __future__ import annotations

import numpy as np

from animoe.rig.rotations import Array

SPLINE: Array = (
    np.array([[1, 23, 23, 1, 0], [0, 8, 32, 8, 0], [0, 1, 23, 23, 1], [0, 0, 8, 32, 8]], dtype=np.float32) / 48
)
"""(4, 5): weights of points 2n-3 .. 2n+1 on the four frames of token n; knots are two frames apart."""
