"""Counts what expectations need of a table while it is scored, and merges the counts.

A *measure* says what to count, and ``Measured`` is its result for some rows; ``merge_measured``
adds the results of several parts of a table, in order. Nothing here uses Great Expectations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.normal import plain
from nocturne.columns.values import instant, python_values, to_json
from nocturne.profile.columns import Rows, floats, type_of
from nocturne.profile.rules import COLUMN_RULES, ROW_RULES, within
from nocturne.profile.tally import spread
from nocturne.records.quality import Measure, Measured

__all__ = ["EXAMPLES", "MAX_DISTINCT", "Measurer", "merge_measured"]

EXAMPLES = 5
"""The most unexpected values that are kept for a rule."""

MAX_DISTINCT = 10_000
"""The most distinct values of a column that are counted; with more, there is no result."""


class Measurer:
    """Counts the measures of a table, batch by batch."""

    def __init__(self, measures: Sequence[Measure]) -> None:
        self._running = {measure.key: RunningMeasure(measure) for measure in measures}
        self._columns = {name for measure in measures for name in measure.reads()}

    def update(self, batch: pa.RecordBatch | Rows) -> None:
        """Count a batch; it must have all columns of the measures."""
        rows = Rows.of(batch).legible(self._columns)
        for running in self._running.values():
            running.update(rows)

    def result(self) -> dict[str, Measured]:
        """By the measure's key; empty if there was no batch."""
        results = {key: running.result() for key, running in self._running.items()}
        return {key: result for key, result in results.items() if result is not None}


