"""Equal keys have equal hashes, whatever form they come in; others hardly ever."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from nocturne.columns.key_hashes import key_hashes


@pytest.mark.parametrize(
    "column",
    [
        pa.array([3, 1, 3, 2], pa.int64()),
        pa.array([3, 1, 3, 2], pa.uint8()),
        pa.array(["b", "", "b", "bb"]),
        pa.array(["b", "", "b", "bb"], pa.large_string()),
        pa.array(["b", "", "b", "bb"]).dictionary_encode(),
        pa.array([b"\x00", b"", b"\x00", b"\x00\x00"]),
        pa.array([b"\xff\x00", b"\x00\xff", b"\xff\x00", b"\xff\xff"], pa.binary(2)),
        pa.array([b"\xff", b"", b"\xff", b"\xfe"], pa.binary_view()),
        pa.array(["b", "", "b", "bb"], pa.string_view()),
        pa.array([0.0, 1.5, -0.0, 2.5]),
        pa.array([dt.datetime(2024, 1, d) for d in (3, 1, 3, 2)]),
        pa.array([dt.date(2024, 1, d) for d in (3, 1, 3, 2)]),
    ],
)
def test_equal_values_and_only_they_have_equal_hashes(column: pa.Array) -> None:
    found = key_hashes([column])
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 3
    assert (key_hashes([column.slice(1)]) == found[1:]).all(), "a slice has its own offset"


def test_columns_do_not_commute() -> None:
    one, other = pa.array([1, 2]), pa.array([2, 1])
    assert set(key_hashes([one, other])) & set(key_hashes([other, one])) != set()
    assert (key_hashes([one, other]) != key_hashes([other, one])).all()


def test_a_million_keys_have_a_million_hashes() -> None:
    number = pa.array(np.arange(1 << 20))
    pair = [pa.array(np.arange(1 << 20) // 1000), pa.array(np.arange(1 << 20) % 1000)]
    for columns in ([number], pair, [number.cast(pa.string())]):
        assert len(np.unique(key_hashes(columns))) == 1 << 20
