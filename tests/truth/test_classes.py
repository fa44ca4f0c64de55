"""Figures of scores and labels of two classes equal scikit-learn's, in chunks as at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics

from nocturne.errors import InputError
from nocturne.truth import Tally

probabilities = st.one_of(
    st.floats(0, 1, allow_subnormal=False), st.sampled_from([0.0, 0.25, 0.5, 1.0])
)
weighed = st.one_of(st.just(1.0), st.sampled_from([0.0, 0.5, 2.0, 7.25]))
rows = st.lists(st.tuples(probabilities, st.booleans(), weighed), max_size=60)


def tally(scores: Any, labels: Any, weights: Any = None, **more: Any) -> dict[str, float]:
    found = Tally("classes", **more)
    found.add(scores, labels, weights)
    return found.figures()


def random_rows(n: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    random = np.random.default_rng(seed)
    scores = random.random(n)
    return scores, random.random(n) < scores


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis asks for values, hundreds of times."""
    monkeypatch.setattr("nocturne.truth.bootstrap.REPLICATES", 4)


@given(rows)
@example([])
@example([(0.5, True, 1.0)])
@example([(0.5, True, 1.0), (0.5, False, 1.0)])
@example([(0.5, True, 0.0), (0.5, False, 0.0)])
def test_figures_are_those_of_scikit_learn(given: list[tuple[float, bool, float]]) -> None:
    s, y, w = (np.array([row[i] for row in given]) for i in range(3))
    y = y.astype(bool)
    found = tally(s, y, w, threshold=0.3)
    assert found["rows"] == len(given)
    assert all(np.isfinite(value) for value in found.values())
    if not w.any():
        assert found.keys() == {"rows"}
        return
    like = {"sample_weight": w}
    assert found["positive"] == pytest.approx(np.average(y, weights=w), abs=1e-9)
    if len({*y[w > 0].tolist()}) == 2:
        assert found["auc"] == pytest.approx(metrics.roc_auc_score(y, s, **like), abs=1e-9)
    else:
        assert "auc" not in found
    if y[w > 0].any():
        expected = metrics.average_precision_score(y, s, **like)
        assert found["average_precision"] == pytest.approx(expected, abs=1e-9)
    else:
        assert "average_precision" not in found
    expected = metrics.brier_score_loss(y, s, **like)
    assert found["brier"] == pytest.approx(expected, abs=1e-9)
    expected = metrics.log_loss(y, s, labels=[False, True], **like)
    assert found["log_loss"] == pytest.approx(expected, abs=1e-9)
    said = s >= 0.3
    expected = metrics.accuracy_score(y, said, **like)
    assert found["accuracy"] == pytest.approx(expected, abs=1e-9)
    for name, score, defined in (
        ("precision", metrics.precision_score, w @ said),
        ("recall", metrics.recall_score, w @ y),
        ("f1", metrics.f1_score, w @ (said | y)),
    ):
        assert (name in found) == (defined > 0)
        if defined:
            assert found[name] == pytest.approx(score(y, said, **like), abs=1e-9)


def test_known_values() -> None:
    """Those of the project's notes on quality."""
    y = np.array([0, 0, 1, 0, 1, 1, 1, 0], bool)
    s = np.array([0.1, 0.3, 0.35, 0.4, 0.6, 0.7, 0.9, 0.65])
    found = tally(s, y)
    assert found["auc"] == pytest.approx(0.8125)
    assert found["brier"] == pytest.approx(0.170625)
    assert found["log_loss"] == pytest.approx(0.5056708, abs=1e-7)


