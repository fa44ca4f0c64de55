"""Profiles: exact counts that are the same whatever the splits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nocturne import profile
from nocturne.buckets import BUCKETS, bucket, lower_bounds, rank
from nocturne.profile import accumulate
from nocturne.records import Profile, dump, load

CENTERS: dict[str, float | None] = {"x": 1.5, "word": None}


def _profile(table: pa.Table, pieces: int = 1) -> Profile:
    size = max(1, -(-len(table) // pieces))
    parts = []
    for start in range(0, max(1, len(table)), size):
        profiler = profile.TableProfiler(CENTERS, {"word": ["a", "<script>"]})
        for batch in table.slice(start, size).to_batches(max_chunksize=7):
            profiler.update(batch)
        parts.append(profiler.result())
    return profile.merge(parts)


floats = st.floats(width=32) | st.none()
words = st.sampled_from(["a", "b", "<script>", ""]) | st.none()


@given(st.lists(st.tuples(floats, words), max_size=60), st.integers(1, 9))
def test_counts_do_not_depend_on_the_splits(rows, pieces: int) -> None:  # type: ignore[no-untyped-def]
    table = pa.table(
        {
            "x": pa.array([r[0] for r in rows], pa.float32(), from_pandas=False),
            "word": pa.array([r[1] for r in rows], pa.string()),
        }
    )
    whole, parts = _profile(table), _profile(table, pieces)
    for name in CENTERS:
        one, other = whole.columns[name], parts.columns[name]
        assert (one.counts, one.null, one.nan) == (other.counts, other.null, other.nan)
        assert (one.minimum, one.maximum) == (other.minimum, other.maximum)
        assert sum(one.counts.values()) + one.null + one.nan + one.other == len(rows)
    assert load(Profile, dump(whole)) == whole
    for value in ("a", "<script>"):
        segment = whole.segments[f"word={value}"]
        mine = _profile(table.filter(pc.equal(table["word"], value)))
        assert segment.columns["x"].counts == parts.segments[f"word={value}"].columns["x"].counts
        assert segment.columns["x"].counts == mine.columns["x"].counts
        assert segment.rows == mine.rows


finite = hnp.arrays(
    np.float32, st.integers(1, 50), elements=st.floats(-(2.0**100), 2.0**100, width=32)
)


@given(finite, st.floats(-1e6, 1e6))
def test_buckets_keep_the_order_of_values(values, center: float) -> None:  # type: ignore[no-untyped-def]
    order = np.argsort(values, kind="stable")
    ranks = rank(bucket(values.astype(np.float64), center))[order]
    assert (np.diff(ranks) >= 0).all()
    assert (ranks >= 0).all()
    assert (ranks < BUCKETS).all()


@given(st.floats(-(2.0**100), 2.0**100, width=32))
def test_a_value_lies_between_the_bounds_of_its_bucket(value: float) -> None:
    positions = rank(bucket(np.array([value], dtype=np.float64), 0.0))
    assert lower_bounds(positions, 0.0)[0] <= value <= lower_bounds(positions + 1, 0.0)[0]


def test_rare_values_beyond_the_cap_count_as_other(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(accumulate, "MAX_VALUES", 2)
    table = pa.table({"word": ["a"] * 3 + ["b"] * 2 + ["c"]})
    word = _profile(table).columns["word"]
    assert word.counts == {"a": 3, "b": 2}
    assert word.other == 1


def test_of_very_many_values_the_frequent_are_counted_and_their_number_is_estimated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accumulate, "MAX_VALUES", 100)
    monkeypatch.setattr(accumulate, "_HELD", 1000)
    rng = np.random.default_rng(11)
    rare = [f"user {number}" for number in rng.integers(0, 20_000, 60_000)]
    values = rng.permutation([*rare, *["often"] * 3000, *["also"] * 1000]).tolist()
    table, parts = pa.table({"word": values}), []
    for start in range(0, len(table), 16_000):
        profiler = profile.TableProfiler({"word": None})
        for batch in table.slice(start, 16_000).to_batches(max_chunksize=500):
            profiler.update(batch)
            assert len(profiler.columns["word"].counts) <= 1500
        parts.append(profiler.result())
    word = profile.merge(parts).columns["word"]
    assert (word.counts["often"], word.counts["also"]) == (3000, 1000)
    assert len(word.counts) == 100
    assert sum(word.counts.values()) + word.other == len(values)
    assert word.distinct == pytest.approx(len(set(values)), rel=0.05)
    assert load(Profile, dump(parts[0])) == parts[0]


@pytest.mark.parametrize("pieces", [1, 5])
def test_the_number_of_values_does_not_depend_on_the_splits(
    monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(accumulate, "MAX_VALUES", 50)
    table = pa.table({"x": [0.0] * 100, "word": [f"{i}" for i in range(100)]})
    word = _profile(table, pieces).columns["word"]
    assert word.distinct == pytest.approx(100, abs=2)
    assert (len(word.counts), word.other) == (50, 50)


def test_moments_match_numpy() -> None:
    values = np.random.default_rng(3).normal(5, 2, 1000)
    x = _profile(pa.table({"x": values}), 4).columns["x"]
    np.testing.assert_allclose(x.total, values.sum())
    np.testing.assert_allclose(x.total_squares, (values**2).sum())


def test_numbers_in_a_dictionary_are_numbers() -> None:
    numbers = pa.array([3, 1, None, 3], pa.int64())
    plain, coded = (
        _profile(pa.table({"x": values, "word": ["a"] * 4})).columns["x"]
        for values in (numbers, numbers.dictionary_encode())
    )
    assert plain == coded
    assert (coded.minimum, coded.maximum, coded.null) == (1, 3, 1)
