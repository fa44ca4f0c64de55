"""What the order of scores is worth: figures of the curves, from counts of distinct scores.

Everywhere ``positive`` and ``negative`` are weights of the distinct scores, from the least:
[..., k], the axes before the last being independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nocturne.truth.counts import Scored, grouped
from nocturne.truth.rows import Floats

__all__ = [
    "SURE",
    "auc",
    "auc_rounding",
    "average_precision",
    "average_precision_rounding",
    "delong",
    "delong_paired",
    "placements",
]

SURE = 1.959963984540054
"""95% of a normal distribution lie within so many standard deviations."""


def auc(positive: Floats, negative: Floats) -> Floats:
    """The share of pairs of a positive and a negative that are in order; a tie counts half.

    Returns:
        [...]; NaN where there is one class only.
    """
    below = np.cumsum(negative, -1) - negative / 2
    pairs = positive.sum(-1) * negative.sum(-1)
    return _ratio((positive * below).sum(-1), pairs)


def average_precision(positive: Floats, negative: Floats) -> Floats:
    """The precision at each distinct score, weighted with the recall that it adds.

    Returns:
        [...]; NaN without a positive.
    """
    found, all_ = _from_above(positive), _from_above(positive + negative)
    precision = np.divide(found, all_, out=np.zeros_like(found), where=all_ > 0)
    return _ratio((positive * precision).sum(-1), positive.sum(-1))


def placements(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """The share of negatives below each score, and of positives above it; ties count half.

    Of DeLong, DeLong and Clarke-Pearson (1988): the AUC is the mean of the one over positives, and
    of the other over negatives. [k], of both classes.
    """
    below = (np.cumsum(negative) - negative / 2) / negative.sum()
    above = (_from_above(positive) - positive / 2) / positive.sum()
    return below, above


def delong(positive: Floats, negative: Floats) -> float | None:
    """The standard error of the AUC of rows that weigh 1: DeLong's, in O(k).

    Returns:
        None if a class has fewer than two rows.
    """
    parts = []
    for places, rows in zip(placements(positive, negative), (positive, negative), strict=True):
        number = float(rows.sum())
        if number < 2:
            return None
        mean = float(rows @ places) / number
        parts.append(float(rows @ np.square(places - mean)) / (number - 1) / number)
    return math.sqrt(sum(parts))


def delong_paired(ones: Sequence[Floats], others: Sequence[Floats], rows: Sequence[int]) -> float:
    """The standard error of the difference of two AUCs of the same rows, which weigh 1.

    The variance of the differences of their placements is DeLong's of correlated curves.

    Args:
        ones, others: for each of two models, scores of positives [p] and of negatives [q], p, q
            > 1, each in the same order of rows.
        rows: for how many positives and negatives they stand.
    """
    placed = []
    for one, other in zip(ones, others, strict=True):
        is_one = np.r_[np.ones(len(one)), np.zeros(len(other))]
        scores, positive, negative = grouped(Scored(np.r_[one, other], is_one, 1 - is_one))
        below, above = placements(positive, negative)
        places = below[np.searchsorted(scores, one)], above[np.searchsorted(scores, other)]
        placed.append(places)
    apart = [b - a for a, b in zip(*placed, strict=True)]
    return math.sqrt(sum(d.var(ddof=1) / n for d, n in zip(apart, rows, strict=True)))


def auc_rounding(positive: Floats, negative: Floats) -> float:
    """The most that the AUC can be off if scores that count as equal were not: [k]."""
    return float(positive @ negative / 2 / (positive.sum() * negative.sum()))


def average_precision_rounding(positive: Floats, negative: Floats) -> float:
    """The most that average precision can be off if scores that count as equal were not: [k].

    A positive's precision is highest if all positives that count as equal to it are tied before
    all such negatives, and lowest if the negatives precede. For the sum over the latter stands
    the integral of (found + x) / (found + x + negatives), which is not above it.
    """
    found = _from_above(positive) - positive
    wrong = _from_above(negative) - negative
    tied = positive * (found + positive)
    most = np.divide(tied, found + positive + wrong, out=np.zeros_like(tied), where=tied > 0)
    worst = wrong + negative
    before = found + worst
    grown = np.divide(positive, before, out=np.zeros_like(tied), where=before > 0)
    least = positive - worst * np.log1p(grown)
    value = float(average_precision(positive, negative))
    total = float(positive.sum())
    return max(float(most.sum()) / total - value, value - float(least.sum()) / total)


def _from_above(values: Floats) -> Floats:
    """Sums from the greatest score down to each."""
    return np.cumsum(values[..., ::-1], -1)[..., ::-1]


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
