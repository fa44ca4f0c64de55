"""Computes quantiles and mean of a column from its bucket counts: the scores of a day.

A value read from a bucket is off by at most the bucket's width, 3% of its distance from
the column's centre, and for the scores of a night usually far less.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nocturne.records.buckets import lower_bounds, rank
from nocturne.records.profile import ColumnProfile, Profile

__all__ = ["column_summary", "intervals", "quantiles", "score_summary"]

Vector = NDArray[np.float64]

_FARTHEST = 1e300
"""A value that lies further out, such as the largest float as a marker, counts as this."""

_QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


def intervals(column: ColumnProfile) -> tuple[Vector, Vector, Vector]:
    """(low, high, rows) [n] of the buckets that hold rows, in value order.

    Bounds are cut to the column's minimum and maximum, so that the outermost buckets include only
    values that occurred, and to values between which floats still have differences.
    """
    ids = np.array([int(key) for key in column.counts], dtype=np.int64)
    rows = np.array(list(column.counts.values()), dtype=np.float64)
    ranks = rank(ids)
    order = np.argsort(ranks)
    low, high = (lower_bounds(at, column.center) for at in (ranks[order], ranks[order] + 1))
    least = float(max(-_FARTHEST, -np.inf if column.minimum is None else column.minimum))
    most = float(min(_FARTHEST, np.inf if column.maximum is None else column.maximum))
    return np.clip(low, least, most), np.clip(high, least, most), rows[order]


def quantiles(column: ColumnProfile, at: Sequence[float]) -> Vector:
    """Values below which the fractions ``at`` of the counted rows lie; there must be a row.

    Rows are assumed to be spread evenly over their bucket.
    """
    low, high, rows = intervals(column)
    upto = np.cumsum(rows)
    targets = np.asarray(at, dtype=np.float64) * upto[-1]
    index = np.minimum(np.searchsorted(upto, targets), len(rows) - 1)
    inside = (targets - (upto[index] - rows[index])) / rows[index]
    return np.asarray(low[index] + np.clip(inside, 0, 1) * (high[index] - low[index]))


def score_summary(profile: Profile, outputs: Sequence[str]) -> dict[str, dict[str, float]]:
    """p05, p25, p50, p75, p95 and mean of each numeric output: for the manifest.

    Outputs that are categories, or without a finite value, are left out.
    """
    summaries = {}
    for name in outputs:
        column = profile.columns.get(name)
        if column is not None and (summary := column_summary(column)):
            summaries[name] = summary
    return summaries


def column_summary(column: ColumnProfile) -> dict[str, float]:
    """p05, p25, p50, p75, p95 and mean; empty for a category, or without a finite value."""
    if column.kind != "numeric" or not column.counts:
        return {}
    values = quantiles(column, list(_QUANTILES.values()))
    summary = {key: float(v) for key, v in zip(_QUANTILES, values, strict=True)}
    summary["mean"] = np.nan if column.mean is None else column.mean
    return summary if all(np.isfinite(list(summary.values()))) else {}
