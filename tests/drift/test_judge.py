"""Judging a night: thresholds from training days, worst first, nothing silently skipped."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chi2, wasserstein_distance

from nocturne import contract
from nocturne.codec import dump, load
from nocturne.drift import METRICS, build_baseline, judge
from nocturne.drift.threshold import calibrated, reference, sampling_noise, threshold
from nocturne.errors import ModelError, StateError
from nocturne.profile import TableProfiler
from nocturne.records.drift import Baseline
from nocturne.records.profile import Profile

Profiling = Callable[..., Profile]


def day(profiled: Profiling, seed: int, shift: float = 0, spread: float = 0) -> Profile:
    """900 flights: a temperature whose mean differs from day to day, a carrier, a score."""
    rng = np.random.default_rng(seed)
    return profiled(
        temp=rng.normal(40 + 10 * spread * rng.normal() + 10 * shift, 10, 900),
        carrier=rng.choice(["AA", "B6", "UA"], 900).tolist(),
        score=rng.beta(2, 5, 900),
        centers={"temp": 40.0, "score": 0.25},
    )


@pytest.fixture
def steady(profiled: Profiling) -> Baseline:
    return build_baseline({f"d{i:02}": day(profiled, i) for i in range(30)}, ["score"])


@pytest.fixture
def restless(profiled: Profiling) -> Baseline:
    parts = {f"d{i:02}": day(profiled, i, spread=1) for i in range(30)}
    return build_baseline(parts, ["score"])


def test_an_ordinary_night_raises_no_alarm(profiled: Profiling, steady: Baseline) -> None:
    result = judge(day(profiled, 99), steady, floor=0.02)
    assert {f.column for f in result.columns} == {"temp", "carrier", "score"}
    assert (result.alarmed, result.note) == ((), "")


def test_a_shifted_feature_is_alarmed_and_comes_first(
    profiled: Profiling, steady: Baseline
) -> None:
    result = judge(day(profiled, 99, shift=1), steady, floor=0.02)
    assert [f.column for f in result.alarmed] == ["temp"]
    assert result.columns[0].column == "temp"


def test_the_same_shift_is_no_alarm_where_training_days_moved_as_much(
    profiled: Profiling, restless: Baseline
) -> None:
    night = judge(day(profiled, 99, shift=1), restless, floor=0.02).columns
    temp = next(f for f in night if f.column == "temp")
    assert temp.psi > 0.25
    assert not temp.alarmed


def test_columns_are_ordered_by_psi_over_threshold(profiled: Profiling, steady: Baseline) -> None:
    columns = judge(day(profiled, 99, shift=0.2), steady, floor=0.02).columns
    ratios = [f.excess for f in columns]
    assert ratios == sorted(ratios, reverse=True)


def test_every_number_of_a_feature_follows_from_its_counts(
    profiled: Profiling, steady: Baseline
) -> None:
    for feature in judge(day(profiled, 99), steady, floor=0.02).columns:
        reference = steady.columns[feature.column].counts
        assert sum(feature.counts) == 900
        assert feature.metrics.keys() == METRICS.keys()
        for name, metric in METRICS.items():
            fits = feature.kind in metric.kinds
            if not metric.positions:
                expected = metric.measure(reference, feature.counts) if fits else 0
                assert feature.metrics[name] == expected
        assert feature.psi == feature.metrics["psi"]
        assert feature.is_output == (feature.column == "score")


def test_a_training_day_is_compared_with_the_others_only(restless: Baseline) -> None:
    column = restless.columns["temp"]
    whole = np.array(column.counts)
    days = [np.array(counts) for counts in column.partitions.values()]
    apart = reference(column).apart
    assert list(apart) == [METRICS["psi"].measure(whole - part, part) for part in days]
    assert max(apart) > max(METRICS["psi"].measure(whole, part) for part in days)


def test_from_a_hundred_training_partitions_on_it_is_their_99th_percentile(
    profiled: Profiling,
) -> None:
    parts = {f"d{i:03}": profiled(x=np.random.default_rng(i).normal(size=50)) for i in range(100)}
    column = build_baseline(parts, []).columns["x"]
    whole = np.array(column.counts)
    values = [METRICS["psi"].measure(whole - np.array(c), c) for c in column.partitions.values()]
    found = calibrated(reference(column).apart)
    assert found == pytest.approx(np.quantile(values, 0.99))
    assert found < max(values)


def test_a_single_training_partition_leaves_nothing_out(profiled: Profiling) -> None:
    column = build_baseline({"d": profiled(x=[1.0, 2.0])}, []).columns["x"]
    assert calibrated(reference(column).apart) == 0


def test_sampling_noise_is_the_chi_square_law_over_the_bins_in_use(steady: Baseline) -> None:
    column = steady.columns["carrier"]
    expected = chi2.ppf(0.99, 3 - 1) * (1 / 900 + 1 / 27_000)
    assert sampling_noise(column.counts, (300, 300, 300, 0, 0)) == pytest.approx(expected)


def test_samples_of_one_distribution_exceed_sampling_noise_once_in_a_hundred(
    profiled: Profiling,
) -> None:
    rng = np.random.default_rng(5)
    column = build_baseline({"d": profiled(x=rng.normal(size=20_000))}, []).columns["x"]
    inner = np.array(column.counts[1:-3]) / 20_000
    nights = rng.multinomial(900, inner, size=2000)
    vectors = [(0, *(int(n) for n in night), 0, 0, 0) for night in nights]
    above = sum(
        METRICS["psi"].measure(column.counts, v) > sampling_noise(column.counts, v) for v in vectors
    )
    assert 4 <= above <= 50


def test_the_floor_is_the_least_threshold(steady: Baseline) -> None:
    assert threshold(reference(steady.columns["carrier"]), (300, 300, 300, 0, 0), 0.7) == 0.7


def test_new_categories_are_counted_and_named_most_frequent_first(profiled: Profiling) -> None:
    baseline = build_baseline({"d": profiled(c=["AA"] * 90 + ["UA"] * 10)}, [])
    result = judge(profiled(c=["AA"] * 7 + ["ZZ"] * 2 + ["YY"]), baseline, floor=0.02)
    assert result.columns[0].new_values == ("ZZ", "YY")
    assert result.columns[0].new_rate == pytest.approx(0.3)


def test_a_known_category_without_a_bin_is_not_new(profiled: Profiling) -> None:
    values = [f"v{i:02}" for i in range(60)]
    baseline = build_baseline({"d": profiled(c=values)}, [])
    (feature,) = judge(profiled(c=values), baseline, floor=0.02).columns
    assert (feature.new_rate, feature.new_values) == (0, ())


def test_null_rates_are_told_and_more_nulls_are_drift(profiled: Profiling) -> None:
    baseline = build_baseline({"d": profiled(x=[1.0] * 98 + [None, float("nan")])}, [])
    (feature,) = judge(profiled(x=[1.0] * 70 + [None] * 30), baseline, floor=0.02).columns
    assert (feature.null_rate, feature.baseline_null_rate) == (0.3, 0.02)
    assert feature.alarmed


def test_a_column_that_was_constant_in_training_alarms_when_it_changes(
    profiled: Profiling,
) -> None:
    baseline = build_baseline({"d": profiled(year=[2013.0] * 100, centers={"year": 2013.0})}, [])
    night = profiled(year=[2014.0] * 100, centers={"year": 2013.0})
    assert judge(night, baseline, floor=0.02).alarmed


def test_without_a_baseline_the_note_says_how_to_log_one(profiled: Profiling) -> None:
    result = judge(profiled(x=[1.0]), None, floor=0.02)
    assert result.columns == ()
    assert "no baseline" in result.note
    assert "build_baseline" in result.note
    assert "baseline.json" in result.note


def test_columns_on_one_side_only_are_named_in_the_note(profiled: Profiling) -> None:
    baseline = build_baseline({"d": profiled(x=[1.0], gone=[1.0])}, [])
    note = judge(profiled(x=[1.0], added=[1.0]), baseline, floor=0.02).note
    assert "In the data but not in the baseline: added." in note
    assert "In the baseline but not in the data: gone." in note


def test_a_column_that_changed_its_kind_or_has_no_rows_is_named_in_the_note(
    profiled: Profiling,
) -> None:
    baseline = build_baseline({"d": profiled(x=[1.0], y=[1.0])}, [])
    note = judge(profiled(x=["one"]), baseline, floor=0.02).note
    assert "Not comparable: 'x' (now category, numeric in training)." in note
    empty = judge(profiled(x=np.array([]), y=np.array([])), baseline, floor=0.02)
    assert "'x' (no rows), 'y' (no rows)" in empty.note


def test_the_note_says_where_new_values_may_be_known_ones(profiled: Profiling) -> None:
    values = [f"v{i}" for i in range(10_001)]
    baseline = build_baseline({"d": profiled(tail=values)}, [])
    assert (
        "rare known ones may count as new: tail."
        in judge(profiled(tail=values), baseline, floor=0.02).note
    )


def test_counts_around_another_centre_are_refused(profiled: Profiling) -> None:
    baseline = build_baseline({"d": profiled(x=[1.0], centers={"x": 1.0})}, [])
    with pytest.raises(StateError, match=r"'x' was counted around 0\.0, its baseline around 1\.0"):
        judge(profiled(x=[1.0]), baseline, floor=0.02)


def test_a_baseline_of_another_version_is_refused(profiled: Profiling) -> None:
    baseline = replace(build_baseline({"d": profiled(x=[1.0])}, []), version=2)
    with pytest.raises(ModelError, match="of version 2; expected 1"):
        judge(profiled(x=[1.0]), baseline, floor=0.02)


def weekly(profiled: Profiling, date: dt.date, seed: int, shift: float = 0) -> Profile:
    """A day whose temperature is another on weekends."""
    return day(profiled, seed, shift=shift + (2 if date.weekday() >= 5 else 0))


def a_quarter(profiled: Profiling, weeks: int) -> Baseline:
    days = [dt.date(2024, 1, 1) + dt.timedelta(n) for n in range(7 * weeks)]
    parts = {d.isoformat(): weekly(profiled, d, n) for n, d in enumerate(days)}
    return build_baseline(parts, ["score"])


def test_a_night_is_compared_with_its_weekday_where_training_has_enough(
    profiled: Profiling,
) -> None:
    """A Monday as warm as a Sunday is news, though as warm a day was in training."""
    baseline, monday = a_quarter(profiled, 6), dt.date(2024, 3, 4)
    warm = weekly(profiled, monday, 99, shift=2)
    assert [f.column for f in judge(warm, baseline, floor=0.02, day=monday).alarmed] == ["temp"]
    sunday = judge(
        weekly(profiled, monday, 99, shift=2), baseline, floor=0.02, day=dt.date(2024, 3, 3)
    )
    assert sunday.alarmed == ()
    assert sunday.reference == "the 6 Sundays of the training data"


def test_with_fewer_it_is_compared_with_all_of_them(profiled: Profiling) -> None:
    monday = dt.date(2024, 3, 4)
    for baseline, date in ((a_quarter(profiled, 3), monday), (a_quarter(profiled, 6), None)):
        result = judge(weekly(profiled, monday, 99, shift=2), baseline, floor=0.02, day=date)
        assert result.alarmed == ()
        assert result.reference == "all training partitions"


def test_earlier_nights_that_count_as_ordinary_raise_the_threshold(
    profiled: Profiling, steady: Baseline
) -> None:
    night = day(profiled, 99, shift=1)
    [temp] = judge(night, steady, floor=0.02).alarmed
    accepted = {"temp": [temp.psi * 1.01]}
    assert judge(night, steady, floor=0.02, history=accepted).alarmed == ()


def test_a_feature_warns_and_the_score_or_a_share_of_the_features_pages(
    profiled: Profiling, steady: Baseline
) -> None:
    one = judge(day(profiled, 99, shift=1), steady, floor=0.02, page_share=0.6)
    assert (one.paged, one.share) == (False, 0.5)
    assert judge(day(profiled, 99, shift=1), steady, floor=0.02, page_share=0.5).paged
    matters = replace(steady, importance={"temp": 9.0, "carrier": 1.0})
    weighed = judge(day(profiled, 99, shift=1), matters, floor=0.02, page_share=0.6)
    assert (weighed.paged, weighed.share) == (True, 0.9)

    rng = np.random.default_rng(3)
    score = profiled(
        temp=rng.normal(40, 10, 900),
        score=rng.beta(5, 2, 900),
        centers={"temp": 40.0, "score": 0.25},
    )
    result = judge(score, steady, floor=0.02)
    assert [f.column for f in result.alarmed] == ["score"]
    assert result.paged


def test_how_far_a_column_moved_is_said_in_standard_deviations(
    profiled: Profiling, steady: Baseline
) -> None:
    night = judge(day(profiled, 99, shift=0.5), steady, floor=0.02).columns
    moved = {f.column: f.metrics["wasserstein"] for f in night}
    assert moved["temp"] == pytest.approx(0.5, abs=0.1)
    assert moved["score"] < 0.1
    assert moved["carrier"] == 0


RNG = np.random.default_rng(15)
NORMAL = RNG.normal(0, 1, 20_000)
WIDE = (NORMAL * 234).astype(int)
FAR = {
    "around zero": (NORMAL, NORMAL + 0.5),
    "a billion, deviation 1": (NORMAL + 1e9, NORMAL + 1e9 + 0.5),
    "2**50, deviation 1": (NORMAL + 2.0**50, NORMAL + 2.0**50 + 0.5),
    "float32 years": ((2013 + NORMAL / 8).astype("f4"), (2013 + (NORMAL + 0.5) / 8).astype("f4")),
    "0 and 1": ((NORMAL > 1) * 1.0, (NORMAL > 0.5) * 1.0),
    "tiny": (NORMAL * 1e-30, (NORMAL + 0.5) * 1e-30),
    "huge": (NORMAL * 1e30, (NORMAL + 0.5) * 1e30),
    "2**60, wide": (WIDE + (1 << 60), WIDE + (1 << 60) + 300),
    "2**60, narrow": (WIDE // 30 + (1 << 60), WIDE // 30 + (1 << 60) + 6),
    "2**63, unsigned": (
        np.array(NORMAL * 50, "i8").astype("u8") + np.uint64(1 << 63),
        np.array(NORMAL * 50 + 25, "i8").astype("u8") + np.uint64(1 << 63),
    ),
}


def _moved(trained: np.ndarray, now: np.ndarray) -> float:
    """What is said of a night, against the baseline that the training side makes and stores."""
    made = contract.baseline(pa.table({"x": trained}), pa.table({"p": NORMAL[: len(trained)]}))
    profiler = TableProfiler({"x": made.columns["x"].center})
    profiler.update(pa.RecordBatch.from_pydict({"x": now}))
    stored = load(Baseline, dump(made))
    return judge(profiler.result(), stored, floor=0.02).columns[0].metrics["wasserstein"]


def _exactly(trained: np.ndarray, now: np.ndarray) -> float:
    """scipy's distance and numpy's deviation, of differences that Python took exactly."""
    first = trained.tolist()[0]
    one, other = (np.array([float(v - first) for v in side.tolist()]) for side in (trained, now))
    scale = np.abs(one).max()
    return float(wasserstein_distance(one / scale, other / scale) / (one / scale).std())


@pytest.mark.parametrize("case", FAR)
def test_standard_deviations_are_right_however_large_the_values_are(case: str) -> None:
    trained, now = FAR[case]
    assert _moved(trained, now) == pytest.approx(_exactly(trained, now), rel=0.03)


@given(
    hnp.arrays(np.float64, st.integers(5, 40), elements=st.floats(-100, 100)),
    hnp.arrays(np.float64, st.integers(5, 40), elements=st.floats(-100, 100)),
    st.sampled_from([0.0, 1e6, -1e9]),
)
@settings(deadline=None, max_examples=50)
def test_they_are_those_of_scipy_and_numpy(one: np.ndarray, other: np.ndarray, far: float) -> None:
    """Off by as much as a bucket is wide, 3% of the distance from the centre, on both sides."""
    one, other = one + far, other + far
    assume(one.std() > 1e-3)
    center, exact = np.median(one), wasserstein_distance(one, other)
    width = 0.016 * (np.abs(one - center).mean() + np.abs(other - center).mean())
    off = (width + 0.023 * exact) / (0.977 * one.std())
    assert abs(_moved(one, other) - exact / one.std()) <= off + 1e-9


def test_a_constant_column_has_no_deviation_to_be_said_in() -> None:
    assert _moved(np.full(100, 0.1), np.full(100, 0.7)) == 0


def test_what_lies_beyond_all_buckets_still_has_a_distance() -> None:
    moved = _moved(np.array([1.0, 2.0, 3.0, 1e300]), np.array([1.0, 2.0, 1e300, 1e300]))
    assert moved == pytest.approx(0.25 / np.std([0, 0, 0, 1]))


def test_a_baseline_of_before_with_sums_is_judged_by_its_counts(
    profiled: Profiling, steady: Baseline
) -> None:
    """Its bins, counts and centre say all that is asked; sums of large numbers are not used."""
    then = json.loads(dump(steady))
    for column in then["columns"].values():
        del column["profile"]["away"]
        column["profile"] |= {"total": 1e12, "total_squares": 1e30}
    night = day(profiled, 99, shift=0.5)
    before = judge(night, load(Baseline, json.dumps(then)), floor=0.02)
    assert before == judge(night, steady, floor=0.02)
