"""Hashes of keys: equal keys have equal hashes, so repeated keys are among repeated hashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.columns.types import is_bytes

__all__ = ["GOLDEN", "KEY_BYTES", "Hashes", "combined", "hashed", "key_hashes", "mix"]

KEY_BYTES = 8
"""Bytes that a row's key takes."""

Hashes = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""The increment of SplitMix64."""


def key_hashes(columns: Sequence[pa.Array]) -> Hashes:
    """The hashes [n] of the keys of rows, from ``columns`` of [n] values each."""
    return combined(map(hashed, columns), len(columns[0]))


def combined(hashes: Iterable[Hashes], count: int) -> Hashes:
    """The hashes [count] of rows, from the hashes [count] of each column, whose order matters."""
    rows = np.zeros(count, dtype=np.uint64)
    for column in hashes:
        rows = mix(rows + GOLDEN ^ column)
    return rows


def mix(x: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): one to one on 64 bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hashed(column: pa.Array) -> Hashes:
    """The hashes [n] of a column of n values without nulls."""
    if pa.types.is_dictionary(column.type):
        hashes = hashed(column.dictionary)
        return np.asarray(hashes[column.indices.to_numpy(zero_copy_only=False)])
    type_ = column.type
    if pa.types.is_boolean(type_):
        column = column.cast(pa.int8())
    elif pa.types.is_floating(type_):
        column = column.cast(pa.float64())
        values = column.to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        return mix(values.view(np.uint64))
    elif pa.types.is_temporal(type_):
        column = column.cast(pa.int32() if type_.bit_width == 32 else pa.int64())
    elif not pa.types.is_integer(type_):
        return _text(column)
    values = column.to_numpy(zero_copy_only=False)
    return mix(values.astype(np.int64, copy=False).view(np.uint64))


def _text(column: pa.Array) -> Hashes:
    """Hashes bytes by a polynomial modulo 2**64, then mixes; other types are hashed as text."""
    binary = column.cast(pa.string()) if not is_bytes(column.type) else column
    binary = binary.cast(pa.large_binary())
    lengths = pc.binary_length(binary).to_numpy(zero_copy_only=False).astype(np.int64)
    hashes = lengths.astype(np.uint64)
    if not lengths.any():
        return mix(hashes)
    _, offsets, data = binary.buffers()
    starts = np.frombuffer(offsets, dtype=np.int64)[binary.offset : binary.offset + len(binary) + 1]
    content = np.frombuffer(data, dtype=np.uint8)
    for position in range(int(lengths.max())):
        rows = np.flatnonzero(lengths > position)
        byte = content[starts[rows] + position].astype(np.uint64)
        hashes[rows] = hashes[rows] * np.uint64(0x100000001B3) + byte
    return mix(hashes)
