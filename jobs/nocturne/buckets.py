"""Log-linear buckets of float32 values: exact counts without choosing edges first.

A value, less its column's centre, is put in a bucket by its leading bits: sign, exponent
and five bits of mantissa, 16,384 buckets in all. They are fine near the centre and 3% of
the distance from it further out, so that quantile bins can be laid on bucket edges
afterwards and still have exact counts. ``rank`` orders buckets by value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BUCKETS", "Scratch", "bucket", "lower_bounds", "middles", "rank"]

_SHIFT = 18
BUCKETS = 1 << (32 - _SHIFT)
_HALF = BUCKETS // 2


class Scratch:
    """Memory that is used again for each column: fresh pages cost as much as counting."""

    def __init__(self) -> None:
        self._memory: dict[np.dtype[Any], NDArray[Any]] = {}

    def __call__(self, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
        """``size`` undefined values, until the next call for this type."""
        if len(self._memory.get(dtype, ())) < size:
            self._memory[dtype] = np.empty(size, dtype)
        return self._memory[dtype][:size]


def bucket(
    values: NDArray[np.floating], center: float, scratch: Scratch | None = None
) -> NDArray[np.int64]:
    """Bucket ids [n] of ``values`` [n]. -0.0 counts as 0.0.

    What is not finite, or too far from ``center`` for a float32, gets an id of the exponent
    255. Float32 values are taken as they are where the centre is a float32 too; the ids are
    those of the exact difference rounded once. They lie in ``scratch`` if it is given.
    """
    scratch = Scratch() if scratch is None else scratch
    narrow = values.dtype == np.float32 and float(np.float32(center)) == center
    if narrow:
        shifted = scratch(np.dtype(np.float32), len(values))
        np.add(values, np.float32(0) - np.float32(center), out=shifted)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            shifted = (values - np.float64(center)).astype(np.float32) + np.float32(0)
    ids = scratch(np.dtype(np.int64), len(shifted))
    np.right_shift(shifted.view(np.uint32), _SHIFT, out=ids, casting="unsafe")
    return ids


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
