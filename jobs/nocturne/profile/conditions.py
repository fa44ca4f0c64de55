"""Evaluates Great Expectations' row conditions in the same way as its pandas engine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.normal import plain
from nocturne.columns.values import compare, missing, scalars

__all__ = ["matches"]

_TRUE_FOR_NULL = ("!=", "NOT_IN")


def matches(batch: pa.RecordBatch, condition: Mapping[str, Any]) -> pa.Array:
    """[rows]: whether ``condition`` holds.

    A missing value satisfies only the comparisons != and NOT_IN, as in pandas for floats, text and
    times. (In an integer column with nulls, it satisfies none.)
    """
    if condition["type"] in ("and", "or"):
        parts = [matches(batch, part) for part in condition["conditions"]]
        return reduce(pc.and_ if condition["type"] == "and" else pc.or_, parts)
    column = plain(batch.column(condition["column"]["name"]))
    gone = missing(column)
    if condition["type"] == "nullity":
        return gone if condition["is_null"] else pc.invert(gone)
    operator = condition["operator"]
    compared = _compared(column, operator, condition["parameter"]).fill_null(False)
    masked = pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
    counts = operator in _TRUE_FOR_NULL and not masked
    return pc.if_else(gone, counts, compared)


def _compared(column: pa.Array, operator: str, parameter: Any) -> pa.Array:
    if operator not in ("IN", "NOT_IN"):
        return compare(column, operator, parameter)
    is_in = pc.is_in(column, scalars(parameter, column.type))
    return is_in if operator == "IN" else pc.invert(is_in)
