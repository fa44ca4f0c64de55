"""A suite's values beside a column's."""

from __future__ import annotations

import pyarrow as pa
import pytest

from nocturne.columns.values import compare


@pytest.mark.parametrize(
    ("sign", "value", "expected"),
    [
        (">", -1000, [True, True, None]),
        ("<", 2**70, [True, True, None]),
        ("==", 0.5, [False, False, None]),
        (">=", 1.5, [False, True, None]),
    ],
)
def test_null_compares_with_nothing(sign: str, value: float, expected: list[bool | None]) -> None:
    assert compare(pa.array([1, 2, None], pa.int8()), sign, value).to_pylist() == expected
