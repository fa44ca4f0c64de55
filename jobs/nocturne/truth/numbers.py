"""Predictions of one or two models against numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nocturne.truth.arms import Arms
from nocturne.truth.bootstrap import SAMPLE, Statistic, deviations
from nocturne.truth.rows import Floats, finite, present, weights_of
from nocturne.truth.sample import Sample

__all__ = ["Numbers"]

_BLOCK = 65_536
"""Rows at once: their terms fit the cache."""
_large = np.errstate(over="ignore", invalid="ignore")
"""For squares that overflow: what they are part of is infinite or NaN, so it is left out."""


class Numbers(Arms):
    """Labels that are numbers, and predictions of ``arms`` models; exact for any number of rows."""

    def __init__(
        self, arms: int, threshold: float, quantile: float | None, seed: int, exact: int | None
    ) -> None:
        super().__init__(arms, threshold, quantile, seed, exact)
        self._sums = np.zeros((arms, 5))
        self._actual = _Spread()
        self._sample = Sample(SAMPLE, (seed,))

    @_large
    def add(self, predicted: Sequence[Any], actual: Any, weights: Any | None) -> None:
        """Adds rows: [n] for each arm, [n], [n]."""
        given = [finite("predictions", numbers) for numbers in predicted]
        self._rows += len(given[0])
        weighed = weights_of(weights, len(given[0]))
        columns, weight = present([*given, finite("labels", actual)], weighed)
        *arms, truth = columns
        for start in range(0, len(truth), _BLOCK):
            rows = slice(start, start + _BLOCK)
            self._actual.add(truth[rows], weight[rows])
            for i, numbers in enumerate(arms):
                self._sums[i] += weight[rows] @ _terms(numbers[rows], truth[rows], self._quantile)
        self._sample.add(*arms, truth, weight)

    @_large
    def values(self) -> list[dict[str, float]]:
        """The figures of each arm; NaN where not defined."""
        return [self._values(sums) for sums in self._sums]

    def _values(self, sums: Floats) -> dict[str, float]:
        found = {name: float(value) for name, value in self._of_sums(sums).items()}
        if self._actual.is_there and self._actual.spread > 0:
            found["r2"] = 1 - float(sums[1]) / self._actual.spread
        return {"rows": float(self._rows)} | found

    def _of_sums(self, sums: Floats) -> dict[str, Floats]:
        """The figures of weighted sums of ``_terms``: [..., 5] to [...]."""
        absolute, square, apart, pinball, total = np.moveaxis(sums, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {
                "mae": absolute / total,
                "rmse": np.sqrt(square / total),
                "bias": apart / total,
            }
            return found if self._quantile is None else found | {"pinball": pinball / total}

    @_large
    def deviations(self) -> list[dict[str, Floats]]:
        """What is bootstrapped of each arm: its figures' deviations."""
        if self._sample.rows < 2:
            return [{} for _ in range(self._arms)]
        *arms, truth, weights = self._sample.read()
        stands_for = np.full(len(truth), self._sample.stands_for)
        statistics = [self._statistic(_terms(numbers, truth, self._quantile)) for numbers in arms]
        return deviations(statistics, stands_for, weights, self._seed)

    def _statistic(self, terms: Floats) -> Statistic:
        return lambda drawn: self._of_sums(drawn @ terms)


class _Spread:
    """The weighted sum of squares around the mean, merged as Chan et al. (1979) do."""

    def __init__(self) -> None:
        self._weight = self._mean = self.spread = 0.0
        self._least, self._most = math.inf, -math.inf

    @property
    def is_there(self) -> bool:
        """Whether values differ: of equal ones, rounding leaves a sum that is not quite 0."""
        return self._least < self._most

    def add(self, values: Floats, weights: Floats) -> None:
        """Adds values: [n] each, n > 0."""
        self._least = min(self._least, float(values.min()))
        self._most = max(self._most, float(values.max()))
        weight = float(weights.sum())
        mean = float(weights @ values) / weight
        apart = mean - self._mean
        total = self._weight + weight
        own = float(weights @ np.square(values - mean))
        self.spread += own + apart * apart * self._weight * weight / total
        self._mean += apart * weight / total
        self._weight = total


def _terms(predicted: Floats, actual: Floats, quantile: float | None) -> Floats:
    """What each row adds: absolute, square, signed and pinball error, and 1; [n, 5]."""
    apart = predicted - actual
    level = 0.5 if quantile is None else quantile
    pinball = np.where(apart < 0, -level * apart, (1 - level) * apart)
    columns = (np.abs(apart), np.square(apart), apart, pinball, np.ones(len(apart)))
    return np.stack(columns, axis=1)