class RunningMeasure:
    """The result of a measure so far. Most batches only add to the rows and missing values."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self._count = KINDS[measure.kind]
        self._rows = self._missing = 0
        self._type: str | None = None
        self._counted: Measured | None = None
        self._words: tuple[pa.Array, pa.Array] | None = None

    def update(self, rows: Rows) -> None:
        rows = rows.where(self.measure.condition)
        counted = self._count(rows, self)
        if counted is not None:
            self._counted = counted if self._counted is None else _add(self._counted, counted)
            return
        column = rows.columns[self.measure.columns[0]] if self.measure.columns else None
        self._rows += len(rows)
        self._missing += column.missing if column else 0
        if self._type is None:
            self._type = type_of(column.array) if column else ""

    def result(self) -> Measured | None:
        if self._type is None:
            return self._counted
        plain = Measured(rows=self._rows, missing=self._missing, type=self._type)
        return plain if self._counted is None else _add(plain, self._counted)

    def words(self, dictionary: pa.Array) -> pa.Array:
        """Which words of a dictionary are as expected; most batches have the same dictionary."""
        if self._words is None or not self._words[0].equals(dictionary):
            judged = COLUMN_RULES[self.measure.rule](dictionary, self.measure.args)
            self._words = dictionary, judged
        return self._words[1]


def _plain(rows: Rows, running: RunningMeasure) -> None:
    """Counts nothing more: every measure counts rows and missing values of its first column."""


def _column_rule(rows: Rows, running: RunningMeasure) -> Measured | None:
    measure = running.measure
    column = rows.columns[measure.columns[0]]
    if measure.rule == "column_values.between" and within(column, measure.args):
        return None
    values = column.present
    if pa.types.is_dictionary(values.type):  # each word is looked at once, not once a row
        words = running.words(values.dictionary)
        if pc.all(words, skip_nulls=False).as_py():
            return None
        return _judged(column.counted, words.take(values.indices), [values])
    expected = COLUMN_RULES[measure.rule](values, measure.args)
    return _judged(column.counted, expected, [values])


def _row_rule(rows: Rows, running: RunningMeasure) -> Measured:
    measure = running.measure
    columns = [rows.columns[name] for name in measure.columns]
    gone = [column.is_missing for column in columns]
    together = pc.or_ if measure.ignore.startswith(("either", "any")) else pc.and_
    skipped = reduce(together, gone) if measure.ignore != "never" else None
    arrays = [plain(column.array) for column in columns]
    if skipped is not None and pc.any(skipped).as_py():
        arrays = [array.filter(pc.invert(skipped)) for array in arrays]
    counted = Measured(rows=len(rows), missing=len(rows) - len(arrays[0]), type=type_of(arrays[0]))
    expected = ROW_RULES[measure.rule](arrays, measure.args)
    return _judged(counted, pc.fill_null(expected, False), arrays)


def _judged(counted: Measured, expected: pa.Array, columns: Sequence[pa.Array]) -> Measured:
    unexpected = len(expected) - (pc.sum(expected).as_py() or 0)
    if not unexpected:
        return counted
    at = np.flatnonzero(~expected.to_numpy(zero_copy_only=False))[:EXAMPLES]
    shown = [[to_json(v) for v in python_values(plain(c.take(pa.array(at))))] for c in columns]
    examples = shown[0] if len(shown) == 1 else [list(row) for row in zip(*shown, strict=True)]
    return Measured(
        rows=counted.rows,
        missing=counted.missing,
        unexpected=unexpected,
        examples=tuple(examples),
        type=counted.type,
    )


def _moments(rows: Rows, running: RunningMeasure) -> Measured | None:
    """Sum, and sum of squares around the mean (in float64), least and greatest value."""
    column = rows.columns[running.measure.columns[0]]
    counted = column.counted
    if not len(column.present):
        return None
    low, high = map(to_json, column.bounds)
    if pa.types.is_temporal(column.present.type):
        return Measured(**{**vars(counted), "minimum": low, "maximum": high})
    present = column.present
    if pa.types.is_boolean(present.type):
        present = present.cast(pa.int8())
        values = floats(present)
    else:
        values = column.spreading
    total, squares = spread(values)
    exact_total = _whole_sum(present, column.bounds) if pa.types.is_integer(present.type) else total
    return Measured(
        **{
            **vars(counted),
            "minimum": low,
            "maximum": high,
            "total": to_json(exact_total),
            "squares": to_json(squares),
        }
    )


def _whole_sum(integers: pa.Array, bounds: tuple[int, int]) -> int:
    """The exact sum [n] -> 1; it is computed in halves if 64 bits might not hold it."""
    if max(map(abs, bounds)) * len(integers) < 1 << 63:
        return int(pc.sum(integers).as_py())
    values = integers.to_numpy()
    low = values & values.dtype.type(0xFFFFFFFF)
    return (int((values >> values.dtype.type(32)).sum()) << 32) + int(low.sum())


def _values(rows: Rows, running: RunningMeasure) -> Measured:
    column = rows.columns[running.measure.columns[0]]
    counted = pc.value_counts(plain(column.present))
    values, counts = counted.field("values"), counted.field("counts")
    by_value: Counter[Any] = Counter()
    for value, count in zip(python_values(values), counts.to_pylist(), strict=True):
        by_value[to_json(value)] += count  # to Arrow 0.0 and -0.0 are two
    return _capped(column.counted, by_value, False)


def _capped(counted: Measured, values: Counter[Any], beyond: bool) -> Measured:
    beyond = beyond or len(values) > MAX_DISTINCT
    listed = () if beyond else tuple(sorted(values.items(), key=lambda item: str(item[0])))
    return Measured(**{**vars(counted), "values": listed, "beyond": beyond})


KINDS: dict[str, Callable[[Rows, RunningMeasure], Measured | None]] = {
    "rows": _plain,
    "missing": _plain,
    "column_rule": _column_rule,
    "row_rule": _row_rule,
    "moments": _moments,
    "values": _values,
}
"""Kind of a measure -> how it is counted in a batch. The function returns None if there is nothing
to count except rows and missing values."""


def merge_measured(parts: Sequence[Mapping[str, Measured]]) -> dict[str, Measured]:
    """The result of each measure for all rows, for the measures that every part has counted."""
    filled = [part for part in parts if part]
    keys = [key for key in (filled[0] if filled else ()) if all(key in part for part in filled)]
    return {key: reduce(_add, [part[key] for part in filled]) for key in keys}


def _add(first: Measured, second: Measured) -> Measured:
    """Counts add exactly; moments as Chan, Golub and LeVeque (1979) merge them."""
    n, m = (part.rows - part.missing for part in (first, second))
    total, squares = first.total, first.squares
    if first.total is None or second.total is None:
        total, squares = (
            (first.total, first.squares) if second.total is None else (second.total, second.squares)
        )
    else:
        away = _apart(first.total, n, second.total, m)
        total = to_json(_number(first.total) + _number(second.total))
        squares = to_json(
            _number(first.squares) + _number(second.squares) + away * away * n * m / (n + m)
        )
    counted = Measured(
        rows=first.rows + second.rows,
        missing=first.missing + second.missing,
        unexpected=first.unexpected + second.unexpected,
        examples=(*first.examples, *second.examples)[:EXAMPLES],
        total=total,
        squares=squares,
        minimum=_extreme(min, first, second, "minimum"),
        maximum=_extreme(max, first, second, "maximum"),
        type=first.type or second.type,
    )
    if first.values or second.values or first.beyond or second.beyond:
        both = Counter(dict(first.values))
        both.update(dict(second.values))
        return _capped(counted, both, first.beyond or second.beyond)
    return counted


def _apart(total: Any, n: int, other: Any, m: int) -> float:
    """The difference of two means; for integers it is exact before it is rounded."""
    if isinstance(total, int) and isinstance(other, int):
        return (total * m - other * n) / (n * m)
    return float(total) / n - float(other) / m


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value


def _extreme(choose: Callable[..., Any], one: Measured, other: Measured, name: str) -> Any:
    """The least or greatest of two. Times are ISO text and are compared as instants: an hour
    occurs twice when clocks go back."""
    first, second = getattr(one, name), getattr(other, name)
    if first is None or second is None:
        return second if first is None else first
    if (one.type or other.type).startswith("timestamp"):
        return choose(first, second, key=instant)
    return to_json(choose(_number(first), _number(second)))
