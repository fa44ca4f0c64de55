"""Figures of probabilities that are sums over rows: losses, decisions, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nocturne.truth.rows import Floats

__all__ = ["BINS", "Bin", "Probabilities", "of_sums", "places_of", "terms"]

BINS = 15
"""Bins of equal width between 0 and 1, as Guo et al. (2017) have them for the calibration error."""
_LEAST = float(np.finfo(np.float64).eps)
_BLOCK = 65_536
"""Rows at once: their terms fit the cache."""


@dataclass(frozen=True)
class Bin:
    """Rows with scores in a bin of the reliability diagram: mean score, and share of positives."""

    rows: int
    score: float
    positive: float


class Probabilities:
    """Adds up rows whose scores are probabilities, exactly for any number of rows."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._sums = np.zeros(7)
        self._bins = np.zeros((4, BINS))  # rows, weights, scores, positives

    def add(self, scores: Floats, labels: NDArray[np.bool_], weights: Floats) -> None:
        """Adds rows: [n] each, scores from 0 to 1."""
        for start in range(0, len(scores), _BLOCK):
            rows = slice(start, start + _BLOCK)
            s, y, w = scores[rows], labels[rows], weights[rows]
            self._sums += w @ terms(s, y, self._threshold)
            places = places_of(s)
            for i, column in enumerate((None, w, w * s, w * y)):
                self._bins[i] += np.bincount(places, column, BINS)

    def figures(self) -> dict[str, float]:
        """``of_sums``, and the expected calibration error; NaN if not defined."""
        found = {name: float(value) for name, value in of_sums(self._sums).items()}
        _, weights, scores, positives = self._bins
        total = float(weights.sum())
        error = float(np.abs(scores - positives).sum()) / total if total else float("nan")
        return found | {"calibration_error": error}

    def bins(self) -> list[Bin]:
        """The bins that have rows, from the least scores; a score on an edge is in the upper."""
        rows, weights, scores, positives = self._bins
        return [
            Bin(int(rows[i]), float(scores[i] / weights[i]), float(positives[i] / weights[i]))
            for i in np.flatnonzero(rows)
        ]


def places_of(scores: Floats) -> NDArray[np.int64]:
    """The bin of each score."""
    return np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)


def terms(scores: Floats, labels: NDArray[np.bool_], threshold: float) -> Floats:
    """What each row adds to ``of_sums``: [n, 7]."""
    said = scores >= threshold
    right = np.clip(np.where(labels, scores, 1 - scores), _LEAST, 1 - _LEAST)
    columns = (
        np.square(scores - labels),
        -np.log(right),
        said & labels,
        said & ~labels,
        ~said & labels,
        ~said & ~labels,
        np.ones(len(scores)),
    )
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def of_sums(sums: Floats) -> dict[str, Floats]:
    """The figures of weighted sums of ``terms``: [..., 7] to [...], NaN where not defined.

    ``log_loss`` by the natural logarithm, the scores clipped by the machine's epsilon.
    """
    brier, log_loss, tp, fp, fn, tn, total = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "brier": brier / total,
            "log_loss": log_loss / total,
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "accuracy": (tp + tn) / total,
        }
