"""Loops over a column of numbers, compiled by Numba.

numpy needs seven steps for what ``tally`` does in one. Each step goes through memory of its own,
which takes three times as long.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nocturne.columns import loops
from nocturne.columns.loops import compiled
from nocturne.records.buckets import BUCKETS, SHIFT

__all__ = ["compile_loops", "spread", "tally"]

_PART = 1024
"""Values in a part: their distances from the centre stay in the first-level cache."""

_ANY_ORDER = {"reassoc", "contract"}
"""Sums may be added up in any order."""


@compiled(fastmath=_ANY_ORDER)
def tally(
    values: NDArray[np.floating], center: float, counts: NDArray[np.int64]
) -> tuple[int, float]:
    """Add each finite value to ``counts`` [BUCKETS], in its bucket of ``nocturne.records.buckets``.

    Args:
        values: [n], float32 or float64.

    Returns:
        The number of finite values, and their mean less ``center`` in float64: a sum of the values
        themselves would lose the differences of large ones. Not finite if a sum overflows.
    """
    finite = 0
    mean = 0.0
    away = np.empty(_PART, np.float32)
    bits = away.view(np.uint32)
    for start in range(0, len(values), _PART):
        part = values[start : start + _PART]
        total = 0.0
        for i in range(len(part)):
            distance = np.float64(part[i]) - center
            total += distance
            away[i] = np.float32(distance) + np.float32(0)  # -0.0 counts as 0.0
        counted = len(part)
        if np.isfinite(total):
            for i in range(len(part)):
                counts[bits[i] >> np.uint32(SHIFT)] += 1
        else:
            counted = 0
            total = 0.0
            for i in range(len(part)):
                value = np.float64(part[i])
                if np.isfinite(value):
                    counted += 1
                    total += value - center
                    counts[bits[i] >> np.uint32(SHIFT)] += 1
        if counted:
            finite += counted
            mean = mean * (1 - counted / finite) + total / finite
    return finite, mean


@compiled(fastmath=_ANY_ORDER)
def spread(values: NDArray[np.floating]) -> tuple[float, float]:
    """The sum of ``values`` [n] and that of their squared distances from the mean, in float64.

    Each part is summed around its first value, and the parts are merged as by Chan, Golub and
    LeVeque (1979), with means relative to the very first value. A value is no further from these
    than the squares show, so that no significant digits cancel.
    """
    total = mean = squares = 0.0
    for start in range(0, len(values), _PART):
        part = values[start : start + _PART]
        first = np.float64(part[0])
        ahead = first - np.float64(values[0])
        total_away = squares_away = 0.0
        for i in range(len(part)):
            away = np.float64(part[i]) - first
            total_away += away
            squares_away += away * away
        count = len(part)
        share = count / (start + count)
        away = ahead + total_away / count - mean
        mean += away * share
        squares += squares_away - total_away * total_away / count + away * away * start * share
        total += first * count + total_away
    if not (np.isfinite(total) and np.isfinite(squares)):  # as IEEE 754 has the plain sums
        total = squares = 0.0
        for i in range(len(values)):
            total += np.float64(values[i])
        mean = total / len(values)
        for i in range(len(values)):
            away = np.float64(values[i]) - mean
            squares += away * away
    return total, squares


def compile_loops() -> None:
    """Compile for float32, the type of most columns, so that forked processes need not compile."""
    column = np.frombuffer(bytes(4), np.float32)  # read-only, like Arrow's
    loops.compile_loops()
    tally(column, 0.0, np.zeros(BUCKETS, np.int64))
    spread(column)
