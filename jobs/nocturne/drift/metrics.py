"""Metrics of how far two count vectors are apart. To add a metric, add its entry to ``METRICS``.

Every metric takes two vectors of counts in the same bins, baseline first, and compares their
proportions. A metric that depends on the positions of the bins takes these too. No metric is a
p-value: at a million rows it can be tiny for two samples of the same distribution, since it
depends on the number of rows and not only on how much they moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nocturne.errors import StateError
from nocturne.records.drift import MetricText

__all__ = ["METRICS", "Counts", "Metric", "psi_rows"]

Vector = NDArray[np.float64]
Counts = Sequence[float] | NDArray[np.int64] | NDArray[np.float64]

_EMPTY = 1e-4
"""The least proportion in a logarithm. Clipped, not added: adding it moves every bin."""


def _proportions(baseline: Counts, current: Counts) -> tuple[Vector, Vector]:
    p, q = np.asarray(baseline, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if len(p) != len(q):
        raise StateError(
            f"counts in {len(p)} and in {len(q)} bins can't be compared; expected the same bins "
            "on both sides, counted with the same baseline"
        )
    if p.sum() <= 0 or q.sum() <= 0:
        raise StateError(
            "counts without a single row can't be compared; expected at least one row in the "
            "baseline and one in the partition"
        )
    return p / p.sum(), q / q.sum()


def _psi(baseline: Counts, current: Counts) -> float:
    """Population stability index: sum of (q - p) ln(q / p), 0 for equal proportions."""
    _proportions(baseline, current)  # refuses what can't be compared
    return float(psi_rows(np.asarray(baseline)[None], np.asarray(current)[None])[0])


def psi_rows(baselines: NDArray[Any], currents: NDArray[Any]) -> Vector:
    """The PSI [n] of each pair of rows of two matrices of counts [n, bins]."""
    p, q = (np.maximum(x / x.sum(axis=1, keepdims=True), _EMPTY) for x in (baselines, currents))
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=1))


def _js(baseline: Counts, current: Counts) -> float:
    """Jensen-Shannon distance with logarithms to base 2: from 0 to 1 (disjoint)."""
    p, q = _proportions(baseline, current)
    mean = (p + q) / 2

    def relative_entropy(x: Vector) -> float:
        ratio = np.divide(x, mean, out=np.ones_like(mean), where=x > 0)
        return float((x * np.log2(ratio)).sum())

    divergence = (relative_entropy(p) + relative_entropy(q)) / 2
    return math.sqrt(max(divergence, 0.0))


def _ks(baseline: Counts, current: Counts) -> float:
    """Kolmogorov-Smirnov statistic over the bins, in their order: a lower bound of the exact."""
    p, q = _proportions(baseline, current)
    return float(np.abs(np.cumsum(q - p)).max())


def _linf(baseline: Counts, current: Counts) -> float:
    """The largest difference of a single proportion."""
    p, q = _proportions(baseline, current)
    return float(np.abs(q - p).max())


def _wasserstein(baseline: Counts, current: Counts, positions: Counts) -> float:
    """First Wasserstein distance of two sets of counts at ``positions`` [n], which increase.

    The area between the two cumulative proportions, in the positions' unit.
    """
    p, q = _proportions(baseline, current)
    away = np.abs(np.cumsum(q - p))[:-1]
    return float((away * np.diff(np.asarray(positions, dtype=np.float64))).sum())


@dataclass(frozen=True, kw_only=True)
class Metric(MetricText):
    """A metric: its function, and the texts that explain its number.

    Args:
        measure: counts of the baseline and of the night in the same bins -> the metric.
        positions: whether the bins are fine and ``measure`` also takes their positions [n], in
            standard deviations of the baseline. Only for numeric columns; the metric is 0 if the
            baseline is constant, since it has no deviation.
    """

    measure: Callable[..., float]
    positions: bool = False


METRICS: dict[str, Metric] = {
    "psi": Metric(
        label="PSI",
        meaning="population stability index: 0 for equal proportions; what alarms",
        measure=_psi,
        shown=True,
        monitored=True,
    ),
    "js": Metric(
        label="JS distance",
        meaning="Jensen-Shannon distance, from 0 to 1 (no value in common)",
        measure=_js,
        shown=True,
    ),
    "ks": Metric(
        label="KS statistic",
        meaning="largest difference of the cumulative proportions; needs an order",
        kinds=("numeric",),
        measure=_ks,
    ),
    "linf": Metric(
        label="L-infinity",
        meaning="largest difference of the proportion of a single bin",
        measure=_linf,
    ),
    "wasserstein": Metric(
        label="Moved",
        meaning="first Wasserstein distance: how far the values moved in the mean",
        unit="s.d.",
        kinds=("numeric",),
        measure=_wasserstein,
        positions=True,
        shown=True,
        monitored=True,
    ),
}
