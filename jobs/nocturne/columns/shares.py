"""Which rows belong to a share of the keys: the same keys every night, on every machine.

A key's hash is that of Iceberg's bucket transform: 32-bit Murmur3 (x86, seed 0) of the bytes that
the Iceberg specification names (appendix B, "32-bit hash requirements"), so pyiceberg and Spark's
``system.bucket`` have it too. Integers of any width, booleans as 0 and 1, dates as days, times and
timestamps in microseconds (in UTC if they have a zone) are 8 bytes, the lowest first; text is its
UTF-8, bytes are themselves, and a decimal is its unscaled value in the fewest bytes, the highest
first. What has no bucket there has one here: a float is the integer that it equals (integers with a
null come as floats from pandas), or the bits of the double; of a key of several columns, each
column's hash is the seed of the next; a salt is hashed before them, as text.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.columns.loops import compiled
from nocturne.columns.types import is_bytes

__all__ = ["SPACE", "can_share", "share_hashes", "up_to"]

Hashes = NDArray[np.uint32]

SPACE = 1 << 32
"""The number of hashes: a hash is a number below it."""
_WIDE = decimal.Context(prec=80)


def up_to(percent: float) -> int:
    """The hash below which lie ``percent`` of all hashes."""
    return round(percent / 100 * SPACE)


def can_share(type_: pa.DataType) -> bool:
    """Whether keys of this type have a hash."""
    if pa.types.is_dictionary(type_):
        return can_share(type_.value_type)
    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_decimal128(type_)
        or pa.types.is_decimal256(type_)
        or pa.types.is_date(type_)
        or pa.types.is_time(type_)
        or pa.types.is_timestamp(type_)
        or _is_bytes(type_)
    )


def share_hashes(columns: Sequence[pa.Array], salt: str = "") -> Hashes:
    """The hashes [n] of the keys of rows, from ``columns`` of [n] values each.

    A null has a hash that means nothing.
    """
    hashes: Hashes = np.zeros(len(columns[0]), np.uint32)
    if salt:
        hashes[:] = _hashed(pa.array([salt]), np.zeros(1, np.uint32))[0]
    for column in columns:
        hashes = _hashed(column, hashes)
    return hashes


def _hashed(column: pa.Array, seeds: Hashes) -> Hashes:
    if pa.types.is_dictionary(column.type):
        if seeds.any():
            return _hashed(column.dictionary_decode(), seeds)
        words = _hashed(column.dictionary, np.zeros(len(column.dictionary), np.uint32))
        if not len(words):
            return seeds
        found: Hashes = words[column.indices.fill_null(0).to_numpy(zero_copy_only=False)]
        return found
    starts, content = _bytes(column)
    out = np.empty(len(column), np.uint32)
    _murmur3(content, starts, seeds, out)
    return out


def _bytes(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Where the bytes of each value start [n + 1], and all bytes."""
    type_ = column.type
    if pa.types.is_decimal(type_):
        column, type_ = _unscaled(column), pa.binary()
    if _is_bytes(type_):
        binary = column.cast(pa.large_binary())
        _, offsets, data = binary.buffers()
        starts = np.frombuffer(offsets, np.int64)[binary.offset : binary.offset + len(binary) + 1]
        return starts, np.frombuffer(data or b"", np.uint8)
    numbers = _numbers(column).astype("<i8", copy=False)
    return np.arange(len(numbers) + 1, dtype=np.int64) * 8, numbers.view(np.uint8)


def _numbers(column: pa.Array) -> NDArray[Any]:
    """Values of 8 bytes [n]; a null is 0."""
    type_ = column.type
    if pa.types.is_floating(type_):
        values = column.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False) + 0.0
        bits: NDArray[np.int64] = np.where(np.isnan(values), np.nan, values).view(np.int64)
        with np.errstate(invalid="ignore"):
            whole_numbers = values.astype(np.int64)
            is_whole = (np.abs(values) < 2.0**63) & (whole_numbers == values)
        return np.where(is_whole, whole_numbers, bits)
    if pa.types.is_boolean(type_):
        column = column.cast(pa.int8())
    elif pa.types.is_date(type_):
        column = column.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_time(type_):
        column = column.cast(pa.time64("us"), safe=False).cast(pa.int64())
    elif pa.types.is_timestamp(type_):
        if type_.unit == "ns":  # a cast would round to zero, and a time before 1970 up
            column = pc.floor_temporal(column, unit="microsecond")
        column = column.cast(pa.timestamp("us", type_.tz), safe=False).cast(pa.int64())
    whole: NDArray[Any] = column.fill_null(0).to_numpy(zero_copy_only=False)
    return whole.view(np.int64) if whole.dtype == np.uint64 else whole.astype(np.int64)


def _unscaled(column: pa.Array) -> pa.Array:
    """The unscaled values of decimals in the fewest bytes of two's complement, highest first."""
    known = column.dictionary_encode()

    def fewest(value: Any) -> bytes | None:
        if value is None:
            return None
        number = int(value.scaleb(column.type.scale, _WIDE))
        length = (number if number >= 0 else ~number).bit_length() // 8 + 1
        return number.to_bytes(length, "big", signed=True)

    words = pa.array(map(fewest, known.dictionary.to_pylist()), pa.binary())
    return words.take(known.indices)


def _is_bytes(type_: pa.DataType) -> bool:
    return is_bytes(type_) or bool(pa.types.is_string_view(type_))


@compiled()
def _murmur3(
    content: NDArray[np.uint8], starts: NDArray[np.int64], seeds: Hashes, out: Hashes
) -> None:
    """MurmurHash3_x86_32 (Appleby) of each value, whose four-byte blocks start with the lowest."""
    c1, c2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
    for row in range(len(out)):
        at, end = starts[row], starts[row + 1]
        length = end - at
        h = np.uint32(seeds[row])
        while end - at >= 4:
            k = np.uint32(
                np.uint32(content[at])
                | np.uint32(content[at + 1]) << np.uint32(8)
                | np.uint32(content[at + 2]) << np.uint32(16)
                | np.uint32(content[at + 3]) << np.uint32(24)
            )
            k = np.uint32(k * c1)
            k = np.uint32(k << np.uint32(15)) | np.uint32(k >> np.uint32(17))
            h = np.uint32(h ^ np.uint32(k * c2))
            h = np.uint32(h << np.uint32(13)) | np.uint32(h >> np.uint32(19))
            h = np.uint32(h * np.uint32(5) + np.uint32(0xE6546B64))
            at += 4
        if at < end:
            k = np.uint32(0)
            for place in range(end - at):
                k = np.uint32(k | np.uint32(content[at + place]) << np.uint32(8 * place))
            k = np.uint32(k * c1)
            k = np.uint32(k << np.uint32(15)) | np.uint32(k >> np.uint32(17))
            h = np.uint32(h ^ np.uint32(k * c2))
        h = np.uint32(h ^ np.uint32(length))
        h = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
        h = np.uint32(h * np.uint32(0x85EBCA6B))
        h = np.uint32(h ^ np.uint32(h >> np.uint32(13)))
        h = np.uint32(h * np.uint32(0xC2B2AE35))
        out[row] = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
