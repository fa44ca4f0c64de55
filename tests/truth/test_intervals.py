"""Intervals cover as often as they say, whatever they are of."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nocturne.truth import Tally

Rows = tuple[Any, Any]


def classes(random: np.random.Generator, n: int) -> Rows:
    labels = random.random(n) < 0.3
    logit = random.normal(labels * 1.0, 1.0) - 0.5 + np.log(0.3 / 0.7)
    return 1 / (1 + np.exp(-logit)), labels


def numbers(random: np.random.Generator, n: int) -> Rows:
    actual = random.normal(size=n)
    return actual + random.normal(0.2, 1.0, n), actual


def multiclass(random: np.random.Generator, n: int) -> Rows:
    actual = random.choice(3, n, p=[0.6, 0.3, 0.1])
    predicted = np.where(random.random(n) < 0.6, actual, random.choice(3, n))
    return pa.array(predicted).cast(pa.string()), pa.array(actual).cast(pa.string())


FIGURES = {
    "classes": (classes, {"average_precision", "brier", "log_loss", "accuracy"}),
    "numbers": (numbers, {"mae", "rmse", "bias", "pinball"}),
    "multiclass": (multiclass, {"accuracy", "macro_f1"}),
}


def figures(kind: Any, rows: Rows, weights: Any = None, **more: Any) -> dict[str, float]:
    quantile = 0.7 if kind == "numbers" else None
    found = Tally(kind, quantile=quantile, **more)
    found.add(*rows, weights)
    return found.figures()


@pytest.mark.long
@pytest.mark.parametrize("kind", FIGURES)
def test_the_bootstrap_covers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, names = FIGURES[kind]
    names = names | {"auc"} if kind == "classes" else names
    random = np.random.default_rng(11)
    with monkeypatch.context() as patch:
        patch.setattr("nocturne.truth.bootstrap.REPLICATES", 2)
        true = figures(kind, draw(random, 1_000_000))
    covered: Counter[str] = Counter()
    nights = 250
    for night in range(nights):
        weights = 0.5 + random.random(300) if night % 2 else None  # of chance: they change nothing
        found = figures(kind, draw(random, 300), weights, seed=night)
        for name in names:
            covered[name] += found[f"{name}_low"] <= true[name] <= found[f"{name}_high"]
    assert all(0.885 <= covered[name] / nights <= 0.985 for name in names), covered


def test_that_of_the_auc_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nocturne.truth.bootstrap.REPLICATES", 4)
    random = np.random.default_rng(3)
    true = 0.5 * (1 + 0.5204998778130465)  # of normals one apart: Phi(1 / sqrt(2))
    covered = 0
    for _ in range(1000):
        found = figures("classes", classes(random, 300))
        covered += found["auc_low"] <= true <= found["auc_high"]
    assert 930 <= covered <= 970


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_a_sample_has_the_intervals_of_all_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, names = FIGURES[kind]
    rows = draw(np.random.default_rng(5), 20_000)
    all_ = figures(kind, rows)
    for room in ("classes", "numbers"):
        monkeypatch.setattr(f"nocturne.truth.{room}.SAMPLE", 2000)
    found = figures(kind, rows)
    for name in names:
        assert found[name] == all_[name]
        widths = [of[f"{name}_high"] - of[f"{name}_low"] for of in (found, all_)]
        assert widths[0] == pytest.approx(widths[1], rel=0.2)
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]


def test_of_a_rare_class_all_rows_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A uniform sample would have about five of the hundred positives."""
    random = np.random.default_rng(6)
    labels = np.arange(20_000) < 100
    scores = 1 / (1 + np.exp(5 - random.normal(labels * 3.0, 1.0)))
    all_ = figures("classes", (scores, labels))
    monkeypatch.setattr("nocturne.truth.classes.SAMPLE", 1000)
    found = figures("classes", (scores, labels))
    for name in ("brier", "log_loss"):
        widths = [of[f"{name}_high"] - of[f"{name}_low"] for of in (found, all_)]
        assert widths[0] == pytest.approx(widths[1], rel=0.2)


@pytest.mark.parametrize("kind", ["classes", "multiclass"])
def test_a_few_heavy_rows_decide_as_they_weigh(kind: str) -> None:
    """Of the share of right rows, the standard error is known."""
    random = np.random.default_rng(9)
    weights = np.where(random.random(20_000) < 0.05, 50.0, 0.1)
    right = random.random(20_000) < 0.7
    texts = (pa.array(right).cast(pa.string()), pa.array(["true"] * 20_000))
    rows = texts if kind == "multiclass" else (right.astype(float), np.full(20_000, True))
    found = figures(kind, rows, weights)
    apart = right - np.average(right, weights=weights)
    expected = 2 * 1.96 * np.sqrt(np.square(weights * apart).sum()) / weights.sum()
    assert found["accuracy_high"] - found["accuracy_low"] == pytest.approx(expected, rel=0.15)


def test_they_depend_on_the_seed_alone() -> None:
    rows = classes(np.random.default_rng(7), 300)
    assert figures("classes", rows) == figures("classes", rows)
    assert figures("classes", rows) != figures("classes", rows, seed=1)


def test_a_single_row_has_none() -> None:
    for kind, (draw, _) in FIGURES.items():
        found = figures(kind, draw(np.random.default_rng(8), 1))
        assert not [name for name in found if name.endswith(("_low", "_high"))]
