"""What a replay calls bit-equal is so to the last bit, and NaN is the same as NaN."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from nocturne.operate.verify import _column_difference, _same_values

NAN, INF = float("nan"), float("inf")
PAIR = pa.struct([("a", pa.float32()), ("b", pa.string())])


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (pa.float64(), [1.5, NAN, None, -0.0, INF]),
        (pa.float32(), [1.5, NAN, None, -0.0]),
        (pa.list_(pa.float32()), [[NAN, 1.0], None, [], [None, -0.0]]),
        (pa.list_(pa.float64(), 2), [[NAN, 1.0], [0.0, -0.0]]),
        (PAIR, [{"a": NAN, "b": "x"}, None, {"a": 1.0, "b": None}]),
        (pa.map_(pa.string(), pa.float64()), [[("k", NAN)], None, []]),
        (pa.dictionary(pa.int32(), pa.string()), ["x", None, "y"]),
        (pa.string(), ["x", None]),
    ],
)
def test_the_same_is_the_same_however_it_is_chunked(
    type_: pa.DataType, values: list[object]
) -> None:
    whole = pa.chunked_array([pa.array(values, type_)])
    parts = pa.chunked_array([pa.array([v], type_) for v in values])
    sliced = pa.chunked_array([pa.array([values[0], *values], type_)[1:]])
    assert _same_values(whole, parts)
    assert _same_values(whole, sliced)
    other = pa.chunked_array([pa.array([*values[1:], values[0]], type_)])
    assert not _same_values(whole, other)


def test_float16_has_bits_too() -> None:
    one = pa.chunked_array([pa.array(np.array([1, NAN, -0.0], dtype=np.float16))])
    two = pa.chunked_array([pa.array(np.array([1, NAN, 0.0], dtype=np.float16))])
    assert _same_values(one, one)
    assert not _same_values(one, two)


@pytest.mark.parametrize(
    ("one", "two"), [(0.0, -0.0), (INF, -INF), (INF, 1.0), (NAN, 1.0), (NAN, None), (None, 0.0)]
)
def test_other_bits_are_other(one: float | None, two: float | None) -> None:
    for type_ in (pa.float32(), pa.float64()):
        a, b = (pa.chunked_array([pa.array([v, 1.0], type_)]) for v in (one, two))
        assert not _same_values(a, b)
        within = {one, two} == {0.0}
        assert (_column_difference(a, b) is None) == within
