"""Accumulators: a worker counts with them, batch by batch, while it scores."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.profile.columns import Column, Rows
from nocturne.profile.distinct import estimate, union
from nocturne.profile.tally import tally
from nocturne.records.buckets import BUCKETS
from nocturne.records.profile import ColumnProfile, Profile, mean_of_both, segment_name

__all__ = ["MAX_VALUES", "TableProfiler"]

MAX_VALUES = 10_000
"""Distinct values of a category that are counted by name; the rest count as "other"."""

_HELD = 10 * MAX_VALUES
"""The most distinct values in memory, apart from those of a batch."""

_IDS = np.array([str(bucket) for bucket in range(BUCKETS)], dtype=object)


class NumericProfiler:
    """Counts by bucket around ``center``, nulls, NaN and infinite values, mean and extremes."""

    def __init__(self, center: float | int) -> None:
        self.center = center
        self.rows = self.null = self.nan = self.finite = 0
        self.counts = np.zeros(BUCKETS, dtype=np.int64)
        self.away = 0.0
        self.minimum: float | int = np.inf
        self.maximum: float | int = -np.inf

    def update(self, column: Column) -> None:
        values, center = column.around(self.center)
        finite, away = tally(values, center, self.counts)
        if not math.isfinite(away):  # the sum overflows, so divide first
            with np.errstate(over="ignore"):  # only the largest floats overflow: see ``bounded``
                away = float(np.sum(values[np.isfinite(values)] / finite - center / finite))
        self.rows += len(column.array)
        self.null += column.array.null_count
        self.nan += len(values) - finite
        if finite:
            self.away = mean_of_both(self.finite, self.away, finite, away)
            self.finite += finite
            all_finite = finite == len(values)
            low, high = column.bounds if all_finite else _bounds(values[np.isfinite(values)])
            self.minimum = min(self.minimum, _number(low))
            self.maximum = max(self.maximum, _number(high))

    def result(self) -> ColumnProfile:
        used = np.flatnonzero(self.counts)
        return ColumnProfile(
            kind="numeric",
            rows=self.rows,
            null=self.null,
            nan=self.nan,
            counts=dict(zip(_IDS[used].tolist(), self.counts[used].tolist(), strict=True)),
            center=self.center,
            away=bounded(self.away),
            minimum=None if self.minimum == np.inf else self.minimum,
            maximum=None if self.maximum == -np.inf else self.maximum,
        )


def _bounds(values: NDArray[np.floating]) -> tuple[float, float]:
    return values.min().item(), values.max().item()


def _number(value: Any) -> float | int:
    """An integer stays an integer, since float64 does not hold all integers of 64 bits."""
    return value if isinstance(value, int) else float(value)


def bounded(value: float) -> float:
    """The value, or the largest float in place of infinity, which JSON does not have."""
    largest = sys.float_info.max
    return max(-largest, min(largest, value))


class CategoryProfiler:
    """Counts by value; if there are very many values, only the most frequent and an estimate of
    their number."""

    def __init__(self) -> None:
        self.rows = self.null = self.other = 0
        self.counts: Counter[str] = Counter()
        self.sketch = ""

    def update(self, column: Column) -> None:
        self.rows += len(column.array)
        self.null += column.array.null_count
        words = column.present
        if pa.types.is_dictionary(words.type):  # four times as fast as to hash the indices
            values = words.dictionary
            value_counts = np.bincount(words.indices, minlength=len(values)).tolist()
        else:
            values, counts = pc.value_counts(words).flatten()
            value_counts = counts.to_pylist()
        totals = self.counts
        for value, count in zip(map(str, values.to_pylist()), value_counts, strict=True):
            if count:
                totals[value] = totals.get(value, 0) + count
        if len(self.counts) > _HELD:
            self._drop()

    def _drop(self) -> None:
        """Keep the most frequent values; of equally frequent values, the first ones.

        A dropped value that occurs again is counted from then on.
        """
        counts = np.fromiter(self.counts.values(), np.int64, len(self.counts))
        least = int(np.partition(counts, -MAX_VALUES)[-MAX_VALUES])
        frequent, dropped = Counter[str](), list[str]()
        room = MAX_VALUES - int((counts > least).sum())
        for value, count in self.counts.items():
            if count > least or (count == least and room > 0):
                frequent[value] = count
                room -= count == least
            else:
                dropped.append(value)
        self.other += int(counts.sum()) - frequent.total()
        self.sketch = union([self.sketch], dropped)
        self.counts = frequent

    def result(self) -> ColumnProfile:
        counts, other = most_frequent(self.counts)
        other += self.other
        sketch = union([self.sketch], self.counts) if other else ""
        return ColumnProfile(
            kind="category",
            rows=self.rows,
            null=self.null,
            counts=counts,
            other=other,
            distinct=estimate(sketch) if sketch else None,
            sketch=sketch,
        )


def most_frequent(counts: Counter[str] | dict[str, int]) -> tuple[dict[str, int], int]:
    """The MAX_VALUES most frequent (ties by name) in name order, and the rows of all others."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    frequent = dict(sorted(ordered[:MAX_VALUES]))
    return frequent, sum(count for _, count in ordered[MAX_VALUES:])


class TableProfiler:
    """Profiles the columns in ``centers``: column -> centre of a numeric column, None for a
    category.

    Args:
        segments: column -> values whose rows are also profiled separately. Each takes 128 kB for
            each numeric column, and its rows are counted twice.
    """

    def __init__(
        self,
        centers: Mapping[str, float | int | None],
        segments: Mapping[str, Sequence[str]] = {},
    ) -> None:
        self.rows = 0
        self.columns: dict[str, NumericProfiler | CategoryProfiler] = {
            name: CategoryProfiler() if center is None else NumericProfiler(center)
            for name, center in centers.items()
        }
        self.segments = {
            column: {value: TableProfiler(centers) for value in values}
            for column, values in segments.items()
        }

    def update(self, batch: pa.RecordBatch | Rows) -> None:
        """Count a batch; columns that are not in it are left out."""
        rows = Rows.of(batch)
        self.rows += len(rows)
        for name, profiler in self.columns.items():
            if name in rows.columns:
                profiler.update(rows.columns[name])
        for name, segments in self.segments.items():
            if name in rows.columns:
                for value, part in rows.by_value(name, segments):
                    segments[value].update(part)

    def result(self) -> Profile:
        return Profile(
            self.rows,
            {name: profiler.result() for name, profiler in self.columns.items()},
            {
                segment_name(column, value): profiler.result()
                for column, segments in self.segments.items()
                for value, profiler in segments.items()
            },
        )
