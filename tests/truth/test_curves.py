"""DeLong's variance, against all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from nocturne.truth import Paired, Tally

SURE = 1.959963984540054


def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    random = np.random.default_rng(4)
    labels = random.random(60) < 0.4
    common = random.normal(labels.astype(float), 1.0)
    champion, challenger = common + random.normal(0, 1, (2, 60))
    return np.round(champion, 1), np.round(challenger, 1), labels  # with ties


def pairs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    x, y = scores[labels], scores[~labels]
    found: np.ndarray = (x[:, None] > y) + 0.5 * (x[:, None] == y)  # type: ignore[type-arg]
    return found


def test_the_variance_is_that_of_all_pairs() -> None:
    scores, _, labels = rows()
    placed = pairs(scores, labels)
    m, n = placed.shape
    variance = placed.mean(1).var(ddof=1) / m + placed.mean(0).var(ddof=1) / n
    tally = Tally("classes")
    tally.add(scores, labels)
    found = tally.figures()
    assert found["auc"] == pytest.approx(placed.mean(), abs=1e-12)
    assert found["auc"] - found["auc_low"] == pytest.approx(SURE * variance**0.5, abs=1e-12)


def test_the_variance_of_a_difference_has_the_covariance() -> None:
    champion, challenger, labels = rows()
    one, other = pairs(champion, labels), pairs(challenger, labels)
    variance = 0.0
    for axis, number in ((1, one.shape[0]), (0, one.shape[1])):
        covariance = np.cov(one.mean(axis), other.mean(axis))
        variance += (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) / number
    paired = Paired("classes")
    paired.add(champion, challenger, labels)
    found = paired.figures()["auc"]
    assert found.low is not None
    assert found.value == pytest.approx(other.mean() - one.mean(), abs=1e-12)
    assert found.value - found.low == pytest.approx(SURE * variance**0.5, abs=1e-12)
