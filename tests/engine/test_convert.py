"""What a model returned becomes its column's type whole, or is told apart: nothing is narrowed."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from conftest import ENCODING
from nocturne.encoding import OUTPUT_TYPES, Encoding, OutputSpec
from nocturne.engine import REASON, predictions
from nocturne.engine.convert import convert

NOON = dt.datetime(2024, 3, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))


def _objects(*values: object) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("type_", "values", "expected"),
    [
        ("int64", np.array([1.0, 0.5, -3.0, 2.0**63]), [1, "no", -3, "no"]),
        ("int64", np.array([2**63, 7], dtype=np.uint64), ["no", 7]),
        ("int64", np.array([True, False]), [1, 0]),
        ("int64", _objects(3, 2.5, None, "4", 2**70), [3, "no", None, "no", "no"]),
        ("float64", np.array([2**53 + 1, 2**53]), ["no", 2.0**53]),
        ("float64", np.array([1.5, np.nan, np.inf]), [1.5, None, "no"]),
        ("float64", _objects(True, 1, 2.5, "2.5", float("nan")), [1.0, 1.0, 2.5, "no", None]),
        ("float64", np.array(["1.5"]), ["no"]),
        ("float32", np.array([1e300, 0.5]), ["no", 0.5]),
        ("float32", np.array([2**24 + 1, 3]), ["no", 3.0]),
        ("bool", np.array([0, 1, 2]), [False, True, "no"]),
        ("bool", np.array([0.0, 1.0, 0.5, np.nan]), [False, True, "no", None]),
        ("string", np.array(["came", ""]), ["came", ""]),
        ("string", _objects("came", None, 3, b"x", ["y"]), ["came", None, "3", "no", "no"]),
        ("string", np.array([1, 2]), ["1", "2"]),
        ("date32", np.array(["2024-03-01", "NaT"], "datetime64[D]"), [dt.date(2024, 3, 1), None]),
        (
            "date32",
            _objects(dt.date(2024, 3, 1), dt.datetime(2024, 3, 1, 5)),
            [dt.date(2024, 3, 1), "no"],
        ),
        (
            "timestamp[us]",
            np.array([1000, 1001], "datetime64[ns]"),
            [dt.datetime(1970, 1, 1, 0, 0, 0, 1), "no"],
        ),
        (
            "timestamp[us]",
            _objects(dt.datetime(2024, 3, 1), NOON, pd.NaT),
            [dt.datetime(2024, 3, 1), "no", None],
        ),
        ("timestamp[us, UTC]", _objects(NOON, dt.datetime(2024, 3, 1)), [NOON, "no"]),
        (
            "timestamp[us, UTC]",
            _objects(pd.Timestamp("2024-03-01", tz="Europe/Berlin")),
            [pd.Timestamp("2024-03-01", tz="Europe/Berlin")],
        ),
        ("float64", np.array(["2024-03-01"], "datetime64[D]"), ["no"]),
        ("int64", np.array([1 + 2j]), ["no"]),
    ],
)
def test_a_value_is_the_columns_or_told_apart(
    type_: str, values: np.ndarray, expected: list[object]
) -> None:
    column, absent, strange = convert(values, type_)  # type: ignore[arg-type]
    assert column.type == OUTPUT_TYPES[type_]  # type: ignore[index]
    no = [False] * len(values) if strange is None else strange.tolist()
    gone = [False] * len(values) if absent is None else absent.tolist()
    found = ["no" if n else v for n, v in zip(no, column.to_pylist(), strict=True)]
    assert found == expected
    assert [v is None for v in found] == gone


def _made(output: OutputSpec, values: object) -> tuple[pa.Array, list[str | None]]:
    done = predictions(
        {output.name: values},
        len(values),
        Encoding(ENCODING.inputs, (output,)),
        {},  # type: ignore[arg-type, dict-item]
    )
    return done[output.name], done[REASON].to_pylist()


def test_a_float_under_an_integer_type_is_not_cut() -> None:
    """On an earlier main: [0, 0], and no reason."""
    _, reasons = _made(OutputSpec("p", type="int64"), np.array([0.7, 1.0], dtype=np.float32))
    assert reasons == ["the prediction p is no int64", None]


def test_text_under_a_number_is_a_reason_and_no_crash() -> None:
    _, reasons = _made(OutputSpec("p", type="float64"), np.array(["came"]))
    assert reasons == ["the prediction p is no float64"]


def test_a_null_is_a_null_where_the_output_may_be_one_and_a_lost_row_where_not() -> None:
    values = np.array([0.5, np.nan, np.inf])
    column, reasons = _made(OutputSpec("p", type="float64", nullable=True), values)
    assert column.to_pylist()[:2] == [0.5, None]
    assert reasons == [None, None, "the prediction p is missing or not finite"]
    _, reasons = _made(OutputSpec("p", type="float64"), values)
    assert [r is not None for r in reasons] == [False, True, True]


@pytest.mark.parametrize("nullable", [True, False])
def test_vectors_may_come_as_objects_and_be_null(nullable: bool) -> None:
    values = _objects([0.5, 1.0], None, np.array([2.0, np.nan]), [1.0])
    output = OutputSpec("v", type="float64", length=2, nullable=nullable)
    column, reasons = _made(output, values)
    assert column[0].as_py() == [0.5, 1.0]
    lost = None if nullable else "the prediction v is missing or not finite"
    assert reasons == [None, lost, lost, "the prediction v is no float64[2]"]
    if nullable:
        assert column.to_pylist()[1:3] == [None, None]


def test_rows_that_raised_stand_beside_any_kind_of_output() -> None:
    from nocturne.engine import concatenated

    pieces = [
        {"p": np.array(["a", "b"])},
        None,
        {"p": _objects("c", None)},
        {"p": np.array([1.5])},
    ]
    whole = concatenated(pieces)
    assert whole is not None
    assert whole["p"].tolist() == ["a", "b", "", "c", None, 1.5]
