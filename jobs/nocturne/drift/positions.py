"""Counts of two profiles of a numeric column in the same fine buckets, and their positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nocturne.drift.metrics import Counts
from nocturne.records.buckets import lower_bounds, rank
from nocturne.records.drift import ColumnBaseline
from nocturne.records.profile import ColumnProfile

__all__ = ["in_deviations"]

_FARTHEST = 1e300
"""A larger distance from the centre counts as this."""


def in_deviations(
    column: ColumnProfile, trained: ColumnBaseline
) -> tuple[Counts, Counts, Counts] | None:
    """Rows of the training data and of the night by bucket, and the positions [n] of the buckets
    in standard deviations of the training data. None if it has no profile, or no deviation.

    Both are relative to the centre, with the same positions of buckets. So no digits cancel if
    values are large compared with their deviation, and the width of a bucket affects both equally.
    """
    if trained.profile is None:
        return None
    trained_counts, counts = trained.profile.counts, column.counts
    if len(trained_counts) < 2 or not counts:
        return None
    ids = np.array(sorted({*map(int, trained_counts), *map(int, counts)}), dtype=np.int64)
    ids = ids[np.argsort(rank(ids))]
    then, now = (
        np.array([side.get(str(i), 0) for i in ids.tolist()]) for side in (trained_counts, counts)
    )
    places = _places(ids, [trained.profile, column])
    places = places / (np.abs(places).max() or 1.0)  # squares would overflow
    deviation = math.sqrt(np.cov(places, fweights=then, ddof=0))
    return (then, now, places / deviation) if deviation > 0 else None


def _places(ids: NDArray[np.int64], sides: Sequence[ColumnProfile]) -> NDArray[np.float64]:
    """The assumed position of the rows of each bucket [n], less the centre.

    It is limited to the least and the greatest value, since the outermost buckets have no end.
    """
    least = min((s.minimum - s.center for s in sides if s.minimum is not None), default=-_FARTHEST)
    most = max((s.maximum - s.center for s in sides if s.maximum is not None), default=_FARTHEST)
    ends = float(max(least, -_FARTHEST)), float(min(most, _FARTHEST))
    low, high = (np.clip(lower_bounds(rank(ids) + end, 0.0), *ends) for end in (0, 1))
    return np.asarray(low / 2 + high / 2)
