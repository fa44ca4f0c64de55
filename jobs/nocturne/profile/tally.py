"""Loops over a column of numbers, compiled by Numba.

numpy takes seven steps for what ``tally`` does in one, each through memory of its own: three times
as long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from nocturne.records.buckets import BUCKETS, SHIFT

__all__ = ["compile_loops", "spread", "tally"]

_PART = 1024
"""Values at once: their differences from the centre stay in the first-level cache."""


F = TypeVar("F", bound=Callable[..., object])


def _compiled(function: F) -> F:
    """Compiled at its first call; kept beside this file or in the user's cache, as bytecode is."""

    @cache
    def made() -> Callable[..., object]:
        import numba  # takes a seventh of a second, which a plan or a verdict does without

        options = {"nogil": True, "fastmath": {"reassoc", "contract"}}  # sums in any order
        try:
            return cast(F, numba.njit(cache=True, **options)(function))
        except RuntimeError:  # there is no place to keep it: half a second in each process
            return cast(F, numba.njit(**options)(function))

    @wraps(function)
    def call(*args: object) -> object:
        return made()(*args)

    return cast(F, call)


@_compiled
def tally(
    values: NDArray[np.floating], center: float, counts: NDArray[np.int64]
) -> tuple[int, float]:
    """Add to ``counts`` [BUCKETS] in which of ``nocturne.records.buckets`` each finite value lies.

    Args:
        values: [n], float32 or float64.

    Returns:
        How many of the values are finite, and their mean less ``center``, in float64: a sum of the
        values themselves would lose what tells large ones apart. Not finite if a sum overflows.
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
        there = len(part)
        if np.isfinite(total):
            for i in range(len(part)):
                counts[bits[i] >> np.uint32(SHIFT)] += 1
        else:
            there = 0
            total = 0.0
            for i in range(len(part)):
                value = np.float64(part[i])
                if np.isfinite(value):
                    there += 1
                    total += value - center
                    counts[bits[i] >> np.uint32(SHIFT)] += 1
        if there:
            finite += there
            mean = mean * (1 - there / finite) + total / finite
    return finite, mean


@_compiled
def spread(values: NDArray[np.floating]) -> tuple[float, float]:
    """The sum of ``values`` [n] and that of their squared distances from the mean, in float64.

    Of each part around its first value, merged as Chan, Golub and LeVeque (1979) do, with means
    that are counted from the very first value: a value is no further from these than the squares
    say, so that nothing cancels that counts.
    """
    total = mean = squares = 0.0
    for start in range(0, len(values), _PART):
        part = values[start : start + _PART]
        first = np.float64(part[0])
        ahead = first - np.float64(values[0])
        one = two = 0.0
        for i in range(len(part)):
            away = np.float64(part[i]) - first
            one += away
            two += away * away
        there = len(part)
        share = there / (start + there)
        away = ahead + one / there - mean
        mean += away * share
        squares += two - one * one / there + away * away * start * share
        total += first * there + one
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
    """Compile for float32, as most columns are: processes that are forked later need not."""
    column = np.frombuffer(bytes(4), np.float32)  # not to be written to, as Arrow's are
    tally(column, 0.0, np.zeros(BUCKETS, np.int64))
    spread(column)
