"""Accumulators: what a worker counts, batch by batch, while it scores."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.buckets import BUCKETS, Scratch, bucket
from nocturne.profile.columns import Column, Rows
from nocturne.records import ColumnProfile, Profile, segment_name

__all__ = ["MAX_VALUES", "TableProfiler"]

MAX_VALUES = 10_000
"""Distinct values of a category that are counted by name; the rest count as "other"."""


class NumericProfiler:
    """Counts by bucket around ``center``, nulls, NaN (infinite values too) and moments."""

    def __init__(self, center: float, scratch: Scratch) -> None:
        self.center, self.scratch = center, scratch
        self.rows = self.null = self.nan = 0
        self.counts = np.zeros(BUCKETS, dtype=np.int64)
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
        exact = self.scratch(np.dtype(np.float64), len(values))
        with np.errstate(over="ignore", invalid="ignore"):  # sentinels as large as a float can be
            self.counts += np.bincount(bucket(values, self.center, self.scratch), minlength=BUCKETS)
            np.copyto(exact, values)
            self.total += float(exact.sum())
            self.squares += float(exact @ exact)
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)

    def result(self) -> ColumnProfile:
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
        for item in pc.value_counts(column.present).tolist():
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
        segments: column -> values whose rows are profiled apart too. Each takes 128 kB a numeric
            column, and its rows are counted twice.
    """

    def __init__(
        self,
        centers: Mapping[str, float | None],
        segments: Mapping[str, Sequence[str]] = {},
    ) -> None:
        self.rows, scratch = 0, Scratch()
        self.columns: dict[str, NumericProfiler | CategoryProfiler] = {
            name: CategoryProfiler() if center is None else NumericProfiler(center, scratch)
            for name, center in centers.items()
        }
        self.segments = {
            column: {value: TableProfiler(centers) for value in values}
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
