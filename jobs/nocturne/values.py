"""Values between a suite's JSON, Arrow's types, and the JSON that measurements are stored in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from nocturne.encoding import is_text, plain_type

__all__ = ["BOOLEANS", "NUMBERS", "OPERATORS", "TEXT", "TIMES", "from_json", "kind", "missing",
           "scalar", "scalars", "to_json"]  # fmt: skip


BOOLEANS, NUMBERS, TEXT, TIMES = "booleans", "numbers", "text", "times"

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN")
"""Of a row condition's comparison, as Great Expectations writes them."""


def kind(type_: pa.DataType) -> str:
    """What a column holds, as far as expectations care; the type's own name for the rest."""
    type_ = plain_type(type_)
    if pa.types.is_boolean(type_):
        return BOOLEANS
    if pa.types.is_integer(type_) or pa.types.is_float32(type_) or pa.types.is_float64(type_):
        return NUMBERS
    if is_text(type_):
        return TEXT
    return TIMES if pa.types.is_timestamp(type_) else str(type_)


def missing(column: pa.Array) -> pa.Array:
    """[n]: whether a value is null or NaN."""
    return column.is_null(nan_is_null=pa.types.is_floating(column.type))


def scalar(value: Any, type_: pa.DataType) -> pa.Scalar:
    """A suite's value, to compare with a column of ``type_``.

    Floats are rounded to the column's width, as numpy does; an integer column is compared with a
    fraction exactly; a time is ISO text.

    Raises:
        TypeError, ValueError, pyarrow.ArrowInvalid: it can't be compared with the column.
    """
    type_ = plain_type(type_)
    if pa.types.is_timestamp(type_) and isinstance(value, str):
        value = datetime.fromisoformat(value)
        if (value.tzinfo is None) != (type_.tz is None):
            raise ValueError(f"{value} and a column of {type_}: one has a time zone")
    if pa.types.is_integer(type_) and isinstance(value, float):
        return pa.scalar(value, pa.float64())
    if pa.types.is_integer(type_) and isinstance(value, int):
        return pa.scalar(value, pa.int64() if -(1 << 63) <= value < 1 << 63 else pa.uint64())
    return pa.scalar(value, type_)


def scalars(values: Iterable[Any], type_: pa.DataType) -> pa.Array:
    """Those of a suite's values that a column of ``type_`` can hold."""
    found = []
    for value in values:
        try:
            found.append(scalar(value, type_).cast(plain_type(type_)))
        except (TypeError, ValueError, pa.ArrowInvalid, OverflowError):
            continue
    return pa.array([item.as_py() for item in found], plain_type(type_))


def to_json(value: Any) -> Any:
    """A column's value as JSON holds it: times as ISO text, infinite floats as words."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def from_json(value: Any, type_: str) -> Any:
    """What ``to_json`` was given, of a column whose Arrow type is written ``type_``."""
    if isinstance(value, str) and type_.startswith("timestamp"):
        import pandas as pd

        return pd.Timestamp(value)
    if isinstance(value, str) and type_ in ("float", "double"):
        return float(value)
    return value
