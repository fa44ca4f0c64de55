"""Converts values between a suite's JSON, Arrow's types, and the JSON of stored measurements."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.normal import normal_type, plain_type
from nocturne.columns.types import is_text

__all__ = [
    "BOOLEANS",
    "NUMBERS",
    "OPERATORS",
    "TEXT",
    "TIMES",
    "compare",
    "from_json",
    "instant",
    "kind",
    "missing",
    "python_values",
    "scalars",
    "to_json",
]


BOOLEANS, NUMBERS, TEXT, TIMES = "booleans", "numbers", "text", "times"

_COMPARISONS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], pa.Array]]] = {
    "==": (operator.eq, pc.equal),
    "!=": (operator.ne, pc.not_equal),
    "<": (operator.lt, pc.less),
    "<=": (operator.le, pc.less_equal),
    ">": (operator.gt, pc.greater),
    ">=": (operator.ge, pc.greater_equal),
}
"""Operator -> comparison of two values, and of a column [n] with a scalar."""

OPERATORS = (*_COMPARISONS, "IN", "NOT_IN")
"""The operators of a row condition's comparison, as Great Expectations writes them."""


def kind(type_: pa.DataType) -> str:
    """The kind of a column's values for expectations; the name of the type if it has no kind."""
    type_ = plain_type(normal_type(type_))
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


def compare(column: pa.Array, sign: str, value: Any) -> pa.Array:
    """[n]: whether ``x sign value`` holds for each x of a column. The value is from a suite.

    Integers are compared exactly, also with fractions and with values that their type can't hold.
    For floats the value is rounded to their width, as in numpy. Booleans are 0 and 1, and times
    are ISO text.

    Raises:
        TypeError, ValueError, pyarrow.ArrowInvalid: the value can't be compared with the column.
    """
    of_values, of_column = _COMPARISONS[sign]
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_integer(column.type) and isinstance(value, (int, float)):
        least, most = _range(column.type)
        fraction = least <= value <= most and value != math.floor(value)
        if not least <= value <= most or (fraction and sign in ("==", "!=")):
            same = pa.scalar(bool(of_values(least, value)))  # for all values that are not null
            return pc.if_else(column.is_valid(), same, pa.scalar(None, pa.bool_()))
        value = math.floor(value) if sign in (">", "<=") else math.ceil(value)
    return of_column(column, _scalar(value, column.type))


def _range(type_: pa.DataType) -> tuple[int, int]:
    """The least and the greatest value of an integer type."""
    if pa.types.is_unsigned_integer(type_):
        return 0, (1 << type_.bit_width) - 1
    half = 1 << (type_.bit_width - 1)
    return -half, half - 1


def _scalar(value: Any, type_: pa.DataType) -> pa.Scalar:
    """A value of a suite as a scalar of ``type_``."""
    if pa.types.is_timestamp(type_) and isinstance(value, str):
        value = datetime.fromisoformat(value)
        if (value.tzinfo is None) != (type_.tz is None):
            raise ValueError(f"{value} and a column of {type_}: one has a time zone")
    if pa.types.is_boolean(type_) and value in (0, 1):  # as Python and pandas have it
        value = bool(value)
    if pa.types.is_floating(type_) and isinstance(value, int):
        value = float(value)
    if pa.types.is_integer(type_) and isinstance(value, (bool, float)):
        if value != int(value):  # Arrow would cut it off
            raise ValueError(f"{value} is no {type_}")
        value = int(value)
    return pa.scalar(value, type_)


def scalars(values: Iterable[Any], type_: pa.DataType) -> pa.Array:
    """The values of a suite that a column of ``type_`` can hold."""
    type_ = plain_type(type_)
    accepted = []
    for value in values:
        try:
            accepted.append(_scalar(value, type_))
        except (TypeError, ValueError, pa.ArrowInvalid, OverflowError):
            continue
    return pa.array([item.as_py() for item in accepted], type_)


class FarTime(datetime):
    """A time or day outside of the years 1 to 9999, which Python's datetime can't represent.

    It compares like the nearest datetime, and is written exactly (ISO 8601; in UTC if it has a
    zone).
    """

    _text: str

    @classmethod
    def of(cls, text: str) -> FarTime:
        near = datetime.min if text.startswith(("-", "0000")) else datetime.max
        zone = UTC if text.endswith(_UTC) else None
        time = cls.combine(near.date(), near.time(), zone)
        time._text = text
        return time

    def isoformat(self, *_: Any, **__: Any) -> str:
        return self._text

    __str__ = __repr__ = isoformat

    def __copy__(self) -> FarTime:
        return self

    def __deepcopy__(self, _: Any) -> FarTime:
        return self


_UTC = "+00:00"
_FAR = re.compile(r"-|\d{5}|0000")
"""The beginning of the text of a ``FarTime``."""
_WHOLE = re.compile(r"\.0+$")
"""A fraction of a second that is zero."""


def python_values(column: Any) -> list[Any]:
    """The values of an array, a column or a table as Python objects; times may be ``FarTime``.

    What is no UTF-8 in a text is U+FFFD.
    """
    try:
        return list(column.to_pylist())
    except (OverflowError, UnicodeDecodeError):
        if isinstance(column, (pa.RecordBatch, pa.Table)):
            values = [python_values(part) for part in column.columns]
            names = column.schema.names
            return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        return [_python(value) for value in column]


def _python(value: pa.Scalar) -> Any:
    type_ = value.type
    try:
        return value.as_py()
    except UnicodeDecodeError:
        if is_text(type_):
            return value.as_buffer().to_pybytes().decode(errors="replace")
        return None  # a nested value
    except OverflowError:
        if pa.types.is_date(type_):
            return FarTime.of(str(np.datetime64(value.value, _UNITS[type_])))
        if pa.types.is_timestamp(type_):
            moment = _WHOLE.sub("", str(np.datetime64(value.value, type_.unit)))
            return FarTime.of(moment + (_UTC if type_.tz else ""))
        return str(value)  # of a nested value, as Arrow writes it


_UNITS: dict[pa.DataType, Literal["D", "ms"]] = {pa.date32(): "D", pa.date64(): "ms"}


def instant(text: str) -> tuple[datetime, int, str]:
    """A key to compare times as ``to_json`` writes them.

    Datetimes end at microseconds; below them the texts sort as the times do.
    """
    if not _FAR.match(text):
        return datetime.fromisoformat(text), 0, text
    seconds = np.datetime64(text.removesuffix(_UTC), "s").astype(np.int64)
    return FarTime.of(text), int(seconds), text


def to_json(value: Any) -> Any:
    """A column's value for JSON: times become ISO text, infinite floats become words."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def from_json(value: Any, type_: str) -> Any:
    """The value that was given to ``to_json``, for a column of the Arrow type ``type_``."""
    if isinstance(value, str) and type_.startswith("timestamp"):
        if _FAR.match(value):
            return FarTime.of(value)
        import pandas as pd

        return pd.Timestamp(value)
    if isinstance(value, str) and type_ in ("float", "double"):
        return float(value)
    return value
