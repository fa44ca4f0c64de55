"""Scores of one or two models against labels of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nocturne.truth.arms import Arms
from nocturne.truth.bootstrap import SAMPLE, deviations
from nocturne.truth.counts import Counts
from nocturne.truth.curves import (
    auc,
    auc_rounding,
    average_precision,
    average_precision_rounding,
    delong,
    delong_paired,
)
from nocturne.truth.probabilities import Bin, Probabilities
from nocturne.truth.redrawn import redrawn
from nocturne.truth.rows import Floats, booleans, finite, present, weights_of
from nocturne.truth.sample import Sample

__all__ = ["Classes"]


class Classes(Arms):
    """Labels of two classes, and scores of ``arms`` models.

    For what is bootstrapped, at most half of ``SAMPLE`` rows of each class are kept, so that of a
    rare class all are there.
    """

    def __init__(
        self, arms: int, threshold: float, quantile: float | None, seed: int, exact: int | None
    ) -> None:
        super().__init__(arms, threshold, quantile, seed, exact)
        self._counts = [Counts(exact) for _ in range(arms)]
        self._probabilities = [Probabilities(threshold) for _ in range(arms)]
        self._are_probabilities = [True] * arms
        self._samples = {label: Sample(SAMPLE // 2, (seed, label)) for label in (True, False)}
        self._weighted = False

    def add(self, predicted: Sequence[Any], actual: Any, weights: Any | None) -> None:
        """Adds rows: [n] for each arm, [n], [n]."""
        given = [finite("scores", scores) for scores in predicted]
        weighed = weights_of(weights, len(given[0]))
        self._rows += len(given[0])
        columns, weight = present([*given, booleans(actual)], weighed)
        *arms, labels = columns
        self._weighted |= not bool((weight == 1).all())
        for i, scores in enumerate(arms):
            self._counts[i].add(scores, labels, weight)
            if len(scores) and (scores.min() < 0 or scores.max() > 1):
                self._are_probabilities[i] = False
            if self._are_probabilities[i]:
                self._probabilities[i].add(scores, labels, weight)
        for label, sample in self._samples.items():
            mine = labels == label
            sample.add(*(scores[mine] for scores in arms), weight[mine])

    def values(self) -> list[dict[str, float]]:
        """The figures of each arm; NaN where not defined."""
        return [self._values(arm) for arm in range(self._arms)]

    def _values(self, arm: int) -> dict[str, float]:
        _, positive, negative = self._counts[arm].read()
        one, other = float(positive.sum()), float(negative.sum())
        found = {"rows": float(self._rows)}
        if one + other:
            found["positive"] = one / (one + other)
        found["auc"] = float(auc(positive, negative))
        found["average_precision"] = float(average_precision(positive, negative))
        if self._counts[arm].rounded and one:
            found["average_precision_error"] = average_precision_rounding(positive, negative)
            if other:
                found["auc_error"] = auc_rounding(positive, negative)
        if self._are_probabilities[arm]:
            found |= self._probabilities[arm].figures()
        return found

    def bins(self) -> list[Bin]:
        """The reliability diagram of the first arm, if its scores are probabilities."""
        return self._probabilities[0].bins() if self._are_probabilities[0] else []

    def auc_error(self) -> float | None:
        """DeLong's standard error of the AUC, or of two arms' difference; None with weights."""
        if self._weighted:
            return None
        if self._arms == 1:
            _, positive, negative = self._counts[0].read()
            return delong(positive, negative) if positive.any() and negative.any() else None
        return self._paired_error()

    def _paired_error(self) -> float | None:
        """From the sample, for as many rows as there were."""
        ones, others = (self._samples[label].read() for label in (True, False))
        if not ones or min(len(ones[0]), len(others[0])) < 2:
            return None
        return delong_paired(ones[:2], others[:2], [self._samples[y].rows for y in (True, False)])

    def deviations(self) -> list[dict[str, Floats]]:
        """What is bootstrapped of each arm: its figures' deviations."""
        samples = list(self._samples.values())
        if sum(sample.rows for sample in samples) < 2:
            return [{} for _ in range(self._arms)]
        kept = [sample.read() for sample in samples]
        *arms, weights = map(np.concatenate, zip(*kept, strict=True))
        lengths = [len(columns[0]) for columns in kept]
        labels = np.repeat(list(self._samples), lengths)
        stands_for = np.repeat([sample.stands_for for sample in samples], lengths)
        statistics = [
            redrawn(scores, labels, self._threshold if fit else None)
            for scores, fit in zip(arms, self._are_probabilities, strict=True)
        ]
        return deviations(statistics, stands_for, weights, self._seed)
