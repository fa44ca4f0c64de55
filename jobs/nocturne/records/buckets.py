"""Log-linear buckets of float32 values: exact counts without choosing edges first.

A value, less its column's centre, is put in a bucket by its leading bits: sign, exponent
and five bits of mantissa, 16,384 buckets in all. They are fine near the centre and 3% of
the distance from it further out, so that quantile bins can be laid on bucket edges
afterwards and still have exact counts. ``rank`` orders buckets by value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BUCKETS", "SHIFT", "bucket", "lower_bounds", "rank"]

SHIFT = 18
"""Bits of a float32 that its bucket leaves out."""

BUCKETS = 1 << (32 - SHIFT)
_HALF = BUCKETS // 2
_SIGN, _INFINITY = np.uint32(0x8000_0000), np.uint32(0x7F80_0000)


def bucket(values: NDArray[np.floating], center: float) -> NDArray[np.int64]:
    """Bucket ids [n] of ``values`` [n]; what is not finite gets one of the exponent 255.

    Of the exact difference, rounded once to float32; -0.0 as 0.0.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        away = (values - np.float64(center)).astype(np.float32) + np.float32(0)
    return (away.view(np.uint32) >> SHIFT).astype(np.int64)


def rank(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions in value order of bucket ids: negatives from the most negative, then positives."""
    return np.where(ids >= _HALF, BUCKETS - 1 - ids, ids + _HALF)


def lower_bounds(positions: NDArray[np.int64], center: float) -> NDArray[np.float64]:
    """The smallest value [n] (units of the column) of the buckets at ranks ``positions`` [n].

    That of the next rank is where a bucket ends. What is too far from the centre for a float32
    lies in a bucket of infinity.
    """
    negative = np.minimum((BUCKETS - positions) << SHIFT, (1 << 32) - 1)
    bits = np.where(positions >= _HALF, (positions - _HALF) << SHIFT, negative).astype(np.uint32)
    bounds = np.where(bits & _INFINITY == _INFINITY, bits & (_SIGN | _INFINITY), bits)
    return center + bounds.astype(np.uint32).view(np.float32).astype(np.float64)
