"""Histograms for the report: the fine counts of a column in a few bins of equal width.

The bins that drift compares have equal counts, which hides the shape, so these have equal widths.
Both sides are drawn over the same range, without half a percent at either end, so that one
outlier does not squeeze everything else into a single bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nocturne.records.profile import ColumnProfile
from nocturne.report.summary import intervals

__all__ = ["Bin", "Histogram", "category_histogram", "histogram", "numeric_histogram"]

_BINS = 30
_CATEGORIES = 8
_NEW = 2
_TAIL = 0.005


@dataclass(frozen=True)
class Bin:
    """A bar: its range or value, and the fraction of rows in it on each side."""

    label: str
    low: float
    high: float
    current: float
    baseline: float | None


@dataclass(frozen=True)
class Histogram:
    """Bars in order; ``outside`` is the fraction of current rows that are in no bar."""

    bins: tuple[Bin, ...]
    outside: float = 0.0


def histogram(current: ColumnProfile, baseline: ColumnProfile | None) -> Histogram:
    """The histogram for the kind of the column, which is that of both sides."""
    draw = numeric_histogram if current.kind == "numeric" else category_histogram
    return draw(current, baseline)


def numeric_histogram(current: ColumnProfile, baseline: ColumnProfile | None) -> Histogram:
    """Even bins over the range of both sides; empty if neither has a finite value."""
    sides = [side for side in (current, baseline) if side is not None and side.counts]
    if not sides:
        return Histogram(())
    edges = _edges(sides)
    shares = _shares(current, edges)
    reference = None if baseline is None else _shares(baseline, edges)
    bins = tuple(
        Bin(
            f"{low:.4g} to {high:.4g}",
            float(low),
            float(high),
            float(shares[i]),
            None if reference is None else float(reference[i]),
        )
        for i, (low, high) in enumerate(pairwise(edges))
    )
    return Histogram(bins, max(0.0, 1 - float(shares.sum())) if current.counts else 0.0)


def category_histogram(current: ColumnProfile, baseline: ColumnProfile | None) -> Histogram:
    """The most frequent values of each side; ``outside`` are the rows of all other values.

    The two most frequent new values are always included, since a reader looks for them.
    """
    now, total = current.counts, max(sum(current.counts.values()) + current.other, 1)
    then = {} if baseline is None else baseline.counts
    reference = 1 if baseline is None else max(sum(then.values()) + baseline.other, 1)
    share = {v: (now.get(v, 0) / total, then.get(v, 0) / reference) for v in {*now, *then}}
    ranked = sorted(share, key=lambda value: (-max(share[value]), value))
    new = [value for value in ranked if baseline and value not in then][:_NEW]
    frequent = [value for value in ranked if value not in new][: _CATEGORIES - len(new)]
    shown = [value for value in ranked if value in frequent or value in new]
    bars = [(f"(new) {v}" if v in new else v, share[v][0], share[v][1]) for v in shown]
    return Histogram(
        tuple(Bin(label, 0, 0, c, None if baseline is None else b) for label, c, b in bars),
        max(0.0, 1 - sum(c for _, c, _ in bars)) if current.counts else 0.0,
    )


def _edges(sides: list[ColumnProfile]) -> NDArray[np.float64]:
    integral = all(_is_whole(side) for side in sides)
    ends = [_ends(side, 0.0) for side in sides]
    if not integral or max(e[1] for e in ends) - min(e[0] for e in ends) >= _BINS:
        ends = [_ends(side, _TAIL) for side in sides]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    if integral:
        # Steps are whole numbers: otherwise some bins would hold two numbers and some three.
        first, last = np.round(low), np.round(high)
        step = max(1.0, float(np.ceil((last - first + 1) / _BINS)))
        count = int((last - first) // step) + 1
        return np.asarray(first - 0.5 + step * np.arange(count + 1))
    margin = (high - low) * 1e-6 or max(abs(low), 1.0) * 1e-3
    return np.linspace(low - margin, high + margin, _BINS + 1)


def _ends(column: ColumnProfile, tail: float) -> tuple[float, float]:
    """The ends of the column, without the fraction ``tail`` of its rows on each side."""
    low, high, rows = intervals(column)
    upto = np.cumsum(rows)
    first = int(np.searchsorted(upto, tail * upto[-1], side="right"))
    last = int(np.searchsorted(upto, (1 - tail) * upto[-1]))
    return float(low[first]), float(high[last])


def _is_whole(column: ColumnProfile) -> bool:
    """Whether the values look like whole numbers, judged by the ends of their buckets.

    A bucket starts, on the side of the centre, with its shortest value; for whole numbers
    around a whole centre (or half of one) that is the number itself.
    """
    low, high, _ = intervals(column)
    nearest = np.where(low >= column.center, low, high)
    if np.abs(nearest).max() >= 2**52:  # all floats are whole numbers there
        return False
    return bool(np.all(np.abs(nearest - np.round(nearest)) < 1e-9 * np.maximum(1, abs(nearest))))


def _shares(column: ColumnProfile, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fraction of the counted rows in each bin; a bucket's rows are spread evenly over it."""
    if not column.counts:
        return np.zeros(len(edges) - 1)
    low, high, rows = intervals(column)
    past = edges[:, None] - low
    spread = high > low
    part = np.where(spread, np.clip(past / np.where(spread, high - low, 1), 0, 1), past > 0)
    below = part @ rows
    return np.asarray(np.diff(below) / rows.sum())
