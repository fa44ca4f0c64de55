"""Accumulators: what a worker counts, batch by batch, while it scores."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.buckets import BUCKETS, bucket
from nocturne.records import ColumnProfile, Profile

__all__ = ["MAX_VALUES", "TableProfiler"]

MAX_VALUES = 10_000
"""Distinct values of a category that are counted by name; the rest count as "other"."""


_BEYOND = np.isin(np.arange(BUCKETS) & (BUCKETS // 2 - 1), np.arange(255 << 5, 256 << 5))
"""The buckets of NaN, of the infinite, and of what is too far off for a float32."""


class NumericProfiler:
    """Counts by bucket around ``center``, nulls, NaN (infinite values too) and moments."""

    def __init__(self, center: float) -> None:
        self.center = center
        self.rows = self.null = self.nan = 0
        self.counts = np.zeros(BUCKETS, dtype=np.int64)
        self.total = self.squares = 0.0
        self.minimum, self.maximum = np.inf, -np.inf

    def update(self, column: pa.Array) -> None:
        self.rows += len(column)
        self.null += column.null_count
        present = column.drop_null() if column.null_count else column
        if present.type != pa.float32():
            present = present.cast(pa.float64(), safe=False)
        values = np.asarray(present.to_numpy(zero_copy_only=False))
        with np.errstate(over="ignore", invalid="ignore"):  # sentinels as large as a float can be
            counts = np.bincount(bucket(values, self.center), minlength=BUCKETS)
            if counts[_BEYOND].any():
                finite = values[np.isfinite(values)]
                self.nan += len(values) - len(finite)
                values = finite
                counts = np.bincount(bucket(values, self.center), minlength=BUCKETS)
            if not len(values):
                return
            self.counts += counts
            exact = values.astype(np.float64, copy=False)
            self.total += float(exact.sum())
            self.squares += float(exact @ exact)
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))

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

    def update(self, column: pa.Array) -> None:
        self.rows += len(column)
        self.null += column.null_count
        for item in pc.value_counts(column.drop_null()).tolist():
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
    """Profiles the columns named in ``centers``: a centre for numbers, None for categories."""

    def __init__(self, centers: dict[str, float | None]) -> None:
        self.rows = 0
        self.columns: dict[str, NumericProfiler | CategoryProfiler] = {
            name: CategoryProfiler() if center is None else NumericProfiler(center)
            for name, center in centers.items()
        }

    def update(self, batch: pa.RecordBatch) -> None:
        """Count a batch; columns that it lacks are left out."""
        self.rows += batch.num_rows
        for name, profiler in self.columns.items():
            if batch.schema.get_field_index(name) >= 0:
                profiler.update(batch.column(name))

    def result(self) -> Profile:
        return Profile(self.rows, {n: p.result() for n, p in self.columns.items()})
