"""A sum of the hashes of rows: tables with the same rows, in whatever order, have the same sum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.key_hashes import GOLDEN, Hashes, combined, hashed, mix
from nocturne.columns.normal import is_list, plain

__all__ = ["RowSum", "row_sum"]

RowSum = tuple[int, int, int]
"""The number of rows, and the sums of two hashes of 64 bits modulo 2**64. Two tables that differ
have the same sum with a probability of about 2**-128; nobody is assumed to make one on purpose."""

_NULL = np.uint64(0x6E756C6C)


def row_sum(batches: Iterable[pa.RecordBatch]) -> RowSum:
    """The sum over the rows of batches that have the same columns. -0.0 is 0.0."""
    count, first, second = 0, 0, 0
    for batch in batches:
        if not batch.num_rows:
            continue
        rows = combined(map(_hashes, batch.columns), batch.num_rows)
        count += batch.num_rows
        first += int(rows.sum(dtype=np.uint64))
        second += int(mix(rows ^ GOLDEN).sum(dtype=np.uint64))
    return count, first % 2**64, second % 2**64


def _hashes(column: pa.Array) -> Hashes:
    """The hashes [n] of n values of any type, nulls too."""
    column = plain(column)
    hashes = np.full(len(column), _NULL, dtype=np.uint64)
    if column.null_count < len(column):
        is_there = column.is_valid().to_numpy(zero_copy_only=False)
        hashes[is_there] = mix(_of_values(column.drop_null()) ^ GOLDEN)
    return hashes


def _of_values(column: pa.Array) -> Hashes:
    """The hashes of values without a null."""
    type_ = column.type
    if pa.types.is_map(type_):
        pairs = pa.list_(pa.struct([("key", type_.key_type), ("value", type_.item_type)]))
        return _of_values(column.cast(pairs))
    if is_list(type_):
        return _of_lists(column)
    if pa.types.is_struct(type_):
        return combined(map(_hashes, column.flatten()), len(column))
    if pa.types.is_floating(type_):
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False) + 0.0
        return mix(np.where(np.isnan(values), np.nan, values).view(np.uint64))
    return hashed(column)


def _of_lists(column: pa.Array) -> Hashes:
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False).astype(np.int64)
    hashes = mix(lengths.astype(np.uint64))
    elements = _hashes(pc.list_flatten(column))
    if not len(elements):
        return mix(hashes)
    starts = np.cumsum(lengths) - lengths
    rows = np.repeat(np.arange(len(lengths)), lengths)
    positions = (np.arange(len(elements)) - starts[rows]).astype(np.uint64)
    np.add.at(hashes, rows, mix(elements ^ mix(positions + GOLDEN)))
    return mix(hashes)
