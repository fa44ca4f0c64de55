"""Converts the values that a model returned to the type of their column, without losing any.

A value is never cut, rounded to a whole number or parsed: if the type can't hold it, a mask says
so. Only floats lose precision, if the column is float32.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nocturne.encoding import OUTPUT_TYPES, OutputType
from nocturne.engine.model import Array

__all__ = ["Converted", "absent", "convert"]

Mask = NDArray[np.bool_]
_INT64 = -(2**63), 2**63 - 1


class Converted(NamedTuple):
    """A column; it is null where a value is ``absent`` (null or NaN) or ``strange`` (not of the
    type).

    The masks are [values], or None if no value is absent or strange.
    """

    column: pa.Array
    absent: Mask | None
    strange: Mask | None


def convert(values: Array, type_: OutputType) -> Converted:
    """Values [n] as a column of ``type_``."""
    gone = absent(values)
    converted, strange = _BY_KIND.get(values.dtype.kind, _none_of_type)(values, gone, type_)
    if gone is not None and strange is not None:
        strange &= ~gone
    if strange is not None and not strange.any():
        strange = None
    masks = [mask for mask in (gone, strange) if mask is not None]
    null = None if not masks else masks[0] if len(masks) == 1 else masks[0] | masks[1]
    return Converted(_arrow(converted, null, type_), gone, strange)


def absent(values: Array) -> Mask | None:
    """A mask [n] of the values that are null or NaN; None if there is none."""
    kind = values.dtype.kind
    if kind == "O":
        plain = _are_texts(values)
        gone = np.array([v is None or (not plain and _is_nan(v)) for v in values], dtype=bool)
    elif kind in "fc":
        gone = np.isnan(values)
    elif kind in "Mm":
        gone = np.isnat(values)
    else:
        return None
    return gone if gone.any() else None


def _are_texts(values: Array) -> bool:
    """Whether all objects are str or None. Most are; then none is examined by itself."""
    return set(map(type, values)) <= {str, type(None)}


def _is_nan(value: Any) -> bool:
    """NaN and NaT are not equal to themselves. An array is not NaN: its comparison is an array."""
    different = value != value
    return isinstance(different, (bool, np.bool_)) and bool(different)


def _arrow(values: Any, null: Mask | None, type_: OutputType) -> pa.Array:
    arrow_type = OUTPUT_TYPES[type_]
    if (
        isinstance(values, np.ndarray)
        and values.dtype.kind == "M"
        and pa.types.is_timestamp(arrow_type)
    ):
        return pa.array(values, pa.timestamp(arrow_type.unit), mask=null).cast(arrow_type)
    return pa.array(values, arrow_type, mask=null)


def _none_of_type(values: Array, gone: Mask | None, type_: OutputType) -> tuple[Array, Mask | None]:
    """No value is of the type."""
    return _blank(len(values)), np.ones(len(values), dtype=bool)


def _blank(count: int) -> Array:
    return np.full(count, None, dtype=object)


def _numbers(values: Array, gone: Mask | None, type_: OutputType) -> tuple[Array, Mask | None]:
    """Booleans, integers and floats."""
    with np.errstate(invalid="ignore", over="ignore"):
        match type_:
            case "float32" | "float64" | "any":
                return _floats(values, np.dtype("float32" if type_ == "float32" else "float64"))
            case "int64":
                return _integers(values)
            case "bool":
                return values == 1, (values != 0) & (values != 1)
            case "string":
                return np.array([str(value) for value in values], dtype=object), None
    return _none_of_type(values, gone, type_)


def _floats(values: Array, dtype: np.dtype[Any]) -> tuple[Array, Mask | None]:
    """Infinite values are strange, and so are integers that a float can't represent exactly."""
    converted = values.astype(dtype, copy=False)
    if values.dtype.kind == "f":
        finite = np.isfinite(converted)
        return converted, None if finite.all() else ~finite
    if values.dtype.kind == "b" or values.dtype.itemsize < dtype.itemsize:
        return converted, None
    return converted, converted.astype(values.dtype) != values


def _integers(values: Array) -> tuple[Array, Mask | None]:
    if values.dtype.kind == "f":
        strange = (np.trunc(values) != values) | ~((values >= _INT64[0]) & (values < 2.0**63))
        return np.where(strange, 0, values).astype(np.int64), strange
    strange = values > _INT64[1] if values.dtype == np.uint64 else None
    return values.astype(np.int64, copy=False), strange


