"""The compiled loops give what their formulas in numpy give."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nocturne.profile.tally import spread, tally
from nocturne.records.buckets import BUCKETS, bucket

ANY = hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32))
WIDE = hnp.arrays(np.float64, st.integers(0, 50), elements=st.floats())


@given(ANY | WIDE, st.floats(-1e6, 1e6), st.integers(1, 60))
@example(np.array([2.22507386e-313, 0, 0, 0]), 0.0, 1)
def test_finite_values_are_counted_in_their_buckets(values, center, times) -> None:  # type: ignore[no-untyped-def]
    many = np.tile(values, times)  # also more than one part of the loop
    counts = np.zeros(BUCKETS, np.int64)
    finite, away = tally(many, center, counts)
    expected = many[np.isfinite(many)].astype(np.float64)
    assert finite == len(expected)
    assert (counts == np.bincount(bucket(expected, center), minlength=BUCKETS)).all()
    once = values[np.isfinite(values)].tolist()
    if once and max(map(abs, once)) * len(many) < 1e308:
        exact = sum(Fraction(value) - Fraction(center) for value in once) / len(once)
        largest = max(abs(Fraction(value)) for value in [*once, center])
        rounding = largest / 10**13 + Fraction(5e-324)  # the smallest number there is
        assert abs(Fraction(away) - exact) <= rounding


def test_what_tells_large_values_apart_is_kept() -> None:
    near = np.random.default_rng(5).normal(0, 1, 100_000)
    for center in (1e9, -1e12):
        values = near + center
        _, away = tally(values, center, np.zeros(BUCKETS, np.int64))
        assert away == pytest.approx((values - center).mean(), rel=1e-9)


def test_zeros_of_both_signs_share_a_bucket() -> None:
    counts = np.zeros(BUCKETS, np.int64)
    tally(np.array([-0.0, 0.0], np.float32), 0.0, counts)
    assert counts[0] == 2


def test_counts_are_added_to() -> None:
    counts = np.zeros(BUCKETS, np.int64)
    for _ in range(2):
        tally(np.ones(3000, np.float32), 1.0, counts)
    assert counts[0] == counts.sum() == 6000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_spread_is_around_the_mean(dtype: type) -> None:
    values = np.random.default_rng(5).normal(2013, 0.1, 10_000).astype(dtype)
    total, squares = spread(values)
    exact = values.astype(np.float64)
    assert total == pytest.approx(exact.sum(), rel=1e-12)
    assert squares == pytest.approx(((exact - exact.mean()) ** 2).sum(), rel=1e-9)


@example([0.0] * 18 + [1.0], 1e9, 55)
@example([0.0] * 40 + [0.5], 2.0**50, 60)
@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=50),
    st.sampled_from([0.0, 1e3, 1e9, -1e12, 2.0**50]),
    st.integers(1, 60),
)
def test_spread_is_exact_however_far_the_values_lie_from_zero(
    near: list[float], far: float, times: int
) -> None:
    values = np.array(near) + far
    total, squares = spread(np.tile(values, times))
    exact = [Fraction(value) for value in values.tolist()]
    mean = sum(exact) / len(exact)
    expected = times * sum((value - mean) ** 2 for value in exact)
    assert squares == pytest.approx(float(expected), rel=1e-10)
    assert total == pytest.approx(
        float(times * sum(exact)), abs=1e-12 * float(sum(map(abs, exact)))
    )


def test_spread_of_what_overflows_is_infinite_or_no_number() -> None:
    assert spread(np.array([1e308, -1e308, 3.0])) == (3.0, np.inf)
    total, squares = spread(np.array([np.inf, 1.0]))
    assert total == np.inf
    assert np.isnan(squares)


def test_without_a_place_to_keep_what_is_compiled_it_is_compiled_all_the_same() -> None:
    code = (
        "import numpy as np; from nocturne.profile.tally import spread; "
        "print(spread(np.array([1.0, 3.0])))"
    )
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "_UserProvidedCacheLocator", "NUMBA_CACHE_DIR": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **nowhere}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "(4.0, 2.0)", done.stderr
