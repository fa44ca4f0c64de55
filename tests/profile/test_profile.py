"""Profiles: exact counts that are the same whatever the splits."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nocturne import profile
from nocturne.codec import dump, load
from nocturne.profile import accumulate
from nocturne.records.buckets import BUCKETS, bucket, lower_bounds, rank
from nocturne.records.profile import ColumnProfile, Profile

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
    monkeypatch.setattr(accumulate, "_TOGETHER", 500 * 10)
    rng = np.random.default_rng(11)
    rare = [f"user {number}" for number in rng.integers(0, 20_000, 60_000)]
    values = rng.permutation([*rare, *["often"] * 3000, *["also"] * 1000]).tolist()
    table, parts = pa.table({"word": values}), []
    for start in range(0, len(table), 16_000):
        profiler = profile.TableProfiler({"word": None})
        for batch in table.slice(start, 16_000).to_batches(max_chunksize=500):
            profiler.update(batch)
            assert profiler.columns["word"].held <= 1000 + 2 * 500
        parts.append(profiler.result())
    word = profile.merge(parts).columns["word"]
    assert (word.counts["often"], word.counts["also"]) == (3000, 1000)
    assert len(word.counts) == 100
    assert sum(word.counts.values()) + word.other == len(values)
    assert word.distinct == pytest.approx(len(set(values)), rel=0.05)
    assert load(Profile, dump(parts[0])) == parts[0]


word_lists = st.lists(
    st.one_of(st.none(), st.sampled_from(["", "a", "b", "ä", "a long word"])), max_size=9
)


@given(
    st.lists(st.tuples(word_lists, st.booleans(), st.integers(0, 3)), max_size=6),
    st.integers(0, 60),
)
@example([(["b", "a", "b"], True, 0), (["a"], True, 1), (["b"], False, 0)], 0)
def test_words_are_counted_alike_in_dictionaries_and_plain(
    batches: list[tuple[list[str | None], bool, int]], together: int
) -> None:
    profiler = profile.TableProfiler({"word": None})
    expected: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accumulate, "_TOGETHER", together)
        for values, coded, skipped in batches:
            column = pa.array(values, pa.string())
            if coded:
                column = column.dictionary_encode()
            profiler.update(pa.record_batch({"word": column.slice(skipped)}))
            expected.update(v for v in values[skipped:] if v is not None)
    word = profiler.result().columns["word"]
    assert dict(word.counts) == dict(expected)
    assert list(word.counts) == sorted(expected)
    assert word.rows - word.null == expected.total()


@pytest.mark.parametrize("pieces", [1, 5])
def test_the_number_of_values_does_not_depend_on_the_splits(
    monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(accumulate, "MAX_VALUES", 50)
    table = pa.table({"x": [0.0] * 100, "word": [f"{i}" for i in range(100)]})
    word = _profile(table, pieces).columns["word"]
    assert word.distinct == pytest.approx(100, abs=2)
    assert (len(word.counts), word.other) == (50, 50)


numbers = hnp.arrays(
    np.float64, st.integers(1, 60), elements=st.floats(allow_nan=False, allow_infinity=False)
)


@example(np.array([5e-324, 0.0]), 0.0, 1)
@given(numbers, st.floats(-1e9, 1e9), st.integers(1, 9))
def test_a_mean_is_as_exact_as_its_column_and_centre(
    values: np.ndarray, center: float, pieces: int
) -> None:
    exact = sum(map(Fraction, values.tolist())) / len(values)
    x = _around(center, pa.array(values), pieces)
    assert x.mean is not None
    largest = Fraction(max(float(np.abs(values).max()), abs(center)))
    least = Fraction(math.ulp(0.0))  # to whole ones of it each merge rounds twice
    assert abs(Fraction(x.mean) - exact) <= largest / 10**14 + (pieces + 1) * least
    assert values.min() <= x.mean <= values.max()
    assert load(ColumnProfile, dump(x)) == x


@pytest.mark.parametrize("center", [0.0, 0.1, 0.5, 1e6])
@pytest.mark.parametrize("pieces", [1, 7])
def test_the_mean_of_a_constant_is_the_constant(center: float, pieces: int) -> None:
    assert _around(center, pa.array(np.full(10_000, 0.1)), pieces).mean == 0.1


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40), st.integers(1, 5))
def test_integers_beyond_float64_are_counted_exactly_around_an_integer(
    values: list[int], pieces: int
) -> None:
    center = sorted(values)[len(values) // 2]
    x = _around(center, pa.array(values, pa.int64()), pieces)
    expected = np.array([float(value - center) for value in values])  # Python's are exact
    places, counts = np.unique(bucket(expected, 0.0), return_counts=True)
    assert x.counts == {str(p): c for p, c in zip(places.tolist(), counts.tolist(), strict=True)}
    assert (x.minimum, x.maximum, x.center) == (min(values), max(values), center)
    assert type(load(ColumnProfile, dump(x)).center) is int
    assert x.away == pytest.approx(expected.mean(), rel=1e-9, abs=np.abs(expected).max() * 1e-14)


def test_a_float_centre_counts_them_as_baselines_of_before_were_counted() -> None:
    values = (1 << 60) + np.arange(-500, 500)
    x = _around(float(1 << 60), pa.array(values), 3)
    places = np.unique(bucket(values.astype(np.float64), float(1 << 60)))
    assert sorted(x.counts) == sorted(map(str, places.tolist()))


def test_a_record_with_sums_still_has_its_mean_and_merges_with_newer_ones() -> None:
    text = (
        '{"kind": "numeric", "rows": 4, "null": 1, "nan": 1, "center": 1.5, "total": 5.0, '
        '"counts": {"4064": 2}, "total_squares": 12.5, "minimum": 2.0, "maximum": 3.0}'
    )
    before = load(ColumnProfile, text)
    assert before.mean == 2.5
    now = _around(1.5, pa.array([4.0]), 1)
    both = profile.merge([Profile(4, {"x": before}), Profile(1, {"x": now})]).columns["x"]
    assert both.mean == 3.0
    assert both.counts == {"4064": 2, **now.counts}


def _around(center: float | int, values: pa.Array, pieces: int) -> ColumnProfile:
    size, parts = -(-len(values) // pieces), []
    for start in range(0, len(values), size):
        profiler = profile.TableProfiler({"x": center})
        for batch in pa.table({"x": values[start : start + size]}).to_batches(max_chunksize=1500):
            profiler.update(batch)
        parts.append(profiler.result())
    return profile.merge(parts).columns["x"]


def test_numbers_in_a_dictionary_are_numbers() -> None:
    numbers = pa.array([3, 1, None, 3], pa.int64())
    plain, coded = (
        _profile(pa.table({"x": values, "word": ["a"] * 4})).columns["x"]
        for values in (numbers, numbers.dictionary_encode())
    )
    assert plain == coded
    assert (coded.minimum, coded.maximum, coded.null) == (1, 3, 1)
