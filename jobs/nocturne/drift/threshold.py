"""The threshold above which a PSI alarms; it is calibrated by the training partitions.

A single ordinary day is far from the mean of a quarter (a PSI of 4 for temperature within the
months a model was trained on), so fixed levels such as .1 or .25 alarm every night. Here a column
alarms if it is further from the baseline than training days were from the rest of the training
data, and further than sampling alone explains.

Weekdays differ: if training has enough Mondays, a Monday is compared with them, and training days
are compared with their own weekday too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from nocturne.drift.metrics import psi_rows
from nocturne.records.drift import ColumnBaseline

__all__ = [
    "SAME_WEEKDAY",
    "Reference",
    "calibrated",
    "day_of",
    "ordinary_psi",
    "reference",
    "sampling_noise",
    "threshold",
]

_LEVEL = 0.99
_ENOUGH = 100
"""With at least this many partitions the 99th percentile is used; with fewer the maximum."""

SAME_WEEKDAY = 4
"""A weekday needs this many training partitions for nights of that weekday to be compared with
them."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Reference:
    """The training data that a night is compared with.

    Attributes:
        counts: rows in each bin [bins].
        apart: the PSI of each training partition against the others of its group.
        partitions: the number of partitions in ``counts``.
        weekday: whether they are only the partitions of the night's weekday.
    """

    counts: tuple[int, ...]
    apart: tuple[float, ...]
    partitions: int
    weekday: bool = False


def day_of(key: str) -> date | None:
    """The day of a partition key such as ``2013-04-01`` or ``2013-04-01T05``."""
    try:
        return date.fromisoformat(key[:10])
    except ValueError:
        return None


def reference(column: ColumnBaseline, day: date | None = None) -> Reference:
    """The training partitions that a night of ``day`` is compared with.

    These are the partitions of its weekday if four or more have rows, else all partitions.
    """
    groups: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for key, counts in column.partitions.items():
        trained = day_of(key)
        if trained is not None and any(counts):
            groups[trained.weekday()].append(counts)
    weeks = [
        np.array(days, dtype=np.int64) for days in groups.values() if len(days) >= SAME_WEEKDAY
    ]
    mine = groups[day.weekday()] if day is not None else []
    if len(mine) >= SAME_WEEKDAY:
        total = np.array(mine, dtype=np.int64).sum(axis=0)
        apart = [value for week in weeks for value in _leave_one_out(week, week.sum(axis=0))]
        return Reference(tuple(map(int, total)), tuple(apart), len(mine), weekday=True)
    parts = np.array(list(column.partitions.values()), dtype=np.int64)
    apart = _leave_one_out(parts, np.array(column.counts, dtype=np.int64)) if len(parts) else []
    return Reference(column.counts, tuple(apart), len(parts))


def _leave_one_out(parts: Counts, total: Counts) -> list[float]:
    """The PSI of each part [n, bins] against the total [bins] without that part.

    Compared with a total that contains it, a part would look too close. The result is empty if
    there is nothing to leave out.
    """
    rows = parts.sum(axis=1)
    parts = parts[(rows > 0) & (rows < total.sum())]
    return [float(value) for value in psi_rows(total - parts, parts)] if len(parts) else []


def calibrated(values: Sequence[float]) -> float:
    """The upper limit of ordinary nights: the 99th percentile of ``values``, or the maximum."""
    if len(values) >= _ENOUGH:
        return float(np.quantile(values, _LEVEL))
    return max(values, default=0.0)


def ordinary_psi(column: ColumnBaseline) -> float:
    """The PSI that training partitions reach against the others: see ``calibrated``."""
    return calibrated(reference(column).apart)


def sampling_noise(counts: Sequence[int], current: Sequence[int]) -> float:
    """The PSI that two samples of one distribution stay below 99 times in 100.

    It is distributed as (1/n + 1/m) chi-square with B - 1 degrees of freedom, for n and m
    rows in B bins (those that hold a row on either side).
    """
    # The import takes a fifth of a second; planning and scoring don't need it.
    from scipy.special import chdtri

    pair = np.array([counts, current], dtype=np.int64)
    bins = int((pair.sum(axis=0) > 0).sum())
    m, n = pair.sum(axis=1)
    return float(chdtri(max(bins - 1, 1), 1 - _LEVEL) * (1 / n + 1 / m))


def threshold(
    against: Reference, current: Sequence[int], floor: float, history: Sequence[float] = ()
) -> float:
    """The PSI above which ``current`` alarms: the largest of the three.

    Args:
        history: the PSI of earlier nights that count as ordinary.
    """
    ordinary = calibrated([*against.apart, *history])
    return max(ordinary, sampling_noise(against.counts, current), floor)
