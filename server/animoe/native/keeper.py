"""Memory that C++ looks at."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from animoe.rig.rotations import Array

_LINE = 64


class Keeper:
    """Makes contiguous arrays and structs and keeps them for as long as C++ may look at them. Gives addresses."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def floats(self, values: Array) -> int:
        return self._aligned(np.asarray(values, dtype=np.float32))

    def doubles(self, values: Array) -> int:
        return self._aligned(np.asarray(values, dtype=np.float64))

    def ints(self, values: Array | Sequence[int]) -> int:
        return self._aligned(np.asarray(values, dtype=np.int32))

    def bytes(self, values: Array) -> int:
        return self._aligned(np.asarray(values, dtype=np.int8))

    def together(self, arrays: Sequence[Array]) -> list[int]:
        """Copies in one stretch of memory, in their order."""
        sizes = [-(-array.nbytes // _LINE) * _LINE for array in arrays]
        begins = np.cumsum([0, *sizes])
        whole = np.zeros(begins[-1], dtype=np.uint8)
        for array, begin in zip(arrays, begins, strict=False):
            whole[begin : begin + array.nbytes] = np.ascontiguousarray(array).view(np.uint8).ravel()
        base = self._aligned(whole)
        return [base + int(begin) for begin in begins[:-1]]

    def structs(self, kind: type[ctypes.Structure], values: Sequence[ctypes.Structure]) -> int:
        found = (kind * len(values))(*values)
        self._kept.append(found)
        return ctypes.addressof(found)

    def _aligned(self, values: Array) -> int:
        """A copy that begins with a cache line: vectors that lie across two take twice as long to load."""
        memory = np.empty(values.nbytes + _LINE, dtype=np.uint8)
        begin = -memory.ctypes.data % _LINE
        copy = memory[begin : begin + values.nbytes]
        copy.view(values.dtype).reshape(values.shape)[...] = values
        self._kept.append(memory)
        found: int = copy.ctypes.data
        return found


def addresses(arrays: Sequence[Array]) -> Array:
    """(N,) where arrays lie; the caller keeps them meanwhile."""
    return np.array([array.ctypes.data for array in arrays], dtype=np.uint64)
