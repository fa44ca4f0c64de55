"""Rules and conditions on numbers where 64 bits, or the 53 of a float64, are not enough."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nocturne.profile import Measurer
from nocturne.records.quality import Measure

SIGNS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
INTEGERS = [
    pa.array([0, 1, -1, 2**60, 2**53 + 1, 2**63 - 1, -(2**63)]),
    pa.array([0, 1, 2**63 + 5, 2**64 - 1], pa.uint64()),
    pa.array([0, 1, 127, -128], pa.int8()),
]
VALUES = [
    0,
    1,
    0.5,
    -0.5,
    1.0,
    2**53,
    float(2**53),
    2**60,
    2**63 + 5,
    2**64,
    -(2**63) - 1,
    -1,
    1e300,
    math.inf,
    -math.inf,
    126.5,
    128,
]


def _unexpected(rule: str, args: dict[str, Any], **columns: pa.Array) -> int:
    kind = "column_rule" if rule.startswith("column_values.") else "row_rule"
    ignore = "" if kind == "column_rule" else "never"
    measure = Measure(kind, tuple(columns), rule, args, ignore=ignore)  # type: ignore[arg-type]
    measurer = Measurer([measure])
    measurer.update(pa.record_batch(columns))
    return measurer.result()[measure.key].unexpected


@pytest.mark.parametrize("column", INTEGERS, ids=lambda c: str(c.type))
@pytest.mark.parametrize("value", VALUES)
def test_integers_are_compared_exactly_whatever_the_bound(column: pa.Array, value: float) -> None:
    known = column.to_pylist()
    for sign, compare in SIGNS.items():
        condition = {
            "type": "comparison",
            "column": {"name": "x"},
            "operator": sign,
            "parameter": value,
        }
        measure = Measure("rows", condition=condition)
        measurer = Measurer([measure])
        measurer.update(pa.record_batch({"x": column}))
        assert measurer.result()[measure.key].rows == sum(compare(x, value) for x in known), sign
    for strict in (True, False):
        least, most = ({f"{end}_value": value, f"strict_{end}": strict} for end in ("min", "max"))
        above, below = (SIGNS[sign if strict else f"{sign}="] for sign in "><")
        for args, compare in ((least, above), (most, below)):
            found = _unexpected("column_values.between", args, x=column)
            assert found == sum(not compare(x, value) for x in known), args


@pytest.mark.parametrize("column", INTEGERS, ids=lambda c: str(c.type))
def test_a_set_holds_the_integers_that_it_names(column: pa.Array) -> None:
    known = column.to_pylist()
    for value in VALUES:
        found = _unexpected("column_values.in_set", {"value_set": [value, 0.5]}, x=column)
        assert found == sum(x != value for x in known), value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([2**60, 1, 2]), pa.array([1.0, 1.0, 2.5])),
        (pa.array([2**63 + 1, 1, 2], pa.uint64()), pa.array([1, -1, 2])),
        (pa.array([2**64 - 1, 1, 2], pa.uint64()), pa.array([2**63 - 1, 1, 3])),
        (pa.array([2**24 + 1, 1, 2], pa.int32()), pa.array([2.0**24, 1, 3], pa.float32())),
        (pa.array([3, 1, 2], pa.uint8()), pa.array([-128, 1, 3], pa.int8())),
    ],
)
def test_columns_of_two_types_of_numbers_are_compared_by_value(
    one: pa.Array, other: pa.Array
) -> None:
    pairs = list(zip(one.to_pylist(), other.to_pylist(), strict=True))
    pair = {"a": one, "b": other}
    assert _unexpected("column_pair_values.equal", {}, **pair) == sum(a != b for a, b in pairs)
    assert _unexpected("column_pair_values.a_greater_than_b", {}, **pair) == sum(
        not a > b for a, b in pairs
    )
    assert _unexpected("select_column_values.unique.within_record", {}, **pair) == sum(
        a == b for a, b in pairs
    )


def test_a_float_column_takes_whole_bounds_that_no_float_equals() -> None:
    for width in (np.float32, np.float64):
        column = pa.array(np.array([0, 2**60], width))
        assert _unexpected("column_values.between", {"min_value": 2**60 - 1}, x=column) == 1
        assert _unexpected("column_values.in_set", {"value_set": [0, 2**60]}, x=column) == 0


@pytest.mark.parametrize(
    ("types", "values"),
    [
        (("int8", "int8"), (100, 100)),
        (("int32", "int32"), (2_000_000_000, 2_000_000_000)),
        (("uint8", "uint8"), (200, 100)),
        (("uint8", "int8"), (200, -100)),
        (("uint64", "uint64"), (2**63, 2**63 - 1)),
        (("uint64", "int64"), (2**62, -5)),
        (("int64", "float32"), (2**40, 0.5)),
        (("float32", "float32"), (0.1, 0.2)),
        (("float32", "float64"), (0.1, 0.2)),
        (("float64", "float64"), (0.1, 0.2)),
    ],
)
def test_a_sum_over_columns_is_as_wide_as_in_pandas(
    types: tuple[str, ...], values: tuple[float, ...]
) -> None:
    columns = {
        name: np.array([value], dtype)
        for name, dtype, value in zip("ab", types, values, strict=True)
    }
    sums = pd.DataFrame(columns).sum(axis=1, skipna=False)
    arrays = {name: pa.array(column) for name, column in columns.items()}
    for total in (sum(values), 0.3, 0.5):
        found = _unexpected("multicolumn_sum.equal", {"sum_total": total}, **arrays)
        assert found == (sums != total).sum(), total


@pytest.mark.parametrize("values", [[0, 1], [1], [0.0], [True], [2, False], [0.5, "True", None]])
def test_true_and_false_are_one_and_zero(values: list[Any]) -> None:
    column, numbers = pa.array([True, False, True]), pa.array([1, 0, 1])
    known = pd.Series(column.to_pylist()).isin(values)
    for x in (column, numbers):
        args = {"value_set": values}
        assert _unexpected("column_values.in_set", args, x=x) == (~known).sum()
        assert _unexpected("column_values.not_in_set", args, x=x) == known.sum()
