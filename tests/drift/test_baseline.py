"""Baselines: bins with exact counts, one vector for the whole and one a partition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.codec import dump, load
from nocturne.drift import build_baseline
from nocturne.drift.bins import count_vector, quantile_edges
from nocturne.errors import ModelError
from nocturne.profile import merge
from nocturne.records.buckets import bucket, rank
from nocturne.records.drift import Baseline
from nocturne.records.profile import ColumnProfile, Profile

Profiling = Callable[..., Profile]


def test_ten_quantile_bins_hold_about_a_tenth_of_the_rows_each(profiled: Profiling) -> None:
    rng = np.random.default_rng(1)
    parts = {f"d{i}": profiled(x=rng.normal(3, 2, 2000), centers={"x": 3.0}) for i in range(5)}
    below, *inside, above, other, missing = build_baseline(parts, []).columns["x"].counts
    assert len(inside) == 10
    assert np.allclose(np.array(inside) / 10_000, 0.1, atol=0.01)
    assert (below, above, other, missing) == (0, 0, 0, 0)


def test_partition_vectors_add_up_to_the_whole(profiled: Profiling) -> None:
    rng = np.random.default_rng(2)
    parts = {
        f"d{i}": profiled(x=rng.normal(i, 1, 300), c=rng.choice(["a", "b"], 300).tolist())
        for i in range(4)
    }
    for column in build_baseline(parts, []).columns.values():
        whole = np.sum(list(column.partitions.values()), axis=0)
        assert tuple(whole) == column.counts
        assert sum(column.counts) == 1200


def test_the_fine_counts_equal_the_merged_profile(profiled: Profiling) -> None:
    parts = {"a": profiled(x=[1.0, 2.0, None], c=["u", "v", None]), "b": profiled(x=[9.0], c=["u"])}
    merged = merge(list(parts.values()))
    baseline = build_baseline(parts, [])
    assert {n: c.profile for n, c in baseline.columns.items()} == merged.columns


def test_nulls_and_nan_share_the_last_entry(profiled: Profiling) -> None:
    part = profiled(x=[1.0, None, float("nan"), float("inf")], c=["a", None, None, "a"])
    columns = build_baseline({"d": part}, []).columns
    assert columns["x"].counts[-1] == 3
    assert columns["c"].counts[-1] == 2


def test_the_fifty_most_frequent_categories_have_bins_and_all_are_known(
    profiled: Profiling,
) -> None:
    values = [f"v{i:03}" for i in range(80) for _ in range(100 - i)]
    column = build_baseline({"d": profiled(c=values)}, []).columns["c"]
    assert column.values == tuple(f"v{i:03}" for i in range(50))
    assert len(column.known) == 80
    assert column.counts[-2] == sum(100 - i for i in range(50, 80))


def test_a_value_that_holds_most_rows_gets_a_bin_of_its_own(profiled: Profiling) -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([np.zeros(9000), rng.uniform(1, 2, 500), -rng.uniform(1, 2, 500)])
    assert 9000 in build_baseline({"d": profiled(x=values)}, []).columns["x"].counts


def test_a_constant_column_has_a_bin_on_either_side(profiled: Profiling) -> None:
    column = build_baseline({"d": profiled(x=[5.0] * 10, centers={"x": 5.0})}, []).columns["x"]
    assert column.counts == (0, 10, 0, 0, 0)


def test_a_column_without_values_has_nothing_but_nulls(profiled: Profiling) -> None:
    column = build_baseline({"d": profiled(x=[float("nan")] * 3)}, []).columns["x"]
    assert (column.edges, column.counts) == ((), (0, 0, 3))


@settings(max_examples=60)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=200), st.floats(-10, 10))
def test_every_row_is_in_the_bin_that_its_rank_says(values: list[float], center: float) -> None:
    ranks = rank(bucket(np.array(values), center))
    ids, counts = np.unique(bucket(np.array(values), center), return_counts=True)
    profile = ColumnProfile(
        "numeric", len(values), 0, {str(i): int(n) for i, n in zip(ids, counts, strict=True)}
    )
    edges = quantile_edges(profile)
    expected = [
        int(((ranks >= low) & (ranks < high)).sum())
        for low, high in zip((-1, *edges), (*edges, 1 << 20), strict=True)
    ]
    assert list(edges) == sorted(set(edges))
    assert count_vector(profile, edges, ()) == (*expected, 0, 0)
    assert all(expected[1:-1])


def test_outputs_come_last_and_empty_partitions_are_left_out(profiled: Profiling) -> None:
    parts = {"b": profiled(score=[0.5], x=[1.0]), "a": profiled(score=[], x=[])}
    baseline = build_baseline(parts, ["score"])
    assert list(baseline.columns) == ["x", "score"]
    assert baseline.outputs == ("score",)
    assert list(baseline.columns["x"].partitions) == ["b"]


def test_a_baseline_survives_json(profiled: Profiling) -> None:
    baseline = build_baseline({"d": profiled(x=[1.0, 2.0], c=["a", "é"])}, ["x"])
    assert load(Baseline, dump(baseline)) == baseline


def test_no_training_rows_are_refused(profiled: Profiling) -> None:
    with pytest.raises(ModelError, match="at least one training partition with rows; got 1"):
        build_baseline({"d": profiled(x=[])}, [])


def test_an_output_that_was_not_profiled_is_refused_with_what_there_is(
    profiled: Profiling,
) -> None:
    with pytest.raises(ModelError, match=r"output 'score' is in none .* which have x; profile"):
        build_baseline({"d": profiled(x=[1.0])}, ["score"])


def test_partitions_counted_around_different_centres_are_refused(profiled: Profiling) -> None:
    parts = {"a": profiled(x=[1.0], centers={"x": 1.0}), "b": profiled(x=[1.0])}
    with pytest.raises(ModelError, match="'x' was profiled as numeric around 0 and numeric around"):
        build_baseline(parts, [])


def test_a_column_of_two_kinds_is_refused(profiled: Profiling) -> None:
    parts = {"a": profiled(x=[1.0]), "b": profiled(x=["one"])}
    with pytest.raises(ModelError, match="category around 0 and numeric around 0; expected one"):
        build_baseline(parts, [])
