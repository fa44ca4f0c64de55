"""Sums of rows: equal for the same rows in any order, and for no others."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.columns.row_sum import row_sum

COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "whole": (pa.int64(), [0, 1, -1, None, 2**62]),
    "small": (pa.int8(), [0, 1, -1, None, 7]),
    "float": (pa.float32(), [0.0, 1.5, float("nan"), None, float("inf")]),
    "flag": (pa.bool_(), [True, False, None, True, False]),
    "word": (pa.string(), ["", "a", "ab", None, "ba"]),
    "bytes": (pa.binary(), [b"", b"a", b"\0", None, b"\0\0"]),
    "day": (pa.date32(), [dt.date(2024, 1, d) if d else None for d in (1, 2, 3, 0, 5)]),
    "time": (pa.timestamp("us", "UTC"), [0, 1, 2, None, 4]),
    "money": (
        pa.decimal128(9, 2),
        [Decimal("1.10"), Decimal("1.11"), Decimal("-1"), None, Decimal(0)],
    ),
    "list": (pa.list_(pa.float32()), [[], [1.0], [None], None, [1.0, 2.0]]),
    "nested": (pa.list_(pa.list_(pa.int64())), [[], [[]], [[1], [2]], None, [[1, 2]]]),
    "struct": (
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        [{"a": 1, "b": "x"}, {"a": None, "b": "x"}, {"a": 1, "b": None}, None, {"a": 0, "b": ""}],
    ),
    "map": (pa.map_(pa.string(), pa.int64()), [[], [("a", 1)], [("a", 2)], None, [("b", 1)]]),
}
TABLE = pa.table({name: pa.array(values, type_) for name, (type_, values) in COLUMNS.items()})


def of(table: pa.Table) -> tuple[int, int, int]:
    return row_sum(table.to_batches())


@given(st.permutations(range(5)), st.integers(1, 5))
def test_neither_the_order_nor_the_batches_matter(order: list[int], size: int) -> None:
    mixed = TABLE.take(pa.array(order)).combine_chunks()
    assert row_sum(mixed.to_batches(max_chunksize=size)) == of(TABLE)


@pytest.mark.parametrize("name", COLUMNS)
def test_every_value_of_every_type_matters(name: str) -> None:
    """Also where it belongs: values of a column that change places are other rows."""
    at = TABLE.schema.names.index(name)
    seen = {of(TABLE)}
    for row in range(5):
        for other in range(5):
            if row == other or (name == "flag" and row % 3 == other % 3):
                continue
            values = TABLE[name].to_pylist()
            values[row] = values[other]
            changed = TABLE.set_column(
                at, TABLE.schema.field(at), pa.array(values, COLUMNS[name][0])
            )
            if changed[name].combine_chunks() != TABLE[name].combine_chunks():
                assert of(changed) != of(TABLE), (row, other)
                seen.add(of(changed))
    assert len(seen) > 5
    turned = [*TABLE[name].to_pylist()[1:], TABLE[name].to_pylist()[0]]
    swapped = TABLE.set_column(at, TABLE.schema.field(at), pa.array(turned, COLUMNS[name][0]))
    assert of(swapped) != of(TABLE)


def test_a_row_more_or_twice_is_another_sum() -> None:
    assert of(TABLE.slice(1)) != of(TABLE)
    assert of(pa.concat_tables([TABLE, TABLE.slice(2, 1)])) != of(TABLE)
    assert of(TABLE.slice(0, 0)) == (0, 0, 0)


def test_slices_and_dictionaries_are_what_they_hold() -> None:
    words = pa.table({"w": pa.array(["x", "a", None, "b"]).slice(1)})
    encoded = pa.table({"w": words["w"].combine_chunks().dictionary_encode()})
    assert of(words) == of(encoded) == of(pa.table({"w": ["a", None, "b"]}))
    lists = pa.array([[9.0], [1.0, 2.0], None, []], pa.list_(pa.float64())).slice(1)
    assert of(pa.table({"l": lists})) == of(
        pa.table({"l": pa.array([[1.0, 2.0], None, []], pa.list_(pa.float64()))})
    )


def test_zeros_of_both_signs_and_all_nans_are_equal() -> None:
    nan = np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0]
    first = pa.table({"x": pa.array([0.0, float("nan")])})
    second = pa.table({"x": pa.array([-0.0, nan], from_pandas=False)})
    assert of(first) == of(second)
