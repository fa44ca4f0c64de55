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

from nocturne.columns.dictionary import begins_with
from nocturne.profile.columns import Column, Rows
from nocturne.profile.distinct import estimate, union
from nocturne.profile.tally import tally
from nocturne.profile.words import WordCounts, frequent
from nocturne.records.buckets import BUCKETS
from nocturne.records.profile import ColumnProfile, Profile, mean_of_both, segment_name

__all__ = ["MAX_VALUES", "TableProfiler"]

MAX_VALUES = 10_000
"""Distinct values of a category that are counted by name; the rest count as "other"."""

_HELD = 10 * MAX_VALUES
"""The most distinct values in memory, apart from those of a batch."""

_TOGETHER = 4 << 20
"""Bytes of a column that are held to be counted together."""

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
    their number.

    Batches that share a dictionary are counted together, and so are a few batches of plain values.
    """

    def __init__(self) -> None:
        self.rows = self.null = self.other = 0
        self.sketch = ""
        self._counts = WordCounts()
        self._dictionary: pa.Array | None = None
        self._of_dictionary = np.zeros(0, np.int64)
        self._plain: list[pa.Array] = []

    def update(self, column: Column) -> None:
        self.rows += len(column.array)
        self.null += column.array.null_count
        present = column.present
        if not pa.types.is_dictionary(present.type):
            self._plain.append(present)
            if sum(part.nbytes for part in self._plain) > _TOGETHER:
                self._count()
            return
        words = present.dictionary
        if not begins_with(words, self._dictionary):
            self._count()
            self._of_dictionary = np.zeros(0, np.int64)
        self._dictionary = words
        # Four times as fast as to hash the indices.
        counts = np.bincount(present.indices, minlength=len(words))
        counts[: len(self._of_dictionary)] += self._of_dictionary
        self._of_dictionary = counts

    @property
    def held(self) -> int:
        """Words in memory, and values that wait to be counted."""
        return self._counts.added + sum(map(len, self._plain))

    def _count(self) -> None:
        """Count what waits to be counted."""
        if self._dictionary is not None:
            used = np.flatnonzero(self._of_dictionary)
            self._counts.add(self._dictionary.take(pa.array(used)), self._of_dictionary[used])
        if self._plain:
            values, counts = pc.value_counts(pa.chunked_array(self._plain)).flatten()
            self._counts.add(values, counts.to_numpy())
        self._dictionary, self._plain = None, []
        if self._counts.added > _HELD and len(self._counts.each()[0]) > _HELD:
            self._drop()

    def _drop(self) -> None:
        """Keep the most frequent values. A dropped value that occurs again is counted from then
        on."""
        words, counts = self._counts.each()
        kept = frequent(words, counts, MAX_VALUES)
        self.other += int(counts[~kept].sum())
        dropped = words.filter(pa.array(~kept))
        self.sketch = union([self.sketch], dropped.to_pylist())
        self._counts.keep(kept)

    def result(self) -> ColumnProfile:
        self._count()
        if len(self._counts.each()[0]) > MAX_VALUES:
            self._drop()
        words, counts = self._counts.each()
        named = dict(sorted(zip(words.to_pylist(), counts.tolist(), strict=True)))
        sketch = union([self.sketch], named) if self.other else ""
        return ColumnProfile(
            kind="category",
            rows=self.rows,
            null=self.null,
            counts=named,
            other=self.other,
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
        rows = Rows.of(batch).legible(self.segments)
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
