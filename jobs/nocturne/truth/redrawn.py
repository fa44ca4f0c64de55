"""The figures of classes when rows are drawn again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nocturne.truth.bootstrap import Statistic
from nocturne.truth.counts import starts_of
from nocturne.truth.curves import auc, average_precision
from nocturne.truth.probabilities import of_sums, places_of, terms
from nocturne.truth.rows import Floats

__all__ = ["redrawn"]


def redrawn(scores: Floats, labels: NDArray[np.bool_], threshold: float | None) -> Statistic:
    """What figures replicates of the rows have, which are sorted once.

    Args:
        scores, labels: [n], n > 0.
        threshold: None if the scores are no probabilities, so that only their order counts.
    """
    order = np.argsort(scores, kind="stable")
    ordered, label = scores[order], labels[order]
    starts = starts_of(ordered)
    ties = len(starts) < len(ordered)

    def of_order(drawn: Floats) -> dict[str, Floats]:
        positive = drawn * label
        negative = drawn - positive
        if ties:
            positive, negative = (np.add.reduceat(w, starts, 1) for w in (positive, negative))
        return {
            "auc": auc(positive, negative),
            "average_precision": average_precision(positive, negative),
        }

    if threshold is None:
        return lambda drawn: of_order(drawn[:, order])
    added = terms(ordered, label, threshold)
    apart = ordered - label
    edges = starts_of(places_of(ordered).astype(np.float64))

    def figures(drawn: Floats) -> dict[str, Floats]:
        drawn = drawn[:, order]
        sums = drawn @ added
        in_bins = np.add.reduceat(drawn * apart, edges, 1)
        with np.errstate(invalid="ignore"):
            error = np.abs(in_bins).sum(1) / sums[:, -1]
        return of_order(drawn) | of_sums(sums) | {"calibration_error": error}

    return figures
