"""Old days and times that Spark has written by the Julian calendar.

Spark before 3.0, and later ones with ``spark.sql.parquet.datetimeRebaseModeInWrite: LEGACY``, write
days before 1582-10-15 by another calendar than Parquet's, and times before 1900 by the clocks that
an older Java knew. The footer says so, and Spark converts them when it reads them; Arrow, DuckDB
and polars do not, and find 0000-12-30 for 0001-01-01. So they are refused here. The rules are those
of Spark's ``DataSourceUtils.datetimeRebaseSpec`` and ``int96RebaseSpec``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.columns.normal import is_list, plain
from nocturne.columns.types import zone_of
from nocturne.errors import InputError
from nocturne.objects import Location

__all__ = ["checked"]

_GREGORIAN = pa.scalar(-141_427, pa.int32()).cast(pa.date32())
"""1582-10-15: from that day on both calendars have the same days."""
_SAME_CLOCKS = pa.scalar(-2_208_988_800).cast(pa.timestamp("s"))
"""1900-01-01, from which on Spark converts no time of whatever zone."""


def checked(
    batches: Iterator[pa.RecordBatch], source: pq.ParquetFile, path: Location
) -> Iterator[pa.RecordBatch]:
    """The batches of a file, in normal types; nothing is looked at where Spark says nothing.

    Raises:
        InputError: a day or time is by the old calendar.
    """
    calendar = _calendar(source)
    return batches if calendar is None else _checked(batches, calendar, path)


@dataclass(frozen=True)
class _Calendar:
    """What of a file is by the old calendar.

    Attributes:
        days: whether days and times in INT64 are. Of these, times without a zone never are.
        int96: the columns with times in INT96 that are.
        zone: the time zone of the writer; "" for UTC.
    """

    days: bool
    int96: frozenset[str]
    zone: str

    def is_old(self, leaf: pa.Array, column: str) -> bool:
        """Whether one of the days or times in a part of a column is by it."""
        limit = _GREGORIAN
        if pa.types.is_timestamp(leaf.type):
            if not (column in self.int96 if leaf.type.tz is None else self.days):
                return False
            limit = _SAME_CLOCKS if self.zone else _GREGORIAN.cast(pa.timestamp("s"))
        elif not self.days:
            return False
        return pc.any(pc.less(leaf, limit.cast(leaf.type))).as_py() is True


def _calendar(source: pq.ParquetFile) -> _Calendar | None:
    """What Spark says of a file; None if all of it is by Parquet's calendar."""
    said = source.metadata.metadata or {}
    if (version := said.get(b"org.apache.spark.version")) is None:
        return None
    number = tuple(int(part) for part in re.findall(rb"\d+", version)[:2])
    days = number < (3, 0) or b"org.apache.spark.legacyDateTime" in said
    int96 = number < (3, 1) or b"org.apache.spark.legacyINT96" in said
    if not (days or int96):
        return None
    leaves = [source.schema.column(i) for i in range(len(source.schema))] if int96 else []
    old = [f"{leaf.path}." for leaf in leaves if leaf.physical_type == "INT96"]
    names = [n for n in source.schema_arrow.names if any(path.startswith(f"{n}.") for path in old)]
    zone = said.get(b"org.apache.spark.timeZone", b"unknown").decode(errors="replace")
    return _Calendar(days, frozenset(names), zone_of(pa.timestamp("s", zone)))


def _checked(
    batches: Iterator[pa.RecordBatch], calendar: _Calendar, path: Location
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        old = [
            name
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
            if any(calendar.is_old(leaf, name) for leaf in _leaves(plain(column)))
        ]
        if old:
            raise InputError(
                f"{path.name} has days before 1582-10-15 or times before 1900 ({', '.join(old)}) "
                "that Spark has written by the Julian calendar, as its footer says "
                "(org.apache.spark.legacyDateTime, legacyINT96, or a version before 3): others "
                "than Spark read other days. Have the file written again with "
                "spark.sql.parquet.datetimeRebaseModeInWrite and int96RebaseModeInWrite: "
                "CORRECTED, leave the column out, or read the input with scoring.reader: spark",
                path=str(path),
            )
        yield batch


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    """The days and times in a column, and in what is nested in it."""
    type_ = column.type
    if pa.types.is_date(type_) or pa.types.is_timestamp(type_):
        yield column
    elif pa.types.is_map(type_):
        yield from _leaves(column.keys)
        yield from _leaves(column.items)
    elif pa.types.is_struct(type_):
        for part in column.flatten():
            yield from _leaves(part)
    elif is_list(type_):
        yield from _leaves(column.flatten())
