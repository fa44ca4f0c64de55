"""A column's values become those of another type."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.normal import is_list, plain, relisted
from nocturne.columns.types import is_text

__all__ = ["cast_column"]

_EXACT = 15
"""Decimal digits that every float64 tells apart: so many need no look whether they survived."""


def cast_column(column: pa.Array, wanted: pa.DataType, zone: str = "") -> pa.Array:
    """The column as another type. Text becomes numbers: space around it goes, empty is null.

    Only floats may lose something: their precision. NaN is null where the type has none.

    Args:
        zone: of times with a time zone: whose clock is read.

    Raises:
        pyarrow.ArrowInvalid: a value would not survive.
    """
    column = plain(column)
    given = column.type
    if is_list(wanted) and is_list(given):
        return relisted(column, wanted, cast_column)
    if zone:
        column = pc.local_timestamp(column.cast(pa.timestamp(given.unit, zone)))
    if is_text(given) and not is_text(wanted):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    if pa.types.is_floating(given) and not pa.types.is_floating(wanted):
        column = pc.if_else(pc.is_nan(column), None, column)
        column = column.cast(pa.int64())
    if pa.types.is_decimal(given) and is_text(wanted):
        return column.cast(wanted)
    if pa.types.is_decimal(given) and pa.types.is_floating(wanted):
        return _floats(column).cast(wanted)
    if pa.types.is_boolean(wanted) and pa.types.is_integer(given):
        _check(pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, 1)))
    return column.cast(wanted, safe=not pa.types.is_floating(column.type))


def _floats(decimals: pa.Array) -> pa.Array:
    """The float64 nearest to each decimal, by way of text: Arrow's own cast is often one off.

    It makes 0.12572999999999998 of 0.12573 (25.0).

    Raises:
        pyarrow.ArrowInvalid: one has more digits than a float64 tells apart.
    """
    done = decimals.cast(pa.string()).cast(pa.float64())
    if decimals.type.precision > _EXACT:
        _check(pc.equal(done.cast(pa.string()).cast(decimals.type), decimals))
    return done


def _check(kept: pa.Array) -> None:
    if pc.any(pc.invert(kept)).as_py():
        raise pa.ArrowInvalid("a value would not survive")
