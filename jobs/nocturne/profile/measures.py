"""What expectations want to know of a table, counted while it is scored, and merged.

A *measure* says what to count, ``Measured`` what came out for some rows; ``merge`` adds those of
several parts of a table, in order. Counting does not know of Great Expectations.
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
from nocturne.columns.values import instant, pythons, to_json
from nocturne.profile.columns import Rows, floats, type_of
from nocturne.profile.rules import COLUMN_RULES, ROW_RULES, within
from nocturne.profile.tally import spread
from nocturne.records.quality import Measure, Measured

__all__ = ["EXAMPLES", "MAX_DISTINCT", "Measurer", "merge_measured"]

EXAMPLES = 5
"""Unexpected values that are kept of a rule."""

MAX_DISTINCT = 10_000
"""Distinct values of a column that are told apart; with more, there is no answer."""


class Measurer:
    """Counts the measures of a table, batch by batch."""

    def __init__(self, measures: Sequence[Measure]) -> None:
        self._running = {measure.key: Running(measure) for measure in measures}

    def update(self, batch: pa.RecordBatch | Rows) -> None:
        """Count a batch, which has all columns of the measures."""
        rows = Rows.of(batch)
        for running in self._running.values():
            running.update(rows)

    def result(self) -> dict[str, Measured]:
        """By the measure's key; empty if there was no batch."""
        found = {key: running.result() for key, running in self._running.items()}
        return {key: one for key, one in found.items() if one is not None}


class Running:
    """One measure's answer so far. Most batches of most measures add to two numbers only."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self._count = KINDS[measure.kind]
        self._rows = self._missing = 0
        self._type: str | None = None
        self._found: Measured | None = None
        self._words: tuple[pa.Array, pa.Array] | None = None

    def update(self, rows: Rows) -> None:
        rows = rows.where(self.measure.condition)
        found = self._count(rows, self)
        if found is not None:
            self._found = found if self._found is None else _add(self._found, found)
            return
        column = rows.columns[self.measure.columns[0]] if self.measure.columns else None
        self._rows += len(rows)
        self._missing += column.missing if column else 0
        if self._type is None:
            self._type = type_of(column.array) if column else ""

    def result(self) -> Measured | None:
        if self._type is None:
            return self._found
        plain = Measured(rows=self._rows, missing=self._missing, type=self._type)
        return plain if self._found is None else _add(plain, self._found)

    def words(self, dictionary: pa.Array) -> pa.Array:
        """Which words of a dictionary are as expected; batches mostly have the same one."""
        if self._words is None or not self._words[0].equals(dictionary):
            judged = COLUMN_RULES[self.measure.rule](dictionary, self.measure.args)
            self._words = dictionary, judged
        return self._words[1]


def _plain(rows: Rows, running: Running) -> None:
    """All measures count rows and the missing values of their first column: these no more."""


def _column_rule(rows: Rows, running: Running) -> Measured | None:
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


def _row_rule(rows: Rows, running: Running) -> Measured:
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
    shown = [[to_json(v) for v in pythons(plain(c.take(pa.array(at))))] for c in columns]
    examples = shown[0] if len(shown) == 1 else [list(row) for row in zip(*shown, strict=True)]
    return Measured(
        rows=counted.rows,
        missing=counted.missing,
        unexpected=unexpected,
        examples=tuple(examples),
        type=counted.type,
    )


def _moments(rows: Rows, running: Running) -> Measured | None:
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
    whole = _whole_sum(present, column.bounds) if pa.types.is_integer(present.type) else total
    return Measured(
        **{
            **vars(counted),
            "minimum": low,
            "maximum": high,
            "total": to_json(whole),
            "squares": to_json(squares),
        }
    )


def _whole_sum(integers: pa.Array, bounds: tuple[int, int]) -> int:
    """The exact sum [n] -> 1; in halves where 64 bits might not hold it."""
    if max(map(abs, bounds)) * len(integers) < 1 << 63:
        return int(pc.sum(integers).as_py())
    values = integers.to_numpy()
    low = values & values.dtype.type(0xFFFFFFFF)
    return (int((values >> values.dtype.type(32)).sum()) << 32) + int(low.sum())


def _values(rows: Rows, running: Running) -> Measured:
    column = rows.columns[running.measure.columns[0]]
    found = pc.value_counts(plain(column.present))
    values, counts = found.field("values"), found.field("counts")
    known: Counter[Any] = Counter()
    for value, count in zip(pythons(values), counts.to_pylist(), strict=True):
        known[to_json(value)] += count  # to Arrow 0.0 and -0.0 are two
    return _capped(column.counted, known, False)


def _capped(counted: Measured, values: Counter[Any], beyond: bool) -> Measured:
    beyond = beyond or len(values) > MAX_DISTINCT
    listed = () if beyond else tuple(sorted(values.items(), key=lambda item: str(item[0])))
    return Measured(**{**vars(counted), "values": listed, "beyond": beyond})


KINDS: dict[str, Callable[[Rows, Running], Measured | None]] = {
    "rows": _plain,
    "missing": _plain,
    "column_rule": _column_rule,
    "row_rule": _row_rule,
    "moments": _moments,
    "values": _values,
}
"""How a measure is counted in a batch, by its kind. None: there is no more to say than rows and
missing values."""


def merge_measured(parts: Sequence[Mapping[str, Measured]]) -> dict[str, Measured]:
    """One answer a measure for all rows, of the measures that every part has counted."""
    filled = [part for part in parts if part]
    keys = [key for key in (filled[0] if filled else ()) if all(key in part for part in filled)]
    return {key: reduce(_add, [part[key] for part in filled]) for key in keys}


def _add(one: Measured, other: Measured) -> Measured:
    """Counts add exactly; moments as Chan, Golub and LeVeque (1979) merge them."""
    n, m = (part.rows - part.missing for part in (one, other))
    total, squares = one.total, one.squares
    if one.total is None or other.total is None:
        total, squares = (
            (one.total, one.squares) if other.total is None else (other.total, other.squares)
        )
    else:
        away = _apart(one.total, n, other.total, m)
        total = to_json(_number(one.total) + _number(other.total))
        squares = to_json(
            _number(one.squares) + _number(other.squares) + away * away * n * m / (n + m)
        )
    counted = Measured(
        rows=one.rows + other.rows,
        missing=one.missing + other.missing,
        unexpected=one.unexpected + other.unexpected,
        examples=(*one.examples, *other.examples)[:EXAMPLES],
        total=total,
        squares=squares,
        minimum=_extreme(min, one, other, "minimum"),
        maximum=_extreme(max, one, other, "maximum"),
        type=one.type or other.type,
    )
    if one.values or other.values or one.beyond or other.beyond:
        both = Counter(dict(one.values))
        both.update(dict(other.values))
        return _capped(counted, both, one.beyond or other.beyond)
    return counted


def _apart(total: Any, n: int, other: Any, m: int) -> float:
    """How far two means are apart; of integers exactly, then rounded."""
    if isinstance(total, int) and isinstance(other, int):
        return (total * m - other * n) / (n * m)
    return float(total) / n - float(other) / m


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value


def _extreme(choose: Callable[..., Any], one: Measured, other: Measured, name: str) -> Any:
    """Times are ISO text: compared as instants, as an hour comes twice when clocks go back."""
    first, second = getattr(one, name), getattr(other, name)
    if first is None or second is None:
        return second if first is None else first
    if (one.type or other.type).startswith("timestamp"):
        return choose(first, second, key=instant)
    return to_json(choose(_number(first), _number(second)))
