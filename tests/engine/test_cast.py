"""Values that can't become what the model takes are told apart from those that can."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from nocturne.encoding import Encoding, Feature, TensorSpec
from nocturne.engine import cast_rows
from nocturne.fitting import casts, check_columns
from nocturne.roles import Cast


def _encoding(*tensors: TensorSpec) -> Encoding:
    return Encoding(tensors, ())


NUMBER = TensorSpec("x", "float32", "numeric", (Feature("v"),))
INTEGER = TensorSpec("n", "int64", "numeric", (Feature("v"),))
PLACE = TensorSpec("c", "int64", "category", (Feature("v", vocabulary=(1, 2), unknown=2),))
WORD = TensorSpec("w", "int64", "category", (Feature("v", vocabulary=("1", "2"), unknown=2),))


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(),
                                  pa.dictionary(pa.int32(), pa.string())])  # fmt: skip
def test_text_becomes_numbers_and_what_is_none_is_named(text: pa.DataType) -> None:
    values = ["1.5", " 2 ", "", None, "n/a", "nan", "-3e2", "1,5"]
    batch = pa.record_batch({"id": range(8), "v": pa.array(values).cast(text)})
    wanted = casts(_encoding(NUMBER), batch.schema)
    assert wanted == {"v": Cast(pa.float64())}

    cast, why = cast_rows(batch, wanted)

    assert str(cast["v"].to_pylist()) == "[1.5, 2.0, None, None, None, nan, -300.0, None]"
    assert cast["id"] == batch["id"]
    bad = [row for row, reason in enumerate(why.to_pylist()) if reason]
    assert bad == [4, 7]
    assert why[4].as_py() == "column v: string that can't become double".replace(
        "string", "large_string" if text == pa.large_string() else "string"
    )


@pytest.mark.parametrize(
    ("tensors", "type_"),
    [
        ((NUMBER,), pa.float64()),
        ((INTEGER,), pa.int64()),
        ((PLACE,), pa.int64()),
        ((TensorSpec("f", "frame", "frame", (Feature("v", type="integer"),)),), pa.int32()),
        ((WORD,), None),
        ((NUMBER, WORD), None),
        ((TensorSpec("l", "float32", "list", (Feature("v", length=2),)),), None),
    ],
)
def test_text_is_cast_where_every_feature_of_it_wants_the_same_number(
    tensors: tuple[TensorSpec, ...], type_: pa.DataType | None
) -> None:
    schema = pa.schema([("v", pa.string())])
    spec = _encoding(*tensors)
    assert casts(spec, schema).get("v") == (type_ and Cast(type_))
    fits = check_columns(spec, schema, cast_text=True) == []
    assert fits is (type_ is not None or tensors == (WORD,))


def test_refusing_text_says_that_it_could_be_cast() -> None:
    [said] = check_columns(_encoding(NUMBER), pa.schema([("v", pa.string())]))
    assert said.endswith("the model wants a number (float32) (input.cast_text: true reads text as "
                         "numbers)")  # fmt: skip


def test_a_time_beyond_what_nanoseconds_can_hold_is_told_apart() -> None:
    """pyarrow's unsafe cast would turn the year 9999 into 1816."""
    spec = _encoding(TensorSpec("f", "frame", "frame", (Feature("v", type="datetime"),)))
    times = pa.array([dt.datetime(2024, 1, 2), dt.datetime(9999, 1, 1)], pa.timestamp("us"))
    batch = pa.record_batch({"v": times})
    cast, why = cast_rows(batch, casts(spec, batch.schema))
    assert cast["v"].type == pa.timestamp("ns")
    assert [bool(reason) for reason in why.to_pylist()] == [False, True]


def test_bad_values_cost_few_casts(monkeypatch: pytest.MonkeyPatch) -> None:
    from nocturne.engine import cast

    calls, real = [], cast.cast_column
    monkeypatch.setattr(cast, "cast_column", lambda *args: calls.append(1) or real(*args))
    values = ["1"] * 4096
    values[77] = values[3000] = "?"
    batch = pa.record_batch({"v": values})
    _, why = cast_rows(batch, {"v": Cast(pa.float64())})
    assert len(why) - why.null_count == 2
    assert len(calls) <= 2 * (2 * 12 + 1)


def test_each_lost_value_is_named_once_a_row() -> None:
    batch = pa.record_batch({"a": ["x", "1"], "b": ["y", "z"]})
    _, why = cast_rows(batch, {"a": Cast(pa.int64()), "b": Cast(pa.float64())})
    assert why.to_pylist() == [
        "column a: string that can't become int64",
        "column b: string that can't become double",
    ]


def test_what_fits_is_not_cast() -> None:
    spec = _encoding(NUMBER)
    for type_ in (pa.float64(), pa.int32(), pa.bool_()):
        assert casts(spec, pa.schema([("v", type_)])) == {}
    assert casts(spec, pa.schema([("z", pa.string())])) == {}
