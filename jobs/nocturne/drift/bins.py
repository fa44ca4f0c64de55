"""The bins that drift compares, and a profile's counts in them.

Numbers get ten bins of about equal counts in training. The bins begin at bucket edges, so that
the counts are exact. There is one more bin beyond each end of the training range: otherwise a
column that was constant in training could never drift, and values out of range would hide in the
outermost bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nocturne.records.buckets import rank
from nocturne.records.profile import ColumnProfile

__all__ = ["count_vector", "frequent_values", "quantile_edges", "segment_values"]

_QUANTILE_BINS = 10
_CATEGORY_BINS = 50
_SEGMENTS = 20


def _by_rank(profile: ColumnProfile) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks in value order and their counts [n] of a numeric column."""
    ids = np.array([int(key) for key in profile.counts], dtype=np.int64)
    counts = np.array(list(profile.counts.values()), dtype=np.int64)
    ranks = rank(ids)
    order = np.argsort(ranks)
    return ranks[order], counts[order]


def quantile_edges(profile: ColumnProfile) -> tuple[int, ...]:
    """Ranks at which a new bin starts: the ends of the training range, and deciles between them.

    A decile is snapped to the nearest boundary between two buckets that hold rows, so no
    bin inside the range is empty, and a value that holds most rows gets a bin of its own.
    """
    ranks, counts = _by_rank(profile)
    if not len(ranks):
        return ()
    boundaries = np.concatenate([[0], np.cumsum(counts)])
    targets = boundaries[-1] * np.arange(1, _QUANTILE_BINS) / _QUANTILE_BINS
    above = np.searchsorted(boundaries, targets)
    nearer_below = targets - boundaries[above - 1] <= boundaries[above] - targets
    chosen = np.unique(np.where(nearer_below, above - 1, above))
    inner = chosen[(chosen > 0) & (chosen < len(ranks))]
    return (int(ranks[0]), *(int(r) for r in ranks[inner]), int(ranks[-1]) + 1)


def frequent_values(profile: ColumnProfile) -> tuple[str, ...]:
    """The categories with a bin of their own: the 50 most frequent, ties by name."""
    return most_frequent(profile.counts, _CATEGORY_BINS)


def segment_values(profile: ColumnProfile) -> tuple[str, ...]:
    """The categories whose rows can be profiled separately: the 20 most frequent."""
    return most_frequent(profile.counts, _SEGMENTS)


def most_frequent(counts: Mapping[str, int], number: int) -> tuple[str, ...]:
    """The ``number`` values that were counted most often, ties by name."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(value for value, _ in ordered[:number])


def count_vector(
    profile: ColumnProfile, edges: Sequence[int], values: Sequence[str]
) -> tuple[int, ...]:
    """Rows in each bin, then "other" (categories without a bin), then nulls and NaN."""
    missing = profile.null + profile.nan
    if profile.kind == "category":
        inside = [profile.counts.get(value, 0) for value in values]
        other = sum(profile.counts.values()) - sum(inside) + profile.other
        return (*inside, other, missing)
    ranks, counts = _by_rank(profile)
    bins = np.searchsorted(np.asarray(edges, dtype=np.int64), ranks, side="right")
    totals = np.zeros(len(edges) + 1, dtype=np.int64)
    np.add.at(totals, bins, counts)
    return (*(int(total) for total in totals), 0, missing)
