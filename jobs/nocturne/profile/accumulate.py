"""Accumulators: what a worker counts, batch by batch, while it scores."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.buckets import BUCKETS, Tally, shifted
from nocturne.profile.columns import Column, Rows
from nocturne.records import ColumnProfile, Profile, segment_name

__all__ = ["MAX_VALUES", "TableProfiler"]

_EXACT = 1 << 24
_PART = 1024
_ONES = np.ones(_PART, np.float32)
MAX_VALUES = 10_000
"""Distinct values of a category that are counted by name; the rest count as "other"."""


class NumericProfiler:
    """Counts by bucket around ``center``, nulls, NaN (infinite values too) and moments."""

    def __init__(self, center: float, tally: Tally) -> None:
        self.center, self.tally = center, tally
        self.rows = self.null = self.nan = 0
        self.counts = np.zeros(BUCKETS, dtype=np.int64)
        self.recent, self.since = np.zeros(BUCKETS, dtype=np.float32), 0
        self.total = self.squares = 0.0
        self.minimum, self.maximum = np.inf, -np.inf

    def update(self, column: Column) -> None:
        self.rows += len(column.array)
        self.null += column.array.null_count
        self.nan += column.missing - column.array.null_count
        values = column.floats
        if not len(values):
            return
        low, high = map(float, column.bounds)
        if not (math.isfinite(low) and math.isfinite(high)):
            values = values[np.isfinite(values)]
            self.nan += len(column.floats) - len(values)
            if not len(values):
                return
            low, high = float(values.min()), float(values.max())
        away = shifted(values, self.center, self.tally.room(len(values)))
        if self.since + len(away) > _EXACT:
            self._settle()
        self.recent += self.tally.counts(away)
        self.since += len(away)
        total, squares = self._moments(values, away, low, high)
        self.total += total
        self.squares += squares
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)

    def _moments(
        self, values: NDArray[np.floating], away: NDArray[np.float32], low: float, high: float
    ) -> tuple[float, float]:
        """The sums of ``values`` [n] and of their squares, within a relative 1e-6 of the spread.

        Of float32 by way of the differences from the centre, summed in float32 a thousand at a
        time: a third of the time. Where the centre is far outside of the values, or they are as
        large as a float can be, exactly.
        """
        reach = max(abs(low - self.center), abs(high - self.center))
        if values.dtype != np.float32 or reach > min(16 * (high - low), 1e17):
            with np.errstate(over="ignore", invalid="ignore"):
                exact = values.astype(np.float64)
                return float(exact.sum()), float(exact @ exact)
        whole = len(away) // _PART * _PART
        rest, parts = away[whole:], away[:whole].reshape(-1, _PART)
        one = float((parts @ _ONES).sum(dtype=np.float64)) + float(rest.sum(dtype=np.float64))
        two = float(np.vecdot(parts, parts).sum(dtype=np.float64)) + float(rest @ rest)
        n, center = len(away), self.center
        return one + n * center, two + 2 * center * one + n * center * center

    def _settle(self) -> None:
        """Counts of type float32 are exact only so far."""
        self.counts += self.recent.astype(np.int64)
        self.recent[:], self.since = 0, 0

    def result(self) -> ColumnProfile:
        self._settle()
        used = np.flatnonzero(self.counts)
        return ColumnProfile(
            kind="numeric",
            rows=self.rows,
            null=self.null,
            nan=self.nan,
            counts=dict(zip(map(str, used.tolist()), self.counts[used].tolist(), strict=True)),
            center=self.center,
            total=bounded(self.total),
            total_squares=bounded(self.squares),
            minimum=None if self.minimum == np.inf else self.minimum,
            maximum=None if self.maximum == -np.inf else self.maximum,
        )


def bounded(value: float) -> float:
    """Moments stop at the largest float; JSON has no infinity."""
    largest = sys.float_info.max
    return 0.0 if value != value else max(-largest, min(largest, value))


class CategoryProfiler:
    """Counts by value."""

    def __init__(self) -> None:
        self.rows = self.null = self.other = 0
        self.counts: Counter[str] = Counter()

    def update(self, column: Column) -> None:
        self.rows += len(column.array)
        self.null += column.array.null_count
        words = column.present
        if pa.types.is_dictionary(words.type):  # four times as fast as to hash the indices
            found = np.bincount(words.indices, minlength=len(words.dictionary)).tolist()
            for value, count in zip(words.dictionary.to_pylist(), found, strict=True):
                if count:
                    self.counts[str(value)] += count
        else:
            for item in pc.value_counts(words).tolist():
                self.counts[str(item["values"])] += item["counts"]

    def result(self) -> ColumnProfile:
        kept, other = cap(self.counts)
        return ColumnProfile(
            kind="category", rows=self.rows, null=self.null, counts=kept, other=other + self.other
        )


def cap(counts: Counter[str] | dict[str, int]) -> tuple[dict[str, int], int]:
    """The MAX_VALUES most frequent (ties by name) in name order, and the rows of the rest."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = dict(sorted(ordered[:MAX_VALUES]))
    return kept, sum(count for _, count in ordered[MAX_VALUES:])


class TableProfiler:
    """Profiles the columns named in ``centers``: a centre for numbers, None for categories.

    Args:
        segments: column -> values whose rows are profiled apart too. Each takes 192 kB a numeric
            column, and its rows are counted twice.
        tally: counts the columns one after the other; default: one of its own.
    """

    def __init__(
        self,
        centers: Mapping[str, float | None],
        segments: Mapping[str, Sequence[str]] = {},
        tally: Tally | None = None,
    ) -> None:
        self.rows, tally = 0, tally or Tally()
        self.columns: dict[str, NumericProfiler | CategoryProfiler] = {
            name: CategoryProfiler() if center is None else NumericProfiler(center, tally)
            for name, center in centers.items()
        }
        self.segments = {
            column: {value: TableProfiler(centers, tally=tally) for value in values}
            for column, values in segments.items()
        }

    def update(self, batch: pa.RecordBatch | Rows) -> None:
        """Count a batch; columns that it lacks are left out."""
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
            {segment_name(column, value): profiler.result()
             for column, segments in self.segments.items()
             for value, profiler in segments.items()},
        )  # fmt: skip
