"""Checks a suite against Parquet footers: they can fail a night early, but never pass one.

A footer's null count does not include NaN, and its statistics may be absent. So an expectation is
decided here only if it has certainly failed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from nocturne.objects import Location
from nocturne.quality.suites import load_suite
from nocturne.source.reading import read_footer

__all__ = ["failed_for_certain"]

_Footers = Sequence[pq.FileMetaData]


@dataclass(frozen=True)
class _ColumnStatistics:
    """A column over all row groups: rows, a lower bound of its nulls, and its extremes if every
    row group has them."""

    rows: int
    nulls: int
    least: Any
    most: Any


def failed_for_certain(
    suite: Path, files: Sequence[Location], sensitive: Collection[str] = ()
) -> list[str]:
    """The expectations of the suite that fail whatever the rows are, with the reason.

    Args:
        suite: the suite's file.
        files: the Parquet files of its table.
        sensitive: columns whose values must not be shown.
    """
    footers = [read_footer(path) for path in files]
    failures = []
    for expectation in load_suite(suite)["expectations"]:
        kwargs = expectation["kwargs"]
        check = _CHECKS.get(expectation["type"])
        if check is None or kwargs.get("row_condition") is not None:
            continue
        if problem := check(footers, kwargs, kwargs.get("column") in sensitive):
            place = f" on {kwargs['column']}" if "column" in kwargs else ""
            failures.append(f"{expectation['type']}{place}: {problem}")
    return failures


def _statistics(footers: _Footers, column: str) -> _ColumnStatistics | None:
    rows = nulls = 0
    least: list[Any] = []
    most: list[Any] = []
    complete = True
    for chunk in _chunks(footers, column):
        if chunk is None:
            return None
        statistics = chunk.statistics
        rows += chunk.num_values
        if statistics is not None and statistics.has_null_count:
            nulls += statistics.null_count
        if statistics is None or not statistics.has_min_max:
            complete = (
                complete and statistics is not None and statistics.null_count == chunk.num_values
            )
            continue
        try:
            least.append(statistics.min)
            most.append(statistics.max)
        except OverflowError:  # a time that Python can't hold, and times are not compared here
            least.append(None)
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in least + most)
    if not complete or not least or not numbers:
        return _ColumnStatistics(rows, nulls, None, None)
    return _ColumnStatistics(rows, nulls, min(least), max(most))


def _chunks(footers: _Footers, column: str) -> Iterator[Any]:
    """The column's chunk in each row group; None if the column is not flat."""
    for footer in footers:
        names = [footer.schema.column(i).path for i in range(footer.num_columns)]
        at = names.index(column) if column in names else -1
        for group in range(footer.num_row_groups):
            yield footer.row_group(group).column(at) if at >= 0 else None


def _rows(footers: _Footers, kwargs: Mapping[str, Any], _hidden: bool) -> str:
    rows = sum(footer.num_rows for footer in footers)
    least = kwargs.get("min_value", kwargs.get("value"))
    most = kwargs.get("max_value", kwargs.get("value"))
    if isinstance(least, int) and (rows < least or (kwargs.get("strict_min") and rows == least)):
        return f"there are {rows} rows"
    if isinstance(most, int) and (rows > most or (kwargs.get("strict_max") and rows == most)):
        return f"there are {rows} rows"
    return ""


def _not_null(footers: _Footers, kwargs: Mapping[str, Any], _hidden: bool) -> str:
    column = _statistics(footers, kwargs["column"])
    if column is None or not column.rows:
        return ""
    if 1 - column.nulls / column.rows < kwargs.get("mostly", 1):
        return f"{column.nulls} of {column.rows} values are null"
    return ""


def _between(footers: _Footers, kwargs: Mapping[str, Any], hidden: bool) -> str:
    """A single value outside the bounds fails it, unless ``mostly`` allows some."""
    column = _statistics(footers, kwargs["column"])
    if column is None or column.least is None or kwargs.get("mostly", 1) < 1:
        return ""
    return _beyond(column.most, kwargs, hidden) or _beyond(column.least, kwargs, hidden)


def _maximum(footers: _Footers, kwargs: Mapping[str, Any], hidden: bool) -> str:
    column = _statistics(footers, kwargs["column"])
    return _beyond(column.most, kwargs, hidden) if column and column.most is not None else ""


def _minimum(footers: _Footers, kwargs: Mapping[str, Any], hidden: bool) -> str:
    column = _statistics(footers, kwargs["column"])
    return _beyond(column.least, kwargs, hidden) if column and column.least is not None else ""


def _beyond(value: Any, kwargs: Mapping[str, Any], hidden: bool) -> str:
    """Whether a value lies outside the bounds, by more than a float32 may be off."""
    shown = "" if hidden else f"{value:g}, "
    least, most = kwargs.get("min_value"), kwargs.get("max_value")
    slack = abs(value) * 1e-6
    if isinstance(least, (int, float)) and value < least - slack:
        return f"a value is {shown}below {least:g}"
    if isinstance(most, (int, float)) and value > most + slack:
        return f"a value is {shown}above {most:g}"
    return ""


_CHECKS: dict[str, Callable[[_Footers, Mapping[str, Any], bool], str]] = {
    "expect_table_row_count_to_be_between": _rows,
    "expect_table_row_count_to_equal": _rows,
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_between": _between,
    "expect_column_max_to_be_between": _maximum,
    "expect_column_min_to_be_between": _minimum,
}