def _texts(values: Array, gone: Mask | None, type_: OutputType) -> tuple[Any, Mask | None]:
    return (values, None) if type_ == "string" else _none_of_type(values, gone, type_)


def _times(values: Array, gone: Mask | None, type_: OutputType) -> tuple[Array, Mask | None]:
    """NumPy's datetimes, which have no zone."""
    unit = {"date32": "D", "timestamp[us]": "us", "timestamp[ns]": "ns"}.get(type_)
    if unit is None:
        return _none_of_type(values, gone, type_)
    converted = values.astype(f"datetime64[{unit}]")
    return converted, converted.astype(values.dtype) != values


def _objects(values: Array, gone: Mask | None, type_: OutputType) -> tuple[Any, Mask | None]:
    """Converts one value after another, since each may be of another type."""
    if type_ == "string" and _are_texts(values):
        return values, None
    convert_one = _ONE[type_]
    converted, strange = _blank(len(values)), np.zeros(len(values), dtype=bool)
    for row, value in enumerate(values):
        if gone is not None and gone[row]:
            continue
        try:
            converted[row] = convert_one(value)
        except (ValueError, TypeError, OverflowError, AttributeError):
            strange[row] = True
    if type_.startswith("timestamp"):
        unit = "us" if "us" in type_ else "ns"
        return np.array(
            [np.datetime64("NaT") if v is None else v for v in converted], f"datetime64[{unit}]"
        ), strange
    return converted, strange


_Number = (bool, int, float, np.bool_, np.integer, np.floating)


def _number(value: Any) -> Any:
    if not isinstance(value, _Number):
        raise TypeError
    return value.item() if isinstance(value, np.generic) else value


def _one_float(value: Any) -> float:
    number = float(_number(value))
    if number != value or number in (float("inf"), float("-inf")):
        raise ValueError
    return number


def _one_single(value: Any) -> float:
    number = float(np.float32(_number(value)))
    if not np.isfinite(number) or (number != value and not isinstance(value, (float, np.floating))):
        raise ValueError
    return number


def _one_integer(value: Any) -> int:
    number = int(_number(value))
    if number != value or not _INT64[0] <= number <= _INT64[1]:
        raise ValueError
    return number


def _one_boolean(value: Any) -> bool:
    if _number(value) not in (0, 1):
        raise ValueError
    return bool(value)


def _one_text(value: Any) -> str:
    if not isinstance(value, (str, dt.date, *_Number)):
        raise TypeError
    return str(value)


def _one_date(value: Any) -> dt.date:
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None or _moment(value) != np.datetime64(value.date()):
            raise ValueError
        return value.date()
    if not isinstance(value, dt.date):
        raise TypeError
    return value


def _one_time(unit: str, *, zoned: bool) -> Callable[[Any], np.datetime64]:
    def convert_one(value: Any) -> np.datetime64:
        if not isinstance(value, dt.date) or (getattr(value, "tzinfo", None) is not None) != zoned:
            raise TypeError
        moment = _moment(value)
        rounded: np.datetime64 = moment.astype(f"datetime64[{unit}]")
        if rounded != moment:
            raise ValueError
        return rounded

    return convert_one


def _moment(value: dt.date) -> np.datetime64:
    """The time with all its digits; a time with a zone is converted to UTC."""
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    if hasattr(value, "to_datetime64"):  # pandas' times have nanoseconds
        exact: np.datetime64 = value.to_datetime64()
        return exact
    return np.datetime64(value)


_ONE: dict[OutputType, Callable[[Any], Any]] = {
    "float32": _one_single,
    "float64": _one_float,
    "any": _one_float,
    "int64": _one_integer,
    "bool": _one_boolean,
    "string": _one_text,
    "date32": _one_date,
    "timestamp[us]": _one_time("us", zoned=False),
    "timestamp[ns]": _one_time("ns", zoned=False),
    "timestamp[us, UTC]": _one_time("us", zoned=True),
    "timestamp[ns, UTC]": _one_time("ns", zoned=True),
}

_BY_KIND: dict[str, Callable[[Array, Mask | None, OutputType], tuple[Any, Mask | None]]] = {
    "b": _numbers,
    "i": _numbers,
    "u": _numbers,
    "f": _numbers,
    "U": _texts,
    "M": _times,
    "O": _objects,
}
"""Kind of the array's NumPy type -> its conversion; no column type accepts other kinds."""
