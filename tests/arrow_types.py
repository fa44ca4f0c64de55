"""A column of every Arrow type that a Parquet file can hold, for tests over all of them."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["COLUMNS", "ROWS"]

ROWS = 5


def _extension(type_: Any, values: list[Any]) -> pa.Array:
    return pa.ExtensionArray.from_storage(type_, pa.array(values, type_.storage_type))


_TIMES = [
    dt.datetime(2024, 10, 27, 0, 30),
    dt.datetime(1969, 12, 31, 23),
    None,
    dt.datetime(2013, 1, 1, 5),
    dt.datetime(2024, 10, 27, 0, 30),
]
_DECIMALS = [Decimal("1.50"), Decimal("-2.25"), None, Decimal("0.10"), Decimal("1.50")]
_WORDS = ["a", "b", None, "ünïcödé, and longer than twelve bytes", "a"]
_BYTES = [word and word.encode() for word in _WORDS]
_LISTS = [[1, 2], [], None, [3], [1, 2]]
_IDS = [
    uuid.UUID(int=7).bytes,
    uuid.UUID(int=1 << 127).bytes,
    None,
    uuid.UUID(int=9).bytes,
    uuid.UUID(int=7).bytes,
]

COLUMNS: dict[str, pa.Array] = {
    "bool": pa.array([True, False, None, False, True]),
    **{
        str(t): pa.array([1, 0, None, 3, 1], t)
        for t in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32())
    },
    "int64": pa.array([1, -(2**63), None, 2**63 - 1, 1], pa.int64()),
    "uint64": pa.array([1, 0, None, 2**64 - 1, 1], pa.uint64()),
    "float16": pa.array([1.5, float("inf"), None, 65504, 1.5], pa.float16()),
    "float32": pa.array([1.5, float("nan"), None, -0.0, 1.5], pa.float32()),
    "float64": pa.array([1.5, 1e300, None, -0.0, 1.5], pa.float64()),
    "decimal32": pa.array(_DECIMALS, pa.decimal32(5, 2)),
    "decimal64": pa.array(_DECIMALS, pa.decimal64(12, 2)),
    "decimal128": pa.array(_DECIMALS, pa.decimal128(38, 10)),
    "decimal256": pa.array(_DECIMALS, pa.decimal256(50, 2)),
    **{str(t): pa.array(_WORDS, t) for t in (pa.string(), pa.large_string(), pa.string_view())},
    "dictionary": pa.array(_WORDS).dictionary_encode(),
    "dictionary of integers": pa.array([5, 6, None, 7, 5]).dictionary_encode(),
    **{str(t): pa.array(_BYTES, t) for t in (pa.binary(), pa.large_binary(), pa.binary_view())},
    "fixed_size_binary": pa.array([b"ab", b"cd", None, b"\x00\xff", b"ab"], pa.binary(2)),
    "uuid": _extension(pa.uuid(), _IDS),
    "json": _extension(pa.json_(pa.string()), ['{"a": 1}', "[]", None, "3", '{"a": 1}']),
    "bool8": _extension(pa.bool8(), [1, 0, None, 1, 1]),
    "opaque": _extension(pa.opaque(pa.binary(), "thing", "vendor"), [b"1", b"2", None, b"", b"1"]),
    "date32": pa.array([t and t.date() for t in _TIMES], pa.date32()),
    "date64": pa.array([t and t.date() for t in _TIMES], pa.date64()),
    **{
        str(t): pa.array(_TIMES).cast(t)
        for t in (
            pa.timestamp("s"),
            pa.timestamp("ms"),
            pa.timestamp("us"),
            pa.timestamp("ns"),
            pa.timestamp("us", "UTC"),
            pa.timestamp("us", "Europe/Berlin"),
            pa.timestamp("ns", "+02:00"),
        )
    },
    **{
        str(t): pa.array(
            [1, 0, None, 3_600_000, 1], pa.int32() if t.bit_width == 32 else None
        ).cast(t)
        for t in (pa.time32("ms"), pa.time64("us"), pa.time64("ns"))
    },
    "duration": pa.array([1, -5, None, 10**12, 1], pa.duration("us")),
    "null": pa.nulls(ROWS),
    "list": pa.array(_LISTS, pa.list_(pa.int64())),
    "large_list": pa.array(_LISTS, pa.large_list(pa.float32())),
    "list_view": pa.array(_LISTS, pa.list_view(pa.int32())),
    "large_list_view": pa.array(_LISTS, pa.large_list_view(pa.float16())),
    "list of views": pa.array([["a"], [], None, ["b", None], ["a"]], pa.list_(pa.string_view())),
    "list of halves": pa.array(_LISTS, pa.list_(pa.float16())),
    "fixed_size_list": pa.array([[1, 2], [3, 4], [5, 6], [7, 8], [1, 2]], pa.list_(pa.int32(), 2)),
    "list of uuids": pa.ListArray.from_arrays(
        pa.array([0, 1, 1, 3, 4, 5], pa.int32()), _extension(pa.uuid(), _IDS)
    ),
    "struct": pa.array(
        [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, None, {"a": 2, "b": None}, {"a": 1, "b": "x"}]
    ),
    "struct of list views": pa.array(
        [{"v": [1]}, {"v": []}, None, {"v": None}, {"v": [1]}],
        pa.struct([("v", pa.list_view(pa.int64()))]),
    ),
    "map": pa.array(
        [[("a", 1)], [], None, [("b", None)], [("a", 1)]], pa.map_(pa.string(), pa.int64())
    ),
    "random": pa.array(np.random.default_rng(0).normal(size=ROWS)),
}
"""Five values each: the third null, the last equal to the first."""
