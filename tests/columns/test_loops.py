"""What the compiled loops give is, bit by bit, what Arrow and numpy give in several steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nocturne.columns.loops import Floats, present

any_float = st.floats(width=32) | st.sampled_from([0.0, -0.0, float("inf"), 3e38, 5e-324])
columns = st.lists(st.none() | any_float, max_size=70)
KINDS = [pa.float32(), pa.float64()]


@given(columns, st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9))
@example([None] * 9, pa.float32(), 0, 0)
def test_present_values_are_those_that_arrow_keeps(
    values: list[float | None], kind: pa.DataType, first: int, less: int
) -> None:
    column = pa.array(values, kind).slice(first, max(0, len(values) - first - less))
    found, expected = present(column), column.drop_null()
    assert found.type == expected.type
    assert found.to_numpy().tobytes() == expected.to_numpy().tobytes()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 2**62], pa.int64()),
        pa.array([1, None, -3], pa.int32()),
        pa.array([1, None, 3], pa.int8()),
        pa.array([True, None]),
        pa.array(["a", None]),
        pa.array(["a", None]).dictionary_encode(),
        pa.array([1, None], pa.timestamp("us")),
        pa.nulls(3, pa.float64()),
        pa.array([], pa.float32()),
    ],
    ids=lambda column: str(column.type),
)
def test_present_values_of_any_type_are_those_that_arrow_keeps(column: pa.Array) -> None:
    assert present(column).equals(column.drop_null())
    assert present(column.slice(1)).equals(column.slice(1).drop_null())


def by_numpy(column: pa.Array, fill: float, center: float, scale: float, dtype: Any) -> Any:
    values = column.to_numpy(zero_copy_only=False)
    with np.errstate(all="ignore"):
        values = np.where(np.isnan(values), values.dtype.type(fill), values)
        return ((values - values.dtype.type(center)) / values.dtype.type(scale)).astype(dtype)


@given(
    columns,
    st.sampled_from(KINDS),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 9),
    st.tuples(st.floats(), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)),
)
@example([1.0, None], pa.float32(), "float32", 0, (1e300, 0.1, 3.0))
@example([1.0, 2.0], pa.float64(), "float32", 1, (float("nan"), 0.1, 0.0))
def test_scaled_floats_are_numpys(
    values: list[float | None],
    kind: pa.DataType,
    dtype: str,
    first: int,
    scaling: tuple[float, float, float],
) -> None:
    column = pa.array(values, kind).slice(first)
    out = np.full((len(column), 2), 7, dtype)
    half = len(column) // 2
    floats = Floats(column, *scaling)
    floats.write(out[:half], 1, 0)
    floats.write(out[half:], 1, half)
    expected = by_numpy(column, *scaling, dtype)
    assert (out[:, 0] == 7).all()
    np.testing.assert_array_equal(out[:, 1], expected)
    there = ~np.isnan(expected)
    assert (np.signbit(out[there, 1]) == np.signbit(expected[there])).all()
