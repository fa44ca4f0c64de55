"""Log-linear buckets of float32 values: exact counts without choosing edges first.

The bucket of a value is given by the leading bits of its distance from the column's centre: sign,
exponent and five bits of mantissa, 16,384 buckets in all. Buckets are narrow near the centre;
further out, their width is 3% of the distance. So the edges of quantile bins can be chosen later
among the edges of buckets, and their counts are exact. ``rank`` orders buckets by value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BUCKETS", "SHIFT", "bucket", "lower_bounds", "rank"]

SHIFT = 18
"""The trailing bits of a float32 that its bucket ignores."""

BUCKETS = 1 << (32 - SHIFT)
_HALF = BUCKETS // 2
_SIGN, _INFINITY = np.uint32(0x8000_0000), np.uint32(0x7F80_0000)


def bucket(values: NDArray[np.floating], center: float) -> NDArray[np.int64]:
    """Bucket ids [n] of ``values`` [n]; those of non-finite values have the exponent 255.

    The exact difference is rounded once to float32; -0.0 counts as 0.0.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        away = (values - np.float64(center)).astype(np.float32) + np.float32(0)
    return (away.view(np.uint32) >> SHIFT).astype(np.int64)


def rank(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions in value order of bucket ids: negatives from the most negative, then positives."""
    return np.where(ids >= _HALF, BUCKETS - 1 - ids, ids + _HALF)


def lower_bounds(positions: NDArray[np.int64], center: float) -> NDArray[np.float64]:
    """The smallest value [n] (units of the column) of the buckets at ranks ``positions`` [n].

    A bucket ends at the lower bound of the next rank. A value that is too far from the centre for a
    float32 lies in a bucket of infinity.
    """
    negative = np.minimum((BUCKETS - positions) << SHIFT, (1 << 32) - 1)
    bits = np.where(positions >= _HALF, (positions - _HALF) << SHIFT, negative).astype(np.uint32)
    bounds = np.where(bits & _INFINITY == _INFINITY, bits & (_SIGN | _INFINITY), bits)
    return center + bounds.astype(np.uint32).view(np.float32).astype(np.float64)