@pytest.mark.parametrize("with_weights", [False, True])
def test_chunks_count_as_one(with_weights: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nocturne.truth.classes.SAMPLE", 1000)  # fewer than there are
    scores, labels = random_rows(5000)
    scores = np.round(scores, 3)
    weights = np.random.default_rng(6).integers(0, 3, 5000) / 2 if with_weights else None
    parts = Tally("classes")
    for rows in np.split(np.arange(5000), [0, 1, 7, 2500, 2500, 4000]):
        parts.add(scores[rows], labels[rows], None if weights is None else weights[rows])
    assert parts.figures() == pytest.approx(tally(scores, labels, weights), abs=1e-12)


def test_a_weight_of_two_is_two_rows() -> None:
    scores, labels = random_rows(300)
    weights = np.random.default_rng(7).integers(0, 3, 300)
    once = tally(scores, labels, weights)
    again = tally(np.repeat(scores, weights), np.repeat(labels, weights))
    for name in ("auc", "average_precision", "calibration_error", "f1", "positive"):
        assert once[name] == pytest.approx(again[name], abs=1e-12)


@pytest.mark.parametrize("with_weights", [False, True])
def test_above_the_exact_rows_the_error_is_within_what_is_stated(
    with_weights: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, labels = random_rows(20_000)
    scores = scores**3
    weights = np.random.default_rng(8).random(20_000) if with_weights else None
    exact = tally(scores, labels, weights)
    assert "auc_error" not in exact
    monkeypatch.setattr("nocturne.truth.counts.EXACT", 1000)
    found = tally(scores, labels, weights)
    for name in ("auc", "average_precision"):
        off, stated = abs(found[name] - exact[name]), found[f"{name}_error"]
        assert 0 < off <= stated < 0.05
    for name in ("brier", "log_loss", "calibration_error", "f1", "precision"):
        assert found[name] == exact[name]


@given(st.lists(st.tuples(st.floats(-10, 10), st.booleans()), min_size=2, max_size=40))
def test_rounding_to_one_bit_stays_within_what_is_stated(given: list[tuple[float, bool]]) -> None:
    s, y = np.array([v for v, _ in given]), np.array([label for _, label in given])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nocturne.truth.counts.EXACT", 1)
        found = tally(s, y)
    exact = tally(s, y)
    for name in ("auc", "average_precision"):
        if name in exact:
            off = abs(found[name] - exact[name])
            assert off <= found.get(f"{name}_error", 0) + 1e-12


def test_more_rows_than_are_exact_stay_so_if_few_scores_are_distinct(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nocturne.truth.counts.EXACT", 200)
    scores, labels = random_rows(10_000)
    scores = np.round(scores, 2)
    found = tally(scores, labels)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    assert "auc_error" not in found


def test_the_reliability_diagram_has_all_rows() -> None:
    scores, labels = random_rows(10_000)
    found = Tally("classes")
    found.add(scores, labels)
    bins = found.bins()
    assert sum(b.rows for b in bins) == 10_000
    assert sum(b.rows * b.score for b in bins) == pytest.approx(scores.sum())
    assert sum(b.rows * b.positive for b in bins) == pytest.approx(labels.sum())
    error = sum(b.rows * abs(b.score - b.positive) for b in bins) / 10_000
    assert found.figures()["calibration_error"] == pytest.approx(error)
    assert error < 0.02
    edges = Tally("classes")
    edges.add(np.array([1.0, 0.0]), np.array([True, False]))
    assert [b.rows for b in edges.bins()] == [1, 1]


def test_scores_that_are_no_probabilities_are_judged_by_their_order_only() -> None:
    found = Tally("classes")
    found.add(np.array([0.5, 0.1]), np.array([True, False]))
    found.add(np.array([-3.0, 2.0]), np.array([False, True]))
    assert {name.split("_")[0] for name in found.figures()} == {
        "rows",
        "positive",
        "auc",
        "average",
    }
    assert found.bins() == []


def test_what_can_t_be_counted_is_refused() -> None:
    y = np.array([True, False])
    with pytest.raises(InputError, match="scores: row 1 of 2 is not finite"):
        tally([0.5, np.nan], y)
    with pytest.raises(InputError, match="weights: row 0 of 2 has one that is negative"):
        tally([0.5, 0.5], y, [-1, 1])
    with pytest.raises(InputError, match="weights: row 1 of 2 has one"):
        tally([0.5, 0.5], y, [1, 1e200])
    with pytest.raises(InputError, match="got int64, expected booleans"):
        tally([0.5, 0.5], np.array([0, 1]))
    with pytest.raises(InputError, match="weights: row 1 of 2 is not finite"):
        tally([0.5, 0.5], y, [1, np.inf])
    with pytest.raises(InputError, match="got 1 weights for 2 rows"):
        tally([0.5, 0.5], y, [1])
    with pytest.raises(InputError, match="have 1, 2 rows"):
        tally([0.5], y)
