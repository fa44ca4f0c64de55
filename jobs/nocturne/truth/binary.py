"""Metrics of probabilities against labels of two classes, as scikit-learn defines them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Auc", "Bin", "auc", "average_precision", "binary_figures", "reliability"]

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]

BINS = 15
"""Bins of equal width between 0 and 1, as Guo et al. (2017) have them for the calibration error."""
_SURE = 1.959963984540054
"""95% of a normal distribution lie within so many standard deviations."""


@dataclass(frozen=True)
class Auc:
    """The area under the ROC curve with a 95% interval (DeLong, DeLong and Clarke-Pearson, 1988).

    ``low``, ``high``: None if a class has fewer than two rows.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bin:
    """Rows with scores in a bin of the reliability diagram: mean score, and share of positives."""

    rows: int
    score: float
    positive: float


def auc(scores: Scores, labels: Labels) -> Auc | None:
    """The share of pairs of a positive and a negative that are in order; a tie counts half.

    The variance is that of DeLong, by the midranks of Sun and Xu (2014), in O(n log n).

    Args:
        scores, labels: [n].

    Returns:
        None if there is one class only.
    """
    positive, negative = scores[labels], scores[~labels]
    m, n = len(positive), len(negative)
    if not m or not n:
        return None
    of_all = _midranks(np.concatenate([positive, negative]))
    value = float((of_all[:m].sum() - m * (m + 1) / 2) / (m * n))
    if m < 2 or n < 2:
        return Auc(value, None, None)
    above = (of_all[:m] - _midranks(positive)) / n
    below = 1.0 - (of_all[m:] - _midranks(negative)) / m
    error = _SURE * math.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n)
    return Auc(value, max(0.0, value - error), min(1.0, value + error))


def _midranks(values: Scores) -> Scores:
    """Ranks from 1; equal values have the mean of theirs."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[starts[1:], len(values)]
    ranks = np.empty(len(values), np.float64)
    ranks[order] = np.repeat((starts + 1 + ends) / 2, ends - starts)
    return ranks


def average_precision(scores: Scores, labels: Labels) -> float | None:
    """The precision at each threshold, weighted with the recall that it adds.

    Returns:
        None without a positive.
    """
    positives = int(labels.sum())
    if not positives:
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    found = np.cumsum(labels[order])[ends]
    precision = found / (ends + 1)
    return float((np.diff(np.r_[0, found]) * precision).sum() / positives)


def reliability(scores: Scores, labels: Labels) -> list[Bin]:
    """The bins that have rows, from the least scores; a score on an edge is in the upper bin."""
    places = np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
    rows = np.bincount(places, minlength=BINS)
    sums = np.bincount(places, weights=scores, minlength=BINS)
    positives = np.bincount(places, weights=labels, minlength=BINS)
    return [
        Bin(int(rows[i]), float(sums[i] / rows[i]), float(positives[i] / rows[i]))
        for i in np.flatnonzero(rows)
    ]


def binary_figures(scores: Scores, labels: Labels) -> dict[str, float]:
    """What scores are worth, by name; without what is not defined.

    ``auc`` (with ``auc_low`` and ``auc_high``), ``average_precision``; and if all scores are
    probabilities, ``brier``, ``log_loss`` (natural logarithm, scores clipped by the machine's
    epsilon) and ``calibration_error`` (the expected one, over ``BINS`` bins).

    Args:
        scores, labels: [n], finite.
    """
    found = {"rows": float(len(scores)), "positive": float(labels.mean()) if len(labels) else None}
    area = auc(scores, labels)
    if area is not None:
        found |= {"auc": area.value, "auc_low": area.low, "auc_high": area.high}
    found["average_precision"] = average_precision(scores, labels)
    if len(scores) and scores.min() >= 0 and scores.max() <= 1:
        y = labels.astype(np.float64)
        least = float(np.finfo(np.float64).eps)
        p = np.clip(scores, least, 1 - least)
        bins = reliability(scores, labels)
        apart = sum(b.rows * abs(b.score - b.positive) for b in bins)
        found |= {
            "brier": float(np.square(scores - y).mean()),
            "log_loss": float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean()),
            "calibration_error": apart / len(scores),
        }
    return {name: value for name, value in found.items() if value is not None}
