"""Two profiles of a numeric column in one set of fine buckets, and where these lie."""

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
"""A distance from the centre that lies further out counts as this."""


def in_deviations(
    column: ColumnProfile, trained: ColumnBaseline
) -> tuple[Counts, Counts, Counts] | None:
    """Rows of the training data and of the night by bucket, and the buckets' positions [n], in
    standard deviations of the training data; None where it has no profile, or no deviation.

    Both are taken around the centre, from the same places of the buckets: of values that are large
    beside their deviation, nothing cancels, and what a bucket's width adds to one it adds to both.
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
    """Where the rows of each bucket [n] are taken to lie, less the centre.

    Not beyond the least and the greatest value of all: the outermost buckets have no end.
    """
    least = min((s.minimum - s.center for s in sides if s.minimum is not None), default=-_FARTHEST)
    most = max((s.maximum - s.center for s in sides if s.maximum is not None), default=_FARTHEST)
    ends = float(max(least, -_FARTHEST)), float(min(most, _FARTHEST))
    low, high = (np.clip(lower_bounds(rank(ids) + end, 0.0), *ends) for end in (0, 1))
    return np.asarray(low / 2 + high / 2)
