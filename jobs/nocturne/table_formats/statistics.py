"""Statistics of a Parquet file for the log of a lake table, with which readers skip files.

A wrong bound would lose rows of readers that filter, so there are bounds only where the footer's
are exact: integers, days, and short ASCII text; none for floats, since NaN is in no bound.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.objects import Location
from nocturne.objects.reading import native

__all__ = ["Statistics", "statistics"]

_TEXT = 32
"""The longest text that is a bound; Spark cuts longer ones."""


@dataclass(frozen=True)
class Statistics:
    """The number of rows, and by column: nulls, the smallest and the largest value.

    Columns are missing whose statistics are unknown or not exact.
    """

    rows: int
    nulls: dict[str, int]
    smallest: dict[str, Any]
    largest: dict[str, Any]


def statistics(path: Location, without: Collection[str] = ()) -> Statistics:
    """The statistics in a file's footer.

    Args:
        without: columns that are left out, since the table has them from the partition.
    """
    footer = pq.read_metadata(native(path))
    schema = footer.schema.to_arrow_schema()
    found = Statistics(footer.num_rows, {}, {}, {})
    for index in range(footer.num_columns):
        name = footer.schema.column(index).path
        if name in without or "." in name or name not in schema.names:
            continue  # "a.b" may be in a nested column
        groups = [footer.row_group(g).column(index) for g in range(footer.num_row_groups)]
        parts = [group.statistics for group in groups if group.num_values or group.statistics]
        if any(s is None or not s.has_null_count for s in parts):
            continue
        found.nulls[name] = sum(s.null_count for s in parts)
        try:
            bounds = _bounds(parts, schema.field(name).type)
        except (OverflowError, ValueError):  # no date of Python's, or no text
            continue
        if bounds is not None:
            found.smallest[name], found.largest[name] = bounds
    return found


def _bounds(parts: list[Any], type_: pa.DataType) -> tuple[Any, Any] | None:
    if not (pa.types.is_signed_integer(type_) or type_ in (pa.date32(), pa.string())):
        return None
    known = [s for s in parts if s.num_values]  # others are null throughout
    if not known or not all(s.has_min_max for s in known):
        return None
    low, high = min(s.min for s in known), max(s.max for s in known)
    if isinstance(low, dt.date | int):
        return low, high
    fits = all(text.isascii() and len(text) <= _TEXT for text in (low, high))
    return (low, high) if fits else None
