"""Loops over the scores of two arms, compiled by Numba: what numpy takes twenty passes for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nocturne.columns.loops import compiled

__all__ = ["BINS", "JointTable", "sums_of"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_DROPPED_BITS = 18
"""Of the 23 bits of a float32's fraction, those that do not choose the bin."""
BINS = 1 << (32 - _DROPPED_BITS)
_TABLE = 1024, 1024
"""The table's cells at first; those that nothing is written to take no memory."""
_LARGEST_TABLE = 1 << 23
"""The most cells of the joint histogram that are held as a table: 64 MB."""


@compiled()
def sums_of(
    a: Floats, b: Floats, threshold: float, bounds: Floats, sums: Floats, counts: Whole, at: Whole
) -> None:
    """What is summed over pairs of scores.

    Args:
        a, b: [n].
        threshold: from which score on a row is decided upon.
        bounds: [3]: above them a row is kept by its first score, its second, their distance.
        sums: [8], written: the means, the squared distances from them and their products, the
            absolute and the squared differences, and the largest magnitude.
        counts: [8], written: equal scores; both at or above the threshold, the first alone, the
            second alone, neither; rows above each bound.
        at: [3, n], written: the places of the rows above each bound.
    """
    rows = len(a)
    total_a, total_b, largest = 0.0, 0.0, 0.0
    for i in range(rows):
        total_a += a[i]
        total_b += b[i]
        largest = max(largest, abs(a[i]), abs(b[i]))
    mean_a, mean_b = total_a / rows, total_b / rows
    squares_a, squares_b, products, absolute, squared = 0.0, 0.0, 0.0, 0.0, 0.0
    counts[:] = 0
    for i in range(rows):
        x, y = a[i], b[i]
        da, db, apart = x - mean_a, y - mean_b, x - y
        squares_a += da * da
        squares_b += db * db
        products += da * db
        squared += apart * apart
        apart = abs(apart)
        absolute += apart
        counts[0] += x == y
        counts[4 - 2 * (x >= threshold) - (y >= threshold)] += 1
        if x > bounds[0]:
            at[0, counts[5]] = i
            counts[5] += 1
        if y > bounds[1]:
            at[1, counts[6]] = i
            counts[6] += 1
        if apart > bounds[2]:
            at[2, counts[7]] = i
            counts[7] += 1
    sums[0], sums[1] = mean_a, mean_b
    sums[2], sums[3], sums[4] = squares_a, squares_b, products
    sums[5], sums[6], sums[7] = absolute, squared, largest


@compiled()
def _joint(a: Any, b: Any, first: int, numbers: Any, used: Whole, table: Any) -> int:
    """Counts the bins of pairs into ``table``, from row ``first`` on.

    Args:
        a, b: [n], the bits of float32 as int32.
        numbers: [2, BINS]: the place in the table of each bin; -1 if it has none yet.
        used: [2]: the places that are taken.

    Returns:
        The first row for which the table has no place; n if there is none.
    """
    for i in range(first, len(a)):
        x, y = np.int64(a[i]), np.int64(b[i])
        if x < 0:
            x = ~(x & 0x7FFFFFFF)
        if y < 0:
            y = ~(y & 0x7FFFFFFF)
        x, y = (x >> _DROPPED_BITS) + BINS // 2, (y >> _DROPPED_BITS) + BINS // 2
        if numbers[0, x] < 0:
            if used[0] == table.shape[0]:
                return i
            numbers[0, x] = used[0]
            used[0] += 1
        if numbers[1, y] < 0:
            if used[1] == table.shape[1]:
                return i
            numbers[1, y] = used[1]
            used[1] += 1
        table[numbers[0, x], numbers[1, y]] += 1
    return len(a)


class JointTable:
    """Counts pairs of bins. The bins are those of float32's first bits, in the order of values."""

    def __init__(self) -> None:
        self._clear(*_TABLE)

    def _clear(self, rows: int, columns: int) -> None:
        self._numbers = np.full((2, BINS), -1, np.int32)
        self._used = np.zeros(2, np.int64)
        self._table = np.zeros((rows, columns), np.int64)

    def add(self, a: Floats, b: Floats, centers: tuple[float, float]) -> Whole:
        """Count pairs [n] by their distances from the centres.

        Returns:
            Counts that were taken out because the table was full: as of ``read``; mostly empty.
        """
        x, y = (
            ((values - center).astype(np.float32) + np.float32(0)).view(np.int32)
            for values, center in zip((a, b), centers, strict=True)
        )
        done, taken = 0, list[Whole]()
        while True:
            done = _joint(x, y, done, self._numbers, self._used, self._table)
            if done == len(a):
                return np.concatenate(taken, axis=1) if taken else np.zeros((3, 0), np.int64)
            rows, columns = self._table.shape
            full = self._used == self._table.shape
            larger = (rows * (1 + int(full[0])), columns * (1 + int(full[1])))
            if larger[0] * larger[1] > _LARGEST_TABLE:
                taken.append(self.read())
                self._clear(*_TABLE)
                continue
            table = np.zeros(larger, np.int64)
            table[:rows, :columns] = self._table
            self._table = table

    def read(self) -> Whole:
        """The cells that have rows: [3, cells] of the first bin, the second, and the rows."""
        x, y = np.nonzero(self._table[: self._used[0], : self._used[1]])
        found = [self._table[x, y]]
        for side, places in ((1, y), (0, x)):
            bins = np.empty(int(self._used[side]), np.int64)
            there = np.flatnonzero(self._numbers[side] >= 0)
            bins[self._numbers[side][there]] = there - BINS // 2
            found.insert(0, bins[places])
        return np.stack(found)
