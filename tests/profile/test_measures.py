"""Measures merged over batches."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.codec import dump, load
from nocturne.profile import Measurer
from nocturne.records.quality import Measure, Measured


def _counted(measure: Measure, *batches: pa.RecordBatch) -> Measured:
    measurer = Measurer([measure])
    for batch in batches:
        measurer.update(batch)
    return measurer.result()[measure.key]


def test_the_extremes_of_times_are_those_of_all_batches() -> None:
    measure = Measure("moments", ("t",))
    measurer = Measurer([measure])
    for days in ([], [3, 1], [2]):
        values = pa.array([dt.datetime(2024, 1, day) for day in days], pa.timestamp("us"))
        measurer.update(pa.record_batch({"t": values}))
    found = measurer.result()[measure.key]
    assert (found.rows, found.minimum, found.maximum) == (
        3,
        "2024-01-01T00:00:00",
        "2024-01-03T00:00:00",
    )


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1_700_000_000_000_000_000 + i for i in range(20)]),
        pa.array([-(2**63), -(2**63), -1, 7]),
        pa.array([2**64 - 1, 2**63, 5], pa.uint64()),
        pa.array([2**31 - 1, -(2**31), 4], pa.int32()),
        pa.array([True, False, True]),
    ],
)
def test_a_sum_of_integers_is_exact_beyond_64_bits(column: pa.Array) -> None:
    batches = [pa.record_batch({"x": column.slice(0, 2)}), pa.record_batch({"x": column.slice(2)})]
    found = _counted(Measure("moments", ("x",)), *batches)
    assert found.total == sum(column.to_pylist())
    assert load(Measured, dump(found)) == found


def test_zero_and_minus_zero_are_one_value() -> None:
    column = pa.array([0.0] * 5 + [1.0] * 3 + [-0.0])
    for batches in ([column], [column.slice(0, 5), column.slice(5)]):
        found = _counted(Measure("values", ("x",)), *(pa.record_batch({"x": b}) for b in batches))
        assert found.values == ((0.0, 6), (1.0, 3))


def test_the_extremes_of_times_are_instants_where_an_hour_comes_twice() -> None:
    times = [
        dt.datetime(2024, 10, 27, 0, 45, tzinfo=dt.UTC),
        dt.datetime(2024, 10, 27, 1, 15, tzinfo=dt.UTC),
    ]
    column = pa.array(times, pa.timestamp("us", "Europe/Berlin"))
    for ends in ((0, 1), (1, 0)):
        batches = [pa.record_batch({"t": column.slice(i, 1)}) for i in ends]
        found = _counted(Measure("moments", ("t",)), *batches)
        assert (found.minimum, found.maximum) == (
            "2024-10-27T02:45:00+02:00",
            "2024-10-27T02:15:00+01:00",
        )


def test_the_extremes_of_times_are_told_apart_to_the_nanosecond() -> None:
    column = pa.array([1_000, 1_001, 999, 0], pa.timestamp("ns", "UTC"))
    batches = [pa.record_batch({"t": column.slice(i, 1)}) for i in range(4)]
    found = _counted(Measure("moments", ("t",)), *batches)
    assert (found.minimum, found.maximum) == (
        "1970-01-01T00:00:00+00:00",
        "1970-01-01T00:00:00.000001001+00:00",
    )


NEAR = st.lists(st.integers(-1000, 1000), min_size=2, max_size=30)
FAR = {
    "int64": st.sampled_from([0, 1 << 53, (1 << 60) + 1, 1001 - (1 << 63)]),
    "uint64": st.sampled_from([1000, (1 << 63) + 7, (1 << 64) - 1001]),
    "double": st.sampled_from([0.0, 1e9, -(2.0**40)]),
}


@pytest.mark.parametrize("type_", FAR)
@given(near=NEAR, cut=st.integers(0, 30), data=st.data())
def test_a_deviation_is_right_however_far_from_zero_the_values_lie(
    type_: str, near: list[int], cut: int, data: st.DataObject
) -> None:
    far = data.draw(FAR[type_])
    column = pa.array([far + value for value in near], type_)
    batches = [pa.record_batch({"x": piece}) for piece in (column.slice(0, cut), column.slice(cut))]
    found = _counted(Measure("moments", ("x",)), *batches)
    exact = [Fraction(value) for value in column.to_pylist()]
    mean = sum(exact) / len(exact)
    squares = float(sum((value - mean) ** 2 for value in exact))
    assert found.squares == pytest.approx(squares, rel=1e-6, abs=1e-6 if type_ == "double" else 0)
    assert found.total == pytest.approx(float(sum(exact)), rel=1e-12, abs=1e-12)


def test_a_deviation_merged_over_many_batches_is_that_of_all_rows() -> None:
    values = np.random.default_rng(7).normal(1e9, 1, 50_000)
    found = _counted(
        Measure("moments", ("x",)),
        *pa.table({"x": values}).to_batches(max_chunksize=777),
    )
    assert found.squares == pytest.approx(((values - values.mean()) ** 2).sum(), rel=1e-6)
