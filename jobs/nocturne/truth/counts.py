"""Distinct scores, each with the weight of its positives and negatives, in bounded memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nocturne.truth.rows import Floats

__all__ = ["EXACT", "Counts", "Scored", "grouped", "starts_of"]

EXACT = 5_000_000
"""Distinct scores that are kept as they are: 24 bytes each, and as much again while sorted."""
_MANTISSA = 52
"""Bits of a float64's mantissa."""


class Scored(NamedTuple):
    """Distinct scores from the least, and the weights of the positives and negatives of each."""

    scores: Floats
    positive: Floats
    negative: Floats


class Counts:
    """Counts scores exactly until more than ``EXACT`` are distinct.

    Then scores lose low bits of their mantissa, as many as leave an eighth of ``EXACT``: each then
    stands for all within a small share of itself, near 0 as elsewhere. What order the rows within
    one had is lost, and only that; ``curves`` bounds what it can have changed.

    Args:
        exact: in place of ``EXACT``.
    """

    def __init__(self, exact: int | None = None) -> None:
        self._exact = EXACT if exact is None else exact
        self._bits = _MANTISSA
        self._counted = Scored(np.empty(0), np.empty(0), np.empty(0))
        self._waiting: list[Scored] = []
        self._rows_waiting = 0

    @property
    def rounded(self) -> bool:
        """Whether scores have lost bits."""
        return self._bits < _MANTISSA

    def add(self, scores: Floats, labels: NDArray[np.bool_], weights: Floats) -> None:
        """Counts rows: [n] each."""
        part = max(1, self._exact // 4)
        for start in range(0, len(scores), part):
            rows = slice(start, start + part)
            positive = np.where(labels[rows], weights[rows], 0.0)
            kept = Scored(_cut(scores[rows], self._bits), positive, weights[rows] - positive)
            self._waiting.append(kept)
            self._rows_waiting += len(positive)
            if self._rows_waiting >= part:
                self._merge()

    def read(self) -> Scored:
        """All that was counted."""
        self._merge()
        return self._counted

    def _merge(self) -> None:
        if not self._waiting:
            return
        new = grouped(*self._waiting)
        self._waiting, self._rows_waiting = [], 0
        self._counted = grouped(self._counted, new)
        if len(self._counted.scores) > self._exact:
            self._round()

    def _round(self) -> None:
        scores, positive, negative = self._counted
        while self._bits and _distinct(scores) > self._exact // 8:
            self._bits -= 1
            scores = _cut(scores, self._bits)
        self._counted = grouped(Scored(scores, positive, negative))


def grouped(*parts: Scored) -> Scored:
    """All parts as one, equal scores as one; each may be in any order."""
    scores = np.concatenate([part.scores for part in parts])
    if not len(scores):
        return parts[0]
    order = np.argsort(scores, kind="stable")  # of two sorted runs, a merge
    scores = scores[order]
    starts = starts_of(scores)
    scores = scores[starts]
    positive, negative = (
        np.add.reduceat(np.concatenate(column)[order], starts)
        for column in ([part.positive for part in parts], [part.negative for part in parts])
    )
    return Scored(scores, positive, negative)


def starts_of(ordered: Floats) -> NDArray[np.intp]:
    """Where runs of equal values start; [n], n > 0."""
    return np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def _distinct(ordered: Floats) -> int:
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def _cut(values: Floats, bits: int) -> Floats:
    """A copy with so many bits of mantissa, cut toward 0: what was in order stays in order."""
    mask = np.int64(-1) << np.int64(_MANTISSA - bits)
    return (values.view(np.int64) & mask).view(np.float64)
