"""Histograms: every row in its bin, whatever the shape of the column."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nocturne.profile import TableProfiler
from nocturne.records.profile import ColumnProfile
from nocturne.report.histograms import category_histogram, numeric_histogram
from nocturne.report.summary import quantiles


def column(values: Any, center: float | None = None) -> ColumnProfile:
    profiler = TableProfiler({"x": center})
    profiler.update(pa.RecordBatch.from_pydict({"x": values}))
    return profiler.result().columns["x"]


def test_shares_are_those_of_an_exact_histogram() -> None:
    values = np.random.default_rng(1).normal(10, 3, 50_000)
    drawn = numeric_histogram(column(values, 10.0), None)
    edges = [drawn.bins[0].low, *(b.high for b in drawn.bins)]
    exact = np.histogram(values, edges)[0] / len(values)
    assert [b.current for b in drawn.bins] == pytest.approx(exact, abs=0.003)
    assert drawn.outside == pytest.approx(1 - exact.sum(), abs=0.001)


def test_both_sides_share_their_bins() -> None:
    drawn = numeric_histogram(column([0.5, 1.25] * 50, 1.0), column([7.5, 9.1] * 50, 1.0))
    assert drawn.bins[0].low <= 0.5
    assert drawn.bins[-1].high >= 9.1
    assert sum(b.current for b in drawn.bins) == pytest.approx(1)
    assert sum(b.baseline or 0 for b in drawn.bins) == pytest.approx(1)


def test_an_outlier_does_not_squeeze_the_plot() -> None:
    values = np.append(np.random.default_rng(2).normal(size=10_000), 1e9)
    assert numeric_histogram(column(values, 0.0), None).bins[-1].high < 10


@pytest.mark.parametrize("center", [12.0, 12.5, 0.0])
def test_whole_numbers_get_a_bin_each(center: float) -> None:
    hours = [float(h) for h in range(24) for _ in range(h + 1)]
    drawn = numeric_histogram(column(hours, center), None)
    assert [b.current * 300 for b in drawn.bins] == pytest.approx(range(1, 25))


def test_many_whole_numbers_share_bins_of_whole_steps() -> None:
    drawn = numeric_histogram(column([float(v) for v in range(100)], 50.0), None)
    assert {b.high - b.low for b in drawn.bins} == {4.0}


def test_a_constant_that_is_no_whole_number_is_drawn() -> None:
    drawn = numeric_histogram(column([0.37] * 5, 0.0), None)
    assert sum(b.current for b in drawn.bins) == pytest.approx(1)


def test_a_column_without_numbers_has_no_bins() -> None:
    assert numeric_histogram(column([None, float("nan")], 0.0), None).bins == ()


def test_a_column_that_is_empty_now_still_shows_its_baseline() -> None:
    drawn = numeric_histogram(column([None], 0.0), column([1.5, 2.5], 0.0))
    assert sum(b.baseline or 0 for b in drawn.bins) == pytest.approx(1)
    assert drawn.outside == 0


def test_categories_are_the_most_frequent_of_either_side_and_the_rest_is_told() -> None:
    now = ["a"] * 60 + [f"rare{i:02}" for i in range(40)]
    drawn = category_histogram(column(now), column(["b"] * 50 + now))
    assert {"a", "b"} <= {b.label for b in drawn.bins}
    assert len(drawn.bins) == 8
    assert drawn.outside == pytest.approx(0.34)


def test_the_most_frequent_new_value_is_always_shown_as_new() -> None:
    known = [f"v{i}" for i in range(30)] * 20
    drawn = category_histogram(column([*known, "ZZ"]), column(known))
    assert "(new) ZZ" in [b.label for b in drawn.bins]


@pytest.mark.parametrize("most", [sys.float_info.max, 1e39])
@pytest.mark.parametrize("rest", [[], [0.5, -1.25, 3.0]])
def test_the_largest_floats_can_be_drawn(most: float, rest: list[float]) -> None:
    profiler = TableProfiler({"x": 0.0})
    values = pa.array([*rest, most, most, -most], pa.float64())
    profiler.update(pa.record_batch({"x": values}))
    column = profiler.result().columns["x"]
    bins = numeric_histogram(column, None).bins
    assert sum(b.current for b in bins) == pytest.approx(1)
    assert np.isfinite([(b.low, b.high, b.current) for b in bins]).all()
    assert np.isfinite(quantiles(column, [0.05, 0.5, 0.95])).all()
