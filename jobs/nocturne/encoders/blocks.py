"""Puts columns side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nocturne.encoders.base import Array

__all__ = ["side_by_side"]

_BLOCK = 2048
"""Rows in a block, which fits a core's cache. Measured on one thread with 20 columns of float32, in
us for each row: .028 to .042; column by column over 65,536 rows .041, over 262,144 rows .118."""


def side_by_side(columns: Sequence[Array], rows: int, dtype: str) -> Array:
    """[rows, columns]. It copies blocks of rows, column by column: otherwise columns whose
    distance is a power of two would evict each other from the cache.
    """
    out = np.empty((rows, len(columns)), dtype=dtype)
    for start in range(0, rows, _BLOCK):
        block = out[start : start + _BLOCK]
        for position, column in enumerate(columns):
            block[:, position] = column[start : start + _BLOCK]
    return out
