"""Casts the values of a column to another type."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.normal import is_list, plain, relisted
from nocturne.columns.types import is_text

__all__ = ["cast_column"]

_EXACT = 15
"""Every float64 keeps this many decimal digits, so shorter decimals need no check."""


def cast_column(column: pa.Array, target: pa.DataType, zone: str = "") -> pa.Array:
    """The column as another type. Text is stripped before it becomes a number; empty text is null,
    and hexadecimal is no number.

    Only floats may lose precision. NaN becomes null if the type has no NaN.

    Args:
        zone: for times with a time zone, the zone whose clock is read.

    Raises:
        pyarrow.ArrowInvalid: a value would not survive.
    """
    column = plain(column)
    source = column.type
    if is_list(target) and is_list(source):
        return relisted(column, target, cast_column)
    if zone:
        column = pc.local_timestamp(column.cast(pa.timestamp(source.unit, zone)))
    if is_text(source) and not is_text(target):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
        if pa.types.is_integer(target):  # Arrow reads 0x10, and 0xffffffffffffffff as -1
            _check(pc.invert(pc.match_substring(column, "x", ignore_case=True)))
    if pa.types.is_floating(source) and not pa.types.is_floating(target):
        column = pc.if_else(pc.is_nan(column), None, column)
        column = column.cast(pa.int64())
    if pa.types.is_decimal(source) and is_text(target):
        return column.cast(target)
    if pa.types.is_decimal(source) and pa.types.is_floating(target):
        return _floats(column).cast(target)
    if pa.types.is_boolean(target) and pa.types.is_integer(source):
        _check(pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, 1)))
    return column.cast(target, safe=not pa.types.is_floating(column.type))


def _floats(decimals: pa.Array) -> pa.Array:
    """The float64 nearest to each decimal. It is parsed from text, since Arrow's own cast is often
    off by one: it turns 0.12573 into 0.12572999999999998 (25.0).

    Raises:
        pyarrow.ArrowInvalid: a decimal has more digits than a float64 keeps.
    """
    floats = decimals.cast(pa.string()).cast(pa.float64())
    if decimals.type.precision > _EXACT:
        _check(pc.equal(floats.cast(pa.string()).cast(decimals.type), decimals))
    return floats


def _check(survives: pa.Array) -> None:
    if pc.any(pc.invert(survives)).as_py():
        raise pa.ArrowInvalid("a value would not survive")
