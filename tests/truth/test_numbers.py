"""Figures of numbers equal scikit-learn's, in chunks as at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics

from nocturne.errors import InputError
from nocturne.truth import Tally

number = st.floats(-1e6, 1e6)
weighed = st.one_of(st.just(1.0), st.sampled_from([0.0, 0.5, 2.0, 7.25]))


def tally(predicted: Any, actual: Any, weights: Any = None, **more: Any) -> dict[str, float]:
    found = Tally("numbers", **more)
    found.add(predicted, actual, weights)
    return found.figures()


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis asks for values, hundreds of times."""
    monkeypatch.setattr("nocturne.truth.bootstrap.REPLICATES", 4)


@given(st.lists(st.tuples(number, number, weighed), max_size=40))
@example([])
@example([(1.0, 2.0, 1.0)])
@example([(1.0, 2.0, 0.0)])
@example([(1.0, 0.1, 1.0)] * 3)
def test_figures_are_those_of_scikit_learn(given: list[tuple[float, float, float]]) -> None:
    p, y, w = (np.array([row[i] for row in given], np.float64) for i in range(3))
    found = tally(p, y, w, quantile=0.9)
    assert found["rows"] == len(given)
    if not w.any():
        assert found.keys() == {"rows"}
        return
    like = {"sample_weight": w}
    expected = {
        "mae": metrics.mean_absolute_error(y, p, **like),
        "rmse": metrics.root_mean_squared_error(y, p, **like),
        "pinball": metrics.mean_pinball_loss(y, p, alpha=0.9, **like),
        "bias": np.average(p - y, weights=w),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9)
    if len({*y[w > 0]}) > 1:
        if "r2" in found:
            expected_r2 = metrics.r2_score(y, p, **like)
            assert found["r2"] == pytest.approx(expected_r2, rel=1e-6, abs=1e-9)
    else:
        assert "r2" not in found


@pytest.mark.parametrize("with_weights", [False, True])
def test_chunks_count_as_one(with_weights: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nocturne.truth.numbers.SAMPLE", 1000)  # fewer than there are
    random = np.random.default_rng(1)
    actual = random.normal(1e6, 1, 5000)  # far from 0: naive sums of squares would cancel
    predicted = actual + random.normal(size=5000)
    weights = random.integers(0, 3, 5000) / 2 if with_weights else None
    parts = Tally("numbers")
    for rows in np.split(np.arange(5000), [0, 1, 7, 2500, 2500, 4000]):
        parts.add(predicted[rows], actual[rows], None if weights is None else weights[rows])
    found = parts.figures()
    assert found == pytest.approx(tally(predicted, actual, weights), rel=1e-9)
    expected = metrics.r2_score(actual, predicted, sample_weight=weights)
    assert found["r2"] == pytest.approx(expected, abs=1e-9)


def test_figures_that_overflow_are_left_out() -> None:
    found = tally([1e200, 0.0], [0.0, 1.0])
    assert found["mae"] == 5e199
    assert "rmse" not in found
    assert "r2" not in found


def test_what_can_t_be_counted_is_refused() -> None:
    with pytest.raises(InputError, match="labels: row 0 of 1 is not finite"):
        tally([0.5], [np.nan])
    with pytest.raises(InputError, match="predictions: row 0 of 1 is not finite"):
        tally([np.inf], [0.5])
