"""The rules that rows are checked by: each is a function from columns to "is it as expected?".

A rule has the name of its metric in Great Expectations. It is given only the rows that it applies
to: for a single column those without missing values, for several as ``ignore_row_if`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.values import compare, missing, scalars
from nocturne.profile.columns import Column

__all__ = ["COLUMN_RULES", "ROW_RULES", "within"]

Args = Mapping[str, Any]


def _between(values: pa.Array, args: Args) -> pa.Array:
    """Bounds of floats are used as they are written, even if the column is narrower."""
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
    masks = []
    low, high = args.get("min_value"), args.get("max_value")
    if low is not None:
        masks.append(compare(values, ">" if args.get("strict_min") else ">=", low))
    if high is not None:
        masks.append(compare(values, "<" if args.get("strict_max") else "<=", high))
    return reduce(pc.and_, masks)


def within(column: Column, args: Args) -> bool:
    """Whether all values lie between the bounds, judged by the least and the greatest value."""
    if not pa.types.is_primitive(column.array.type):
        return False
    least, greatest = column.bounds
    if least is None:
        return True
    if isinstance(least, (int, float)):
        low, high = args.get("min_value"), args.get("max_value")
        above = low is None or (least > low if args.get("strict_min") else least >= low)
        return above and (
            high is None or (greatest < high if args.get("strict_max") else greatest <= high)
        )
    return bool(pc.all(_between(column.ends, args)).as_py())


def _length(values: pa.Array, args: Args) -> pa.Array:
    lengths = pc.utf8_length(values)
    return compare(lengths, "==", args["value"]) if "value" in args else _between(lengths, args)


def _matches(values: pa.Array, patterns: Sequence[str]) -> list[pa.Array]:
    return [pc.match_substring_regex(values, pattern) for pattern in patterns]


def _matches_list(values: pa.Array, args: Args) -> pa.Array:
    together = pc.and_ if args.get("match_on") == "all" else pc.or_
    return reduce(together, _matches(values, args["regex_list"]))


COLUMN_RULES: dict[str, Callable[[pa.Array, Args], pa.Array]] = {
    "column_values.null": lambda v, args: pa.array(np.zeros(len(v), dtype=bool)),
    "column_values.between": _between,
    "column_values.in_set": lambda v, args: pc.is_in(v, scalars(args["value_set"], v.type)),
    "column_values.not_in_set": lambda v, args: pc.invert(
        pc.is_in(v, scalars(args["value_set"], v.type))
    ),
    "column_values.match_regex": lambda v, args: _matches(v, [args["regex"]])[0],
    "column_values.not_match_regex": lambda v, args: pc.invert(_matches(v, [args["regex"]])[0]),
    "column_values.match_regex_list": _matches_list,
    "column_values.not_match_regex_list": lambda v, args: pc.invert(
        reduce(pc.or_, _matches(v, args["regex_list"]))
    ),
    "column_values.value_length.between": _length,
    "column_values.value_length.equals": _length,
}
"""Values [n] of one column, none missing -> [n], whether they are as expected."""


def _comparable(columns: Sequence[pa.Array]) -> Sequence[pa.Array]:
    """Numbers of different types in one type that holds them all; Arrow's choice fails on some.

    Next to floats, integers beyond 2**53 are rounded, as in pandas.
    """
    types = {c.type for c in columns}
    if len(types) == 1 or not all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in types):
        return columns
    if any(pa.types.is_floating(t) for t in types):
        return [c.cast(pa.float64(), safe=False) for c in columns]
    if pa.uint64() in types:
        return [c.cast(pa.decimal128(20, 0)) for c in columns]
    return [c.cast(pa.int64()) for c in columns]


def _equal(columns: Sequence[pa.Array], args: Args) -> pa.Array:
    return pc.equal(*_comparable(columns))


def _greater(columns: Sequence[pa.Array], args: Args) -> pa.Array:
    greater = pc.greater_equal if args.get("or_equal") else pc.greater
    return greater(*_comparable(columns))


def _pair_in_set(columns: Sequence[pa.Array], args: Args) -> pa.Array:
    absent = [missing(c) for c in columns]
    masks = [pa.array(np.zeros(len(columns[0]), dtype=bool))]
    for pair in args["value_pairs_set"]:
        fits = []
        for column, gone, value in zip(columns, absent, pair, strict=True):
            expected = scalars([value], column.type)
            same = pc.is_in(column, expected) if len(expected) else pa.repeat(False, len(column))
            fits.append(gone if value is None else pc.and_(same, pc.invert(gone)))
        masks.append(pc.and_(*fits))
    return reduce(pc.or_, masks)


def _sum(columns: Sequence[pa.Array], args: Args) -> pa.Array:
    """Adds as pandas does: in the type that holds all of them, integers in 64 bits."""
    common = np.result_type(*(c.type.to_pandas_dtype() for c in columns))
    widest = {"i": np.dtype(np.int64), "u": np.dtype(np.uint64)}
    type_ = pa.from_numpy_dtype(widest.get(common.kind, common))
    total = reduce(pc.add, [c.cast(type_, safe=False) for c in columns])
    return compare(total, "==", args["sum_total"])


def _unique(columns: Sequence[pa.Array], args: Args) -> pa.Array:
    """Missing values count as values that are equal to each other."""
    different = []
    columns = _comparable(columns)
    for position, first in enumerate(columns):
        for second in columns[position + 1 :]:
            gone = [missing(c) for c in (first, second)]
            same = pc.or_(pc.and_(*gone), pc.fill_null(pc.equal(first, second), False))
            different.append(pc.invert(same))
    return reduce(pc.and_, different)


ROW_RULES: dict[str, Callable[[Sequence[pa.Array], Args], pa.Array]] = {
    "column_pair_values.equal": _equal,
    "column_pair_values.a_greater_than_b": _greater,
    "column_pair_values.in_set": _pair_in_set,
    "multicolumn_sum.equal": _sum,
    "select_column_values.unique.within_record": _unique,
}
"""Several columns of [n] values -> [n], whether they are as expected; null counts as "no"."""
