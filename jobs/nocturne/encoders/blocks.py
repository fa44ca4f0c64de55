"""Puts columns side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nocturne.columns.loops import Floats
from nocturne.encoders.base import Array

__all__ = ["side_by_side"]

_BLOCK = 4096
"""Rows in a block, which fits a core's cache. Measured on one thread with 20 columns of float32, in
us for each row: .032 to .041; column by column over 65,536 rows .041, over 262,144 rows .118."""


def side_by_side(columns: Sequence[Array | Floats], rows: int, dtype: str) -> Array:
    """[rows, columns]. It copies blocks of rows, column by column: otherwise columns whose
    distance is a power of two would evict each other from the cache.
    """
    out = np.empty((rows, len(columns)), dtype=dtype)
    for start in range(0, rows, _BLOCK):
        block = out[start : start + _BLOCK]
        for position, column in enumerate(columns):
            if isinstance(column, Floats):
                column.write(block, position, start)
            else:
                block[:, position] = column[start : start + _BLOCK]
    return out
