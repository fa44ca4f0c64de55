"""The comparison of two arms: exact where it says so, else within the error that it says."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from nocturne.codec import dump, load
from nocturne.profile.comparing import (
    FARTHEST,
    Comparer,
    merged,
    pearson,
    spearman,
    top_overlap,
)
from nocturne.records.comparison import Comparison

scores = st.none() | st.floats(-1e6, 1e6, width=32)
rows = st.lists(st.tuples(scores, scores), min_size=1, max_size=80)


def counted(
    pairs: list[tuple[float | None, float | None]], cuts: list[int], first: int = 0
) -> Comparison:
    """The rows counted in parts of batches, whose results are merged."""
    parts = []
    places = [0, *sorted(min(cut, len(pairs)) for cut in cuts), len(pairs)]
    for start, stop in itertools.pairwise(places):
        comparer = Comparer(threshold=0.5, top=5, centers=(0.5, 0.0))
        part = pairs[start:stop]
        for middle in (part[: len(part) // 2], part[len(part) // 2 :]):
            columns = [pa.array([p[i] for p in middle], pa.float32()) for i in (0, 1)]
            keys = pa.array(range(first + start, first + start + len(middle)))
            comparer.update(*columns, [keys])
            start += len(middle)
        parts.append(load(Comparison, dump(comparer.result())))
    found = merged(parts)
    assert found is not None
    return found


@given(rows, st.lists(st.integers(0, 80), max_size=4))
@example([(0.5, 0.5), (0.5, None), (None, None)], [])
def test_sums_and_rows_by_name_are_exact_however_the_rows_are_cut(
    pairs: list[tuple[float | None, float | None]], cuts: list[int]
) -> None:
    found = counted(pairs, cuts)
    both = [(i, a, b) for i, (a, b) in enumerate(pairs) if a is not None and b is not None]
    a, b = (np.array([row[i] for row in both], np.float64) for i in (1, 2))
    assert found.rows == len(both)
    assert found.only_champion == sum(b is None and a is not None for a, b in pairs)
    assert found.only_challenger == sum(a is None and b is not None for a, b in pairs)
    assert sum(found.above) == len(both)
    assert found.above[0] == ((a >= 0.5) & (b >= 0.5)).sum()
    assert found.above[1] == ((a >= 0.5) & (b < 0.5)).sum()
    assert sum(found.joint.values()) == len(both)
    if not both:
        return
    near = {"rel": 1e-9, "abs": 1e-9 * max(1, np.abs([*a, *b]).max()) ** 2 * len(a)}
    assert found.same == (a == b).sum()
    assert found.champion == pytest.approx(a.mean(), **near)
    assert found.absolute == pytest.approx(np.abs(a - b).sum(), **near)
    assert found.squared == pytest.approx(((a - b) ** 2).sum(), **near)
    assert found.products == pytest.approx(((a - a.mean()) * (b - b.mean())).sum(), **near)
    greatest = sorted(both, key=lambda row: -row[1])[:5]
    assert [(p.keys, p.champion) for p in found.greatest[0]] == [
        ((str(i),), x) for i, x, _ in greatest
    ]
    apart = sorted((row for row in both if row[1] != row[2]), key=lambda r: -abs(r[1] - r[2]))
    distances = [abs(x - y) for _, x, y in apart[:FARTHEST]]
    assert [abs(p.champion - p.challenger) for p in found.farthest] == distances


@pytest.mark.parametrize("kind", ["probabilities", "logits", "far from the centre", "few"])
@pytest.mark.parametrize("alike", [0.0, 0.9, 1.0, -1.0])
def test_the_rank_correlation_is_within_its_error_and_the_correlation_exact(
    kind: str, alike: float
) -> None:
    random = np.random.default_rng(5)
    rows = 12 if kind == "few" else 20_000
    x, noise = random.standard_normal((2, rows))
    y = alike * x + np.sqrt(1 - alike**2) * noise
    if kind == "probabilities":
        x, y = (1 / (1 + np.exp(-v)) for v in (x, y))
    elif kind == "far from the centre":
        x, y = x + 40, y + 40
    a, b = (v.astype(np.float32) for v in (x, y))
    found = counted(list(zip(a.tolist(), b.tolist(), strict=True)), [rows // 3, rows // 2])
    exact = pearson(found)
    assert exact == pytest.approx(np.corrcoef(a.astype(float), b.astype(float))[0, 1], abs=1e-9)
    rank = spearman(found)
    assert rank is not None
    assert abs(rank.value - stats.spearmanr(a, b).statistic) <= rank.error + 1e-12
    most = {"probabilities": 0.03, "logits": 0.03, "few": 0.5}.get(kind, 0.7)
    assert rank.error < most


def test_nothing_to_correlate_is_said_and_not_made_up() -> None:
    same = counted([(0.5, 0.1), (0.5, 0.2)], [])
    assert pearson(same) is None
    assert spearman(same) is None
    nothing = counted([(None, 0.1)], [])
    assert (pearson(nothing), spearman(nothing), top_overlap(nothing)) == (None, None, None)
    assert merged([]) is None


def test_the_overlap_of_the_greatest_is_that_of_their_keys() -> None:
    up = [(float(i), float(i)) for i in range(10)]
    assert top_overlap(counted(up, [3, 7])) == 1.0
    shifted = [(float(i), float((i + 3) % 10)) for i in range(10)]
    assert top_overlap(counted(shifted, [4])) == pytest.approx(2 / 5)
