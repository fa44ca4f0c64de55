"""Quantiles and means from bucket counts, against the values themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nocturne.profile import TableProfiler
from nocturne.records.profile import Profile
from nocturne.report import score_summary


def profile(values: Any, center: float | None) -> Profile:
    profiler = TableProfiler({"score": center})
    profiler.update(pa.RecordBatch.from_pydict({"score": values}))
    return profiler.result()


def test_quantiles_and_mean_are_those_of_the_scores() -> None:
    values = np.random.default_rng(0).beta(2, 5, 20_000)
    summary = score_summary(profile(values, 0.26), ["score"])["score"]
    exact = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    found = [summary[name] for name in ("p05", "p25", "p50", "p75", "p95")]
    assert found == pytest.approx(exact, abs=0.003)
    assert summary["mean"] == pytest.approx(values.mean(), abs=1e-9)


def test_quantiles_stay_between_minimum_and_maximum() -> None:
    summary = score_summary(profile([0.7] * 10, 0.2), ["score"])["score"]
    assert summary == pytest.approx(dict.fromkeys(summary, 0.7))


def test_negative_values_are_ordered_as_numbers() -> None:
    values = np.linspace(-100, 50, 3001)
    summary = score_summary(profile(values, 0.0), ["score"])["score"]
    assert summary["p05"] == pytest.approx(-92.5, rel=0.02)
    assert summary["p95"] == pytest.approx(42.5, rel=0.02)


def test_outputs_without_numbers_are_left_out() -> None:
    assert score_summary(profile(["late", "on time"], None), ["score"]) == {}
    assert score_summary(profile([None, float("nan")], 0.0), ["score"]) == {}
    assert score_summary(profile([0.5], 0.0), ["another"]) == {}
