"""What is expected of calibrated scores before labels come."""

from __future__ import annotations

import numpy as np
import pytest

from nocturne.errors import InputError
from nocturne.truth import Tally, estimate


def test_known_values() -> None:
    """Those of the project's notes on quality."""
    found = estimate([0.1, 0.2, 0.35, 0.6, 0.8, 0.9])
    assert found == pytest.approx(
        {
            "auc": 0.8362045,
            "brier": 0.16125,
            "precision": 2.3 / 3,
            "recall": 2.3 / 2.95,
            "f1": 0.773109,
            "accuracy": 4.65 / 6,
            "positive": 2.95 / 6,
        },
        abs=1e-6,
    )


def test_it_is_what_labels_of_chance_give_on_average() -> None:
    random = np.random.default_rng(1)
    scores = np.round(random.beta(1, 3, 3000), 2)
    nights = []
    for _ in range(100):
        tally = Tally("classes", threshold=0.4)
        tally.add(scores, random.random(3000) < scores)
        nights.append(tally.figures(redraw=False))
    for name, expected in estimate(scores, threshold=0.4).items():
        found = np.array([night[name] for night in nights])
        assert abs(found.mean() - expected) < 4 * found.std() / 10, name


def test_a_histogram_counts_as_its_rows() -> None:
    scores = np.round(np.random.default_rng(2).random(1000), 2)
    values, counts = np.unique(scores, return_counts=True)
    assert estimate(values, counts) == pytest.approx(estimate(scores), abs=1e-12)


def test_what_is_not_defined_is_left_out_and_what_is_no_probability_refused() -> None:
    assert estimate([]) == {}
    assert estimate([0.0]).keys() == {"brier", "accuracy", "positive"}
    with pytest.raises(InputError, match=r"got 0.5 to 1.5, expected probabilities"):
        estimate([0.5, 1.5])
    with pytest.raises(InputError, match="counts: row 0 of 1 has one that is negative"):
        estimate([0.5], [-1])
