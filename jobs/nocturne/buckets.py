"""Log-linear buckets of float32 values: exact counts without choosing edges first.

A value, less its column's centre, is put in a bucket by its leading bits: sign, exponent
and five bits of mantissa, 16,384 buckets in all. They are fine near the centre and 3% of
the distance from it further out, so that quantile bins can be laid on bucket edges
afterwards and still have exact counts. ``rank`` orders buckets by value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BUCKETS", "Tally", "bucket", "lower_bounds", "middles", "rank", "shifted"]

_SHIFT = 18
BUCKETS = 1 << (32 - _SHIFT)
_HALF = BUCKETS // 2


def shifted(
    values: NDArray[np.floating], center: float, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``values`` [n] less ``center``, as float32 [n], -0.0 as 0.0.

    Float32 values are taken as they are where the centre is a float32 too: the exact difference
    rounded once. What is too far from the centre for a float32 becomes infinite. Float32
    differences are written to ``out`` if it is given.
    """
    if values.dtype == np.float32 and float(np.float32(center)) == center:
        return np.asarray(np.add(values, np.float32(0) - np.float32(center), out=out))
    with np.errstate(over="ignore", invalid="ignore"):
        return (values - np.float64(center)).astype(np.float32) + np.float32(0)


def bucket(values: NDArray[np.floating], center: float) -> NDArray[np.int64]:
    """Bucket ids [n] of ``values`` [n]; what is not finite gets one of the exponent 255."""
    return (shifted(values, center).view(np.uint32) >> _SHIFT).astype(np.int64)


class Tally:
    """Counts batches of values by bucket, in memory that each batch uses again.

    The counts are a sparse matrix, with a one in the row of each value's bucket, times (1): scipy's
    loop for that takes a third of the time of numpy's bincount, which wants 64-bit ids in fresh
    pages and looks through them twice.
    """

    def __init__(self) -> None:
        self._room = np.empty(0, np.float32)

    def room(self, size: int) -> NDArray[np.float32]:
        """Memory [size] for differences, until the next call."""
        if len(self._room) < size:
            from scipy.sparse import csc_array

            self._room = np.empty(size, np.float32)
            self._one = np.ones(1, np.float32)
            ones, ids = np.ones(size, np.float32), np.zeros(size, np.int32)
            ends = np.array([0, size], np.int32)
            self._matrix = csc_array((ones, ids, ends), shape=(BUCKETS, 1), copy=False)
        return self._room[:size]

    def counts(self, differences: NDArray[np.float32]) -> NDArray[np.float32]:
        """How many of ``differences`` [n], as ``shifted`` gives them, are in each bucket.

        Exact up to n of 2**24.
        """
        size = len(differences)
        self.room(size)
        ids = self._matrix.indices[:size].view(np.uint32)
        np.right_shift(differences.view(np.uint32), _SHIFT, out=ids)
        self._matrix.indptr[1] = size
        return np.asarray(self._matrix @ self._one)


def rank(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions in value order of bucket ids: negatives from the most negative, then positives."""
    return np.where(ids >= _HALF, BUCKETS - 1 - ids, ids + _HALF)


def lower_bounds(positions: NDArray[np.int64], center: float) -> NDArray[np.float64]:
    """The smallest value [n] (units of the column) of the buckets at ranks ``positions`` [n].

    That of the next rank is where a bucket ends.
    """
    negative = np.minimum((BUCKETS - positions) << _SHIFT, (1 << 32) - 1)
    bits = np.where(positions >= _HALF, (positions - _HALF) << _SHIFT, negative)
    return center + bits.astype(np.uint32).view(np.float32).astype(np.float64)


def middles(positions: NDArray[np.int64], center: float) -> NDArray[np.float64]:
    """The middle [n] (units of the column) of each of the buckets at ranks ``positions`` [n]."""
    low, high = (lower_bounds(p, center) for p in (positions, positions + 1))
    return np.asarray((low + high) / 2)
