"""Text that is not UTF-8, though its column says so."""

from __future__ import annotations

import pyarrow as pa
import pytest

from conftest import text
from nocturne.columns.legible import legible

WORDS = [b"a", b"\xff\xfe", None, "\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), b"b\xe9"]
"""The second and the last are none."""


def dictionary() -> pa.Array:
    words = text([word for word in WORDS if word is not None])
    return pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 2, 3]), words)


@pytest.mark.parametrize(
    "column",
    [
        text(WORDS),
        text([b"before", *WORDS]).slice(1),
        dictionary(),
        pa.ListArray.from_arrays([0, 1, 2, 3, 4, 5], text(WORDS)),
        pa.StructArray.from_arrays([pa.array(range(5)), text(WORDS)], ["n", "t"]),
    ],
    ids=["text", "a part of it", "dictionary", "list", "struct"],
)
def test_text_that_is_not_utf8_becomes_null_and_is_named(column: pa.Array) -> None:
    batch = pa.record_batch({"x": range(5), "w": column, "other": text(WORDS)})
    read, reasons = legible(batch, ["w", "x", "lacking"])
    assert reasons is not None
    why = "column w is no UTF-8 text"
    assert reasons.to_pylist() == [None, why, None, None, why]
    assert read["w"].type == column.type
    good = [0, 2, 3]
    assert read["w"].take(pa.array(good)).to_pylist() == [column[i].as_py() for i in good]
    assert not read["w"].take(pa.array([1, 4])).is_valid().to_pylist()[0]
    assert read["other"].equals(batch["other"])  # it was not asked for


def test_what_can_be_read_is_left_alone() -> None:
    batch = pa.record_batch({"w": ["a", None, ""], "x": [1.0, None, 2.0]})
    read, reasons = legible(batch, ["w", "x"])
    assert read is batch
    assert reasons is None
