"""Two models on the same rows, and what their nights say together."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from nocturne.errors import InputError
from nocturne.records.truth import BETTER, Difference
from nocturne.truth import Paired, Tally, pooled


def probabilities(random: np.random.Generator, n: int) -> tuple[Any, Any, Any]:
    labels = random.random(n) < 0.3
    common = random.normal(labels * 0.7, 0.7)
    logits = (common + random.normal(labels * 0.2, 0.7, n), common + random.normal(0, 0.7, n))
    champion, challenger = (1 / (1 + np.exp(1 - logit)) for logit in logits)
    return champion, challenger, labels


def paired(rows: tuple[Any, Any, Any], weights: Any = None, **more: Any) -> dict[str, Difference]:
    found = Paired("classes", **more)
    found.add(*rows, weights)
    return found.figures()


def covers(found: Difference, true: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= true <= found.high


def test_values_are_the_difference_of_two_tallies() -> None:
    champion, challenger, labels = probabilities(np.random.default_rng(1), 500)
    weights = np.random.default_rng(2).integers(0, 3, 500)
    tallies = []
    for scores in (champion, challenger):
        tally = Tally("classes", threshold=0.3)
        tally.add(scores, labels, weights)
        tallies.append(tally.figures())
    found = paired((champion, challenger, labels), weights, threshold=0.3)
    assert found.keys() == {name for name in BETTER if name in tallies[0]}
    for name, difference in found.items():
        assert difference.value == tallies[1][name] - tallies[0][name]
        assert covers(difference, difference.value)


def test_every_figure_that_can_be_better_is_compared() -> None:
    random = np.random.default_rng(1)
    found = set(paired(probabilities(random, 50)))
    numbers = Paired("numbers", quantile=0.9)
    numbers.add(*random.normal(size=(3, 50)))
    multiclass = Paired("multiclass")
    multiclass.add(*(pa.array(column) for column in random.choice(["a", "b"], (3, 50))))
    found |= numbers.figures().keys() | multiclass.figures().keys()
    assert found == BETTER.keys() | {"bias"}


def test_chunks_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nocturne.truth.classes.SAMPLE", 1000)
    rows = probabilities(np.random.default_rng(2), 5000)
    parts = Paired("classes")
    for part in np.split(np.arange(5000), [0, 1, 7, 2500, 2500, 4000]):
        parts.add(*(column[part] for column in rows))
    whole = paired(rows)
    for name, found in parts.figures().items():
        assert found.value == pytest.approx(whole[name].value, abs=1e-12)
        assert found.low == pytest.approx(whole[name].low, abs=1e-12)
        assert found.high == pytest.approx(whole[name].high, abs=1e-12)


def test_intervals_cover_for_the_auc_by_delong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nocturne.truth.bootstrap.REPLICATES", 2)
    random = np.random.default_rng(3)
    # Of normals with variance 2 * 0.49, 0.9 and 0.7 apart.
    true = stats.norm.cdf(0.7 / 1.96**0.5) - stats.norm.cdf(0.9 / 1.96**0.5)
    covered = sum(covers(paired(probabilities(random, 200))["auc"], true) for _ in range(1000))
    assert 930 <= covered <= 970


@pytest.mark.long
def test_intervals_cover_by_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    with monkeypatch.context() as patch:
        patch.setattr("nocturne.truth.bootstrap.REPLICATES", 2)
        true = paired(probabilities(random, 1_000_000))
    covered: Counter[str] = Counter()
    nights = 200
    for night in range(nights):
        weights = 0.5 + random.random(200) if night % 2 else None
        for name, found in paired(probabilities(random, 200), weights, seed=night).items():
            covered[name] += covers(found, true[name].value)
    del covered["calibration_error"]  # of few rows it is too great for both: 99% are covered
    assert all(0.885 <= times / nights <= 0.985 for times in covered.values()), covered


def test_a_sample_has_the_intervals_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = probabilities(np.random.default_rng(5), 20_000)
    all_ = paired(rows)
    monkeypatch.setattr("nocturne.truth.classes.SAMPLE", 2000)
    for name, found in paired(rows).items():
        assert found.value == all_[name].value
        widths = []
        for of in (found, all_[name]):
            assert of.low is not None
            assert of.high is not None
            widths.append(of.high - of.low)
        assert widths[0] == pytest.approx(widths[1], rel=0.3), name


def test_models_that_are_one_do_not_differ() -> None:
    champion, _, labels = probabilities(np.random.default_rng(6), 100)
    for found in paired((champion, champion, labels)).values():
        assert (found.value, found.low, found.high) == (0, 0, 0)


def test_what_only_one_of_them_has_is_not_compared() -> None:
    champion, _, labels = probabilities(np.random.default_rng(6), 100)
    assert paired((champion, champion * 5, labels)).keys() == {"auc", "average_precision"}
    assert paired((champion[:0], champion[:0], labels[:0])) == {}
    alone = paired((champion[:1], champion[:1], labels[:1]))
    assert {(found.low, found.high) for found in alone.values()} == {(None, None)}


def test_nights_are_pooled_by_student_s_t() -> None:
    nights = np.random.default_rng(7).normal(0.01, 0.02, 14)
    found = pooled(nights.tolist())
    expected = stats.t.interval(0.95, 13, nights.mean(), stats.sem(nights))
    assert found.value == pytest.approx(nights.mean())
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert pooled([0.25]) == Difference(0.25, None, None)
    with pytest.raises(InputError, match="got no night"):
        pooled([])
