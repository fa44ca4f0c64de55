"""Statistics of a Parquet file for Delta's log, with which readers skip files.

A wrong bound would lose rows of readers that filter, so there are bounds only where the footer's
are exact: integers, days, and short ASCII text; none for floats, since NaN is in no bound.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["statistics"]

_TEXT = 32
"""The longest text that is a bound; Spark cuts longer ones."""


def statistics(path: Path, without: Collection[str] = ()) -> str:
    """``numRecords``, ``nullCount``, ``minValues`` and ``maxValues`` as JSON.

    Args:
        without: columns that are left out, since the table has them from the partition.
    """
    footer = pq.read_metadata(path)
    schema = footer.schema.to_arrow_schema()
    result: dict[str, Any] = {"numRecords": footer.num_rows}
    nulls, smallest, largest = {}, {}, {}
    for index in range(footer.num_columns):
        name = footer.schema.column(index).path
        if name in without or "." in name or name not in schema.names:
            continue  # "a.b" may be in a nested column
        groups = [footer.row_group(g).column(index) for g in range(footer.num_row_groups)]
        found = [group.statistics for group in groups if group.num_values or group.statistics]
        if any(s is None or not s.has_null_count for s in found):
            continue
        nulls[name] = sum(s.null_count for s in found)
        try:
            bounds = _bounds(found, schema.field(name).type)
        except (OverflowError, ValueError):  # no date of Python's, or no text
            continue
        if bounds is not None:
            smallest[name], largest[name] = bounds
    return json.dumps(result | {"nullCount": nulls, "minValues": smallest, "maxValues": largest})


def _bounds(found: list[Any], type_: pa.DataType) -> tuple[Any, Any] | None:
    if not (pa.types.is_signed_integer(type_) or type_ in (pa.date32(), pa.string())):
        return None
    known = [s for s in found if s.num_values]  # others are null throughout
    if not known or not all(s.has_min_max for s in known):
        return None
    low, high = min(s.min for s in known), max(s.max for s in known)
    if isinstance(low, dt.date):
        return low.isoformat(), high.isoformat()
    if isinstance(low, str):
        fits = all(text.isascii() and len(text) <= _TEXT for text in (low, high))
        return (low, high) if fits else None
    return low, high
