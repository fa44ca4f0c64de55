"""The drift metrics, against known values and against scipy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from nocturne.drift import METRICS
from nocturne.errors import StateError

P = (0.1, 0.2, 0.4, 0.2, 0.1)
Q = (0.05, 0.15, 0.4, 0.25, 0.15)
KNOWN = {
    "psi": 0.0804718956,
    "js": 0.1197996280,
    "linf": 0.05,
    "ks": 0.1,
    "wasserstein": 0.3,
}


def measured(name: str, p: Any, q: Any, positions: Any = None) -> float:
    """The metric of two vectors of counts; of bins at 0, 1, 2 and so on, if it has to know."""
    given = [range(len(p)) if positions is None else positions] if METRICS[name].positions else []
    return METRICS[name].measure(p, q, *given)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_gives_the_known_value(name: str) -> None:
    assert measured(name, P, Q) == pytest.approx(KNOWN[name], abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_equal_proportions_are_no_drift_whatever_the_number_of_rows(name: str) -> None:
    assert measured(name, (1, 2, 0, 3), (1000, 2000, 0, 3000)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_metrics_equal_scipy_on_random_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.integers(0, 50, (2, rng.integers(2, 40))) + np.array([[1], [0]])
    q[0] += 1
    share_p, share_q = p / p.sum(), q / q.sum()
    assert measured("js", p, q) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-9)
    assert measured("linf", p, q) == pytest.approx(np.abs(share_p - share_q).max(), abs=1e-12)
    cumulative = np.abs(np.cumsum(share_p) - np.cumsum(share_q))
    assert measured("ks", p, q) == pytest.approx(cumulative.max(), abs=1e-12)


def test_psi_is_the_symmetrised_kullback_leibler_divergence_where_no_bin_is_empty() -> None:
    from scipy.special import rel_entr

    p, q = np.array(P), np.array(Q)
    expected = rel_entr(p, q).sum() + rel_entr(q, p).sum()
    assert measured("psi", p, q) == pytest.approx(expected, abs=1e-12)


def test_psi_clips_an_empty_bin_and_leaves_the_others_as_they_are() -> None:
    by_hand = (0.5 - 1e-4) * np.log(0.5 / 1e-4) + (0.5 - 1.0) * np.log(0.5 / 1.0)
    assert measured("psi", (10, 0), (5, 5)) == pytest.approx(by_hand, abs=1e-12)


def test_psi_does_not_fall_when_a_nearly_empty_bin_becomes_empty() -> None:
    one_in_a_million, none = (999_999, 1), (1_000_000, 0)
    assert measured("psi", one_in_a_million, (9, 1)) <= measured("psi", none, (9, 1))


def test_disjoint_distributions_have_the_largest_distance() -> None:
    assert measured("js", (1, 0), (0, 1)) == pytest.approx(1)
    assert measured("ks", (1, 0), (0, 1)) == pytest.approx(1)


@pytest.mark.parametrize("name", METRICS)
def test_vectors_of_other_bins_are_refused(name: str) -> None:
    with pytest.raises(StateError, match=r"counts in 2 and in 3 bins .* the same bins"):
        measured(name, (1, 2), (1, 2, 3))


@pytest.mark.parametrize("name", METRICS)
def test_vectors_without_rows_are_refused(name: str) -> None:
    with pytest.raises(StateError, match="without a single row"):
        measured(name, (1, 2), (0, 0))


def test_wasserstein_is_scipys() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        p, q = rng.integers(0, 50, (2, 12)) + np.array([[1], [0]])
        q[0] += 1
        positions = np.sort(rng.normal(size=12))
        expected = wasserstein_distance(positions, positions, p, q)
        assert measured("wasserstein", p, q, positions) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert metric.label
    assert metric.meaning
    assert metric.kinds == ("numeric",) or not metric.positions
    said = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text(encoding="utf-8")
    assert f"`{name}`" in said
