"""When a PSI is an alarm: calibrated by the training partitions, never below chance.

A single ordinary day is far from a quarter's mean (a PSI of 4 for temperature within the
months a model was trained on), so fixed levels such as .1 or .25 alarm every night. Here a
column alarms when it is further from the baseline than training days were from the rest of
the training data, and further than sampling alone explains.
"""

from __future__ import annotations

import numpy as np

from nocturne.drift.metrics import psi
from nocturne.records import ColumnBaseline

__all__ = ["leave_one_out", "sampling_noise", "threshold"]

_LEVEL = 0.99
_ENOUGH = 100
"""Partitions from which on a 99th percentile is one; with fewer it is the maximum."""


def leave_one_out(column: ColumnBaseline) -> float:
    """How far training partitions lie from the rest: 99th percentile, or highest PSI.

    Each is compared with the sum of the *others*; compared with a whole that contains it,
    it would look too close. Zero where there is nothing to leave out.
    """
    whole = np.array(column.counts, dtype=np.int64)
    parts = [np.array(counts, dtype=np.int64) for counts in column.partitions.values()]
    values = [psi(whole - part, part) for part in parts if 0 < part.sum() < whole.sum()]
    if len(values) >= _ENOUGH:
        return float(np.quantile(values, _LEVEL))
    return max(values, default=0.0)


def sampling_noise(column: ColumnBaseline, current: tuple[int, ...]) -> float:
    """The PSI that two samples of one distribution stay below 99 times in 100.

    It is distributed as (1/n + 1/m) chi-square with B - 1 degrees of freedom, for n and m
    rows in B bins (those that hold a row on either side).
    """
    from scipy.special import chdtri  # a fifth of a second, not needed to plan or to score

    pair = np.array([column.counts, current], dtype=np.int64)
    bins = int((pair.sum(axis=0) > 0).sum())
    m, n = pair.sum(axis=1)
    return float(chdtri(max(bins - 1, 1), 1 - _LEVEL) * (1 / n + 1 / m))


def threshold(column: ColumnBaseline, current: tuple[int, ...], floor: float) -> float:
    """The PSI above which ``current`` alarms: the largest of the three."""
    return max(leave_one_out(column), sampling_noise(column, current), floor)
