"""Classes that one or two models predicted against those that were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.errors import InputError
from nocturne.truth.arms import Arms
from nocturne.truth.bootstrap import Statistic, deviations
from nocturne.truth.rows import Floats, weights_of

__all__ = ["Multiclass"]

_MOST_CELLS = 100_000
"""Combinations of classes: more than of any classes that a person could look at."""


class Multiclass(Arms):
    """Counts how often which class was predicted for which, by ``arms`` models."""

    def __init__(
        self, arms: int, threshold: float, quantile: float | None, seed: int, exact: int | None
    ) -> None:
        super().__init__(arms, threshold, quantile, seed, exact)
        self._cells: dict[tuple[str, ...], tuple[float, float]] = {}

    def add(self, predicted: Sequence[Any], actual: Any, weights: Any | None) -> None:
        """Adds rows: [n] for each arm, [n], [n].

        Raises:
            InputError: a class is null, or there are too many.
        """
        rows = len(actual)
        found = weights_of(weights, rows)
        weight = np.ones(rows) if found is None else found
        columns = [pc.cast(column, pa.string()) for column in (*predicted, actual)]
        if any(column.null_count for column in columns):
            raise InputError(
                "classes: got a null, expected a class in each row: leave such rows out, and count "
                "them"
            )
        if any(len(column) != rows for column in columns):
            lengths = ", ".join(str(len(column)) for column in columns)
            raise InputError(f"predictions and labels have {lengths} rows, expected as many each")
        self._rows += rows
        names = [str(i) for i in range(len(columns))]
        table = pa.table([*columns, weight, np.square(weight)], [*names, "weight", "square"])
        table = table.filter(pc.greater(table["weight"], 0))
        sums = [("weight", "sum"), ("square", "sum")]
        cells = table.group_by(names).aggregate(sums).select([*names, "weight_sum", "square_sum"])
        for *key, weight_sum, square in zip(*(c.to_pylist() for c in cells.columns), strict=True):
            before = self._cells.get(tuple(key), (0.0, 0.0))
            self._cells[tuple(key)] = (before[0] + weight_sum, before[1] + square)
        if len(self._cells) > _MOST_CELLS:
            raise InputError(
                f"the classes were combined in more than {_MOST_CELLS:,} ways, so these are no "
                "classes: name a column with fewer values"
            )

    def _read(self) -> tuple[list[Statistic], Floats, Floats]:
        """A statistic for each arm, and the weight of each cell, and the sum of its squares."""
        keys = sorted(self._cells)
        classes = sorted({name for key in keys for name in key})
        number = {name: i for i, name in enumerate(classes)}
        places = np.array([[number[name] for name in key] for key in keys], np.int64)
        places = places.reshape(len(keys), self._arms + 1)
        *arms, actual = places.T
        sums = np.array([self._cells[key] for key in keys]).reshape(len(keys), 2)
        return [_statistic(arm, actual, len(classes)) for arm in arms], sums[:, 0], sums[:, 1]

    def values(self) -> list[dict[str, float]]:
        """The figures of each arm; NaN where not defined."""
        statistics, weights, _ = self._read()
        rows = {"rows": float(self._rows)}
        if not len(weights):
            return [rows for _ in statistics]
        found = (statistic(weights[None]) for statistic in statistics)
        return [rows | {name: float(value[0]) for name, value in f.items()} for f in found]

    def deviations(self) -> list[dict[str, Floats]]:
        """What is bootstrapped of each arm: its figures' deviations.

        A cell's draws add up: Poisson(n) of n rows that weigh 1. Rows of several weights are drawn
        as so many rows of one weight that the sum's mean and variance are theirs.
        """
        statistics, weights, squares = self._read()
        if self._rows < 2 or not len(weights):
            return [{} for _ in statistics]
        return deviations(statistics, weights * weights / squares, squares / weights, self._seed)


def _statistic(predicted: NDArray[np.int64], actual: NDArray[np.int64], classes: int) -> Statistic:
    """``accuracy``, and the mean F1 of the classes that occur, as scikit-learn has it."""
    right = predicted == actual

    def figures(drawn: Floats) -> dict[str, Floats]:
        by_class = np.arange(len(drawn))[:, None] * classes
        size = len(drawn) * classes

        def sums(places: NDArray[np.int64], weights: Floats) -> Floats:
            found = np.bincount((places + by_class).ravel(), weights.ravel(), size)
            return np.asarray(found, np.float64).reshape(len(drawn), classes)

        hits = sums(actual[right], drawn[:, right])
        both = sums(actual, drawn) + sums(predicted, drawn)
        with np.errstate(divide="ignore", invalid="ignore"):
            accuracy = hits.sum(1) / drawn.sum(1)
            f1 = np.where(both > 0, 2 * hits / both, 0.0)
            return {"accuracy": accuracy, "macro_f1": f1.sum(1) / (both > 0).sum(1)}

    return figures
