"""Predicates on Arrow types."""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa

__all__ = ["Kind", "fits_integer", "is_bytes", "is_number", "is_text", "zone_of"]

Kind = Literal["numeric", "category"]
"""How a column is counted in a profile."""


def is_text(type_: pa.DataType) -> bool:
    """Whether it is a string of either width."""
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def is_bytes(type_: pa.DataType) -> bool:
    """Whether it is text or bytes of any width; not a string view."""
    return bool(
        is_text(type_)
        or pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_fixed_size_binary(type_)
        or pa.types.is_binary_view(type_)
    )


def is_number(type_: Any) -> bool:
    return bool(
        pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)
    )


def fits_integer(actual: Any, target: Any) -> bool:
    """Whether both are integers, and the target type holds every value of the actual one."""
    if not pa.types.is_integer(actual) or not pa.types.is_integer(target):
        return False
    if pa.types.is_unsigned_integer(actual) == pa.types.is_unsigned_integer(target):
        return bool(actual.bit_width <= target.bit_width)
    return bool(pa.types.is_signed_integer(target) and actual.bit_width < target.bit_width)


def zone_of(type_: Any) -> str:
    """The time zone of the type; "" if it has none, or it is UTC."""
    zone = getattr(type_, "tz", None) or ""
    return "" if zone.upper() in ("UTC", "ETC/UTC", "Z", "+00:00", "GMT") else zone
