"""Figures of predicted classes equal scikit-learn's, in chunks as at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics

from nocturne.errors import InputError
from nocturne.truth import Tally

name = st.sampled_from(["a", "b", "c", "d", ""])
weighed = st.one_of(st.just(1.0), st.sampled_from([0.0, 0.5, 2.0, 7.25]))


def tally(predicted: Any, actual: Any, weights: Any = None) -> dict[str, float]:
    found = Tally("multiclass")
    found.add(pa.array(predicted, pa.string()), pa.array(actual, pa.string()), weights)
    return found.figures()


@given(st.lists(st.tuples(name, name, weighed), max_size=40))
@example([])
@example([("a", "a", 1.0)])
@example([("a", "b", 0.0)])
def test_figures_are_those_of_scikit_learn(given: list[tuple[str, str, float]]) -> None:
    p, y = [row[0] for row in given], [row[1] for row in given]
    w = np.array([row[2] for row in given])
    found = tally(p, y, w)
    assert found["rows"] == len(given)
    there = np.flatnonzero(w)
    if not len(there):
        assert found.keys() == {"rows"}
        return
    p, y, w = [p[i] for i in there], [y[i] for i in there], w[there]
    expected = metrics.accuracy_score(y, p, sample_weight=w)
    assert found["accuracy"] == pytest.approx(expected, abs=1e-9)
    expected = metrics.f1_score(y, p, sample_weight=w, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected, abs=1e-9)


def test_chunks_count_as_one() -> None:
    random = np.random.default_rng(1)
    predicted, actual = random.choice(["a", "b", "c"], (2, 500))
    weights = random.integers(0, 3, 500) / 2
    parts = Tally("multiclass")
    for rows in np.split(np.arange(500), [0, 1, 7, 250, 250, 400]):
        coded = pa.array(predicted[rows]).dictionary_encode()  # each chunk its own dictionary
        parts.add(coded, pa.chunked_array([pa.array(actual[rows])]), weights[rows])
    assert parts.figures() == pytest.approx(tally(predicted, actual, weights), abs=1e-12)


def test_what_can_t_be_counted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="got a null"):
        tally(["a", None], ["a", "b"])
    with pytest.raises(InputError, match="have 1, 2 rows"):
        tally(["a"], ["a", "b"])
    monkeypatch.setattr("nocturne.truth.multiclass._MOST_CELLS", 2)
    with pytest.raises(InputError, match="in more than 2 ways"):
        tally(["a", "b", "c"], ["a", "b", "c"])
