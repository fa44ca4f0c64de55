"""What figures are to be expected before labels come, if the scores are calibrated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nocturne.errors import InputError
from nocturne.truth.counts import Scored, grouped
from nocturne.truth.curves import auc
from nocturne.truth.probabilities import of_sums
from nocturne.truth.rows import finite, weights_of

__all__ = ["estimate"]


def estimate(scores: Any, counts: Any | None = None, *, threshold: float = 0.5) -> dict[str, float]:
    """CBPE (confidence-based performance estimation, as NannyML has it).

    Of rows with probability p, the share p is positive: so each counts p as a positive and 1 - p
    as a negative. It is wrong by as much as the scores are not calibrated.

    Args:
        scores: [n], calibrated probabilities.
        counts: [n], how many rows have each, of a histogram; one each by default.
        threshold: from which score on a row counts as said to be positive.

    Returns:
        ``auc``, ``brier``, ``precision``, ``recall``, ``f1``, ``accuracy``, ``positive`` (share);
        without those that are not defined.

    Raises:
        InputError: a score is no probability, or a count is negative.
    """
    p = finite("scores", scores)
    if len(p) and (p.min() < 0 or p.max() > 1):
        raise InputError(
            f"scores: got {p.min()} to {p.max()}, expected probabilities (0 to 1): only these say "
            "what to expect"
        )
    given = weights_of(counts, len(p), "counts")
    rows = np.ones(len(p)) if given is None else given
    positive = rows * p
    negative = rows - positive
    said = p >= threshold
    tp, fp = float(positive[said].sum()), float(negative[said].sum())
    fn, tn = float(positive[~said].sum()), float(negative[~said].sum())
    brier = float((positive * (1 - p)).sum())
    total = float(rows.sum())
    sums = np.array([brier, math.nan, tp, fp, fn, tn, total])
    found = {name: float(value) for name, value in of_sums(sums).items()}
    if total:
        found["positive"] = float(positive.sum()) / total
    _, ones, others = grouped(Scored(p, positive, negative))
    found["auc"] = float(auc(ones, others))
    return {name: value for name, value in found.items() if math.isfinite(value)}
