"""The bins of a column that drift compared, with labels: what a chart of its PSI must show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise

import numpy as np

from nocturne.drift.threshold import reference
from nocturne.records.buckets import lower_bounds
from nocturne.records.drift import ColumnBaseline, ComparedBins

__all__ = ["compared_bins"]


def compared_bins(
    trained: ColumnBaseline,
    counts: Sequence[int],
    day: date | None = None,
    source: str = "the training data",
) -> ComparedBins:
    """The shares of rows in each bin, of a night and of what it was compared with.

    Args:
        counts: the night's (``FeatureDrift.counts``).
        day: the night's day; ``judge`` got the same.
        source: what the baseline was made of.
    """
    against = reference(trained, day)
    by_weekday = day is not None and against.weekday
    labels = [*_labels(trained), "other values", "no value"]
    now, before = max(sum(counts), 1), max(sum(against.counts), 1)
    bins = [
        (label, current / now, earlier / before)
        for label, current, earlier in zip(labels, counts, against.counts, strict=True)
        # The two at the end are there for all columns, though few have such rows.
        if current or earlier or label not in labels[-2:]
    ]
    return ComparedBins(
        labels=tuple(label for label, _, _ in bins),
        current=tuple(share for _, share, _ in bins),
        baseline=tuple(share for _, _, share in bins),
        reference=f"the {against.partitions} {day:%A}s of {source}" if by_weekday else source,
        by_weekday=by_weekday,
    )


def _labels(trained: ColumnBaseline) -> list[str]:
    if trained.kind == "category":
        return list(trained.values)
    if not trained.edges:
        return ["any value"]
    edges = lower_bounds(np.asarray(trained.edges, dtype=np.int64), float(trained.center))
    texts = [f"{edge:.4g}" for edge in edges]
    inner = [f"{low} to {high}" for low, high in pairwise(texts)]
    return [f"below {texts[0]}", *inner, f"{texts[-1]} and more"]
