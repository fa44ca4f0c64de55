"""Metrics equal scikit-learn's; DeLong's interval covers as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics

from nocturne.truth import auc, average_precision, binary_figures, number_figures, reliability

probabilities = st.one_of(
    st.floats(0, 1, allow_subnormal=False), st.sampled_from([0.0, 0.25, 0.5, 1.0])
)
rows = st.lists(st.tuples(probabilities, st.booleans()), max_size=60)


def columns(pairs: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    return np.array([p for p, _ in pairs], np.float64), np.array([y for _, y in pairs], bool)


@given(rows)
@example([])
@example([(0.5, True)])
@example([(0.5, True), (0.5, False)])
def test_figures_of_probabilities_are_those_of_scikit_learn(
    pairs: list[tuple[float, bool]],
) -> None:
    scores, labels = columns(pairs)
    found = binary_figures(scores, labels)
    assert found["rows"] == len(pairs)
    if len({*labels.tolist()}) == 2:
        assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-9)
        expected = metrics.average_precision_score(labels, scores)
        assert found["average_precision"] == pytest.approx(expected, abs=1e-9)
    else:
        assert "auc" not in found
    if pairs:
        assert found["brier"] == pytest.approx(metrics.brier_score_loss(labels, scores), abs=1e-9)
        expected = metrics.log_loss(labels, scores, labels=[False, True])
        assert found["log_loss"] == pytest.approx(expected, abs=1e-9)
    assert all(np.isfinite(value) for value in found.values())


def test_known_values() -> None:
    """Those of the project's notes on quality."""
    y = np.array([0, 0, 1, 0, 1, 1, 1, 0], bool)
    s = np.array([0.1, 0.3, 0.35, 0.4, 0.6, 0.7, 0.9, 0.65])
    found = binary_figures(s, y)
    assert found["auc"] == pytest.approx(0.8125)
    assert found["brier"] == pytest.approx(0.170625)
    assert found["log_loss"] == pytest.approx(0.5056708, abs=1e-7)


def test_the_interval_of_the_auc_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    true = 0.5 * (1 + 0.5204998778130465)  # of normals one apart: Phi(1 / sqrt(2))
    covered = 0
    for _ in range(1000):
        labels = random.random(300) < 0.3
        scores = random.normal(labels.astype(float), 1.0)
        found = auc(scores, labels)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= true <= found.high
    assert 930 <= covered <= 970


def test_the_variance_is_that_of_all_pairs() -> None:
    """DeLong's placements, counted pair by pair."""
    random = np.random.default_rng(4)
    labels = random.random(60) < 0.4
    scores = np.round(random.normal(labels.astype(float), 1.0), 1)  # with ties
    x, y = scores[labels], scores[~labels]
    pairs = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    variance = pairs.mean(1).var(ddof=1) / len(x) + pairs.mean(0).var(ddof=1) / len(y)
    found = auc(scores, labels)
    assert found is not None
    assert found.value == pytest.approx(pairs.mean(), abs=1e-12)
    assert found.low is not None
    assert found.value - found.low == pytest.approx(1.959963984540054 * variance**0.5, abs=1e-12)


def test_the_reliability_diagram_has_all_rows() -> None:
    random = np.random.default_rng(5)
    scores = random.random(10_000)
    labels = random.random(10_000) < scores
    bins = reliability(scores, labels)
    assert sum(b.rows for b in bins) == 10_000
    assert sum(b.rows * b.score for b in bins) == pytest.approx(scores.sum())
    assert sum(b.rows * b.positive for b in bins) == pytest.approx(labels.sum())
    assert binary_figures(scores, labels)["calibration_error"] < 0.02
    assert reliability(np.array([1.0, 0.0]), np.array([True, False]))[-1].rows == 1


def test_scores_that_are_no_probabilities_have_no_calibration() -> None:
    found = binary_figures(np.array([-3.0, 2.0, 4.0]), np.array([False, True, True]))
    assert found.keys() == {"rows", "positive", "auc", "average_precision"}
    assert average_precision(np.array([0.5]), np.array([False])) is None


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=40))
def test_figures_of_numbers_are_those_of_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    predicted, actual = (np.array([p[i] for p in pairs], np.float64) for i in (0, 1))
    found = number_figures(predicted, actual)
    assert found["rows"] == len(pairs)
    if pairs:
        expected = metrics.mean_absolute_error(actual, predicted)
        assert found["mae"] == pytest.approx(expected, rel=1e-9)
        expected = metrics.root_mean_squared_error(actual, predicted)
        assert found["rmse"] == pytest.approx(expected, rel=1e-9)
    if "r2" in found:
        expected = metrics.r2_score(actual, predicted)
        assert found["r2"] == pytest.approx(expected, rel=1e-6, abs=1e-9)
