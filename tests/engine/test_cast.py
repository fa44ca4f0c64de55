"""Values that can't become what the model takes are told apart from those that can."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nocturne.columns.normal import normal
from nocturne.encoding import Encoding, Feature, TensorSpec
from nocturne.engine import cast_rows, encode
from nocturne.errors import InputError
from nocturne.fitting import casts, check_columns
from nocturne.fitting.roles import Cast


def _encoding(*tensors: TensorSpec) -> Encoding:
    return Encoding(tensors, ())


NUMBER = TensorSpec("x", "float32", "numeric", (Feature("v"),))
INTEGER = TensorSpec("n", "int64", "numeric", (Feature("v"),))
PLACE = TensorSpec("c", "int64", "category", (Feature("v", vocabulary=(1, 2), unknown=2),))
WORD = TensorSpec("w", "int64", "category", (Feature("v", vocabulary=("1", "2"), unknown=2),))


@pytest.mark.parametrize(
    "text", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
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


def test_hexadecimal_text_is_no_number() -> None:
    """It is an identifier, of which the longer ones would be negative numbers."""
    text = ["0x10", "7", None, "0XFFFFFFFFFFFFFFFF", "-3"]
    cast, why = cast_rows(pa.record_batch({"v": text}), {"v": Cast(pa.int64())})
    assert cast["v"].to_pylist() == [None, 7, None, None, -3]
    assert why.is_valid().to_pylist() == [True, False, False, True, False]


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
    assert said.endswith(
        "the model wants a number (float32) (input.cast_text: true reads text as numbers)"
    )


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


@pytest.mark.parametrize("size", [7, 300, 5000])
def test_a_cast_that_fails_on_each_of_the_first_thousand_values_stops(size: int) -> None:
    failed = {"v": 0}
    batch = pa.record_batch({"v": ["SECRET"] * size})
    for _ in range((1000 - 1) // size):
        cast_rows(batch, {"v": Cast(pa.float64())}, failed)
    with pytest.raises(InputError) as caught:
        cast_rows(batch, {"v": Cast(pa.float64())}, failed)
    assert "column v: string that can't become double: not one of the first 1" in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("good", [0, 999])
@pytest.mark.parametrize("value", ["1", None])
def test_a_cast_that_some_value_passes_goes_on(good: int, value: str | None) -> None:
    values: list[str | None] = ["?"] * 1200
    values[good] = value
    failed = {"v": 0}
    for start in range(0, 1200, 400):
        batch = pa.record_batch({"v": pa.array(values[start : start + 400], pa.string())})
        _, why = cast_rows(batch, {"v": Cast(pa.float64())}, failed)
        assert why.null_count == (start <= good < start + 400)
    assert failed == {}


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


def _frame(type_: str) -> TensorSpec:
    return TensorSpec("f", "frame", "frame", (Feature("v", type=type_),))


def _told(tensor: TensorSpec, values: pa.Array, how: str) -> tuple[list[object], list[int]]:
    """What the model sees, and the rows that are told apart."""
    batch = pa.record_batch({"v": values})
    assert check_columns(_encoding(tensor), batch.schema, {"v": how}) == []
    seen, why = cast_rows(batch, casts(_encoding(tensor), batch.schema, {"v": how}))
    return seen["v"].to_pylist(), [row for row, reason in enumerate(why.to_pylist()) if reason]


@pytest.mark.parametrize("given", [pa.float32(), pa.float64()])
@pytest.mark.parametrize(
    ("tensor", "bits"),
    [
        (_frame("integer"), 32),
        (_frame("long"), 64),
        (TensorSpec("n", "int32", "numeric", (Feature("v"),)), 32),
        (INTEGER, 64),
    ],
)
def test_a_float_that_an_integer_has_no_room_for_is_told_apart(
    given: pa.DataType, tensor: TensorSpec, bits: int
) -> None:
    edge = 2.0 ** (bits - 1)
    values = pa.array([1.0, edge, -edge, -2 * edge, None, float("nan"), 3e9, 1e30], given)
    small = [] if bits == 64 else [6]
    seen, lost = _told(tensor, values, "integer")
    assert lost == [1, 3, *small, 7]
    assert seen == [1, None, int(-edge), None, None, None, None if small else 3_000_000_000, None]


@pytest.mark.parametrize("type_", ["float", "double"])
def test_a_cast_tells_values_apart_also_where_the_models_type_would_take_them(type_: str) -> None:
    amounts = pa.array([Decimal("2.00"), Decimal("2.50"), None])
    assert _told(_frame(type_), amounts, "integer") == ([2.0, None, None], [1])
    numbers = pa.array([2.0, 2.5, float("nan"), None, 1e300])
    assert _told(_frame(type_), numbers, "integer") == ([2.0, None, None, None, None], [1, 4])
    assert _told(_frame(type_), pa.array([0, 1, 5]), "boolean") == ([0.0, 1.0, None], [2])
    assert _told(_frame(type_), pa.array(["true", "2.5"]), "boolean") == ([1.0, None], [1])


def test_a_reason_names_both_types_of_a_cast() -> None:
    batch = pa.record_batch({"v": [2.5]})
    wanted = casts(_encoding(_frame("double")), batch.schema, {"v": "integer"})
    _, why = cast_rows(batch, wanted)
    assert why.to_pylist() == ["column v: double that can't become int64, then double"]


def _list(dtype: Any) -> TensorSpec:
    return TensorSpec("l", dtype, "list", (Feature("v", length=3, pad=-1.0),))


_KINDS = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_a_list_of_integers_is_never_cut_or_wrapped(dtype: str, kind: Any) -> None:
    tensor, items = _list(dtype), [[1.0, None, -7.0], [2.7], None, [float("nan")], [1e300, 1.0]]
    schema = pa.schema([("v", kind(pa.float64()))])
    [said] = check_columns(_encoding(tensor), schema)
    assert said.endswith(
        f"the model wants a list of integers ({dtype}) (input.cast: {{v: integer}} makes it one)"
    )
    batch = normal(pa.record_batch({"v": pa.array(items, schema.field("v").type)}))
    assert _told(tensor, batch["v"], "integer") == (
        [[1, None, -7], None, None, [None], None],
        [1, 4],
    )
    wide = pa.array([[3_000_000_000, 1], [5], None], pa.list_(pa.int64()))
    if dtype == "int64":
        assert check_columns(_encoding(tensor), pa.schema([("v", wide.type)])) == []
        [found] = encode(pa.record_batch({"v": wide}), _encoding(tensor))
        assert found.tolist() == [[3_000_000_000, 1, -1], [5, -1, -1], [-1, -1, -1]]
    else:
        assert _told(tensor, wide, "integer") == ([None, [5], None], [0])


def test_lists_of_a_fixed_length_are_cast_item_by_item() -> None:
    values = pa.array([[1.0, 2.0], None, [2.5, 1.0], [3.0, None]], pa.list_(pa.float32(), 2))
    for start in range(3):
        whole = [[1, 2], None, None, [3, None]]
        lost = [row - start for row in (2,) if row >= start]
        assert _told(_list("int64"), values.slice(start), "integer") == (whole[start:], lost)


def test_a_list_of_floats_takes_any_number() -> None:
    for type_ in (pa.int64(), pa.uint64(), pa.float64(), pa.bool_(), pa.null()):
        schema = pa.schema([("v", pa.list_(type_))])
        assert check_columns(_encoding(_list("float32")), schema) == []


@pytest.mark.parametrize("type_", [pa.int8(), pa.uint8(), pa.uint16(), pa.int64(), pa.float32()])
def test_a_centre_that_is_a_whole_number_does_not_wrap(type_: pa.DataType) -> None:
    feature = Feature("v", fill=3, center=-100, scale=2)  # type: ignore[arg-type]
    values = pa.array([100, 7, 0], type_)
    tensor = TensorSpec("x", "float32", "numeric", (feature,))
    [found] = encode(pa.record_batch({"v": values}), _encoding(tensor))
    assert found.ravel().tolist() == [100.0, 53.5, 50.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_float16_is_scaled_in_more_than_its_own_digits(dtype: Any) -> None:
    feature = Feature("v", fill=70_000.5, center=100_000.5, scale=3.0)
    values = pa.array(np.array([1000.0, 12.3, 7.77, np.nan], np.float16))
    encoding = _encoding(TensorSpec("x", dtype, "numeric", (feature,)))
    batch = pa.record_batch({"v": pa.concat_arrays([values, pa.nulls(1, pa.float16())])})
    assert check_columns(encoding, batch.schema) == []
    [found] = encode(batch, encoding)
    numbers = [*np.float16([1000.0, 12.3, 7.77]).astype(float), 70_000.5, 70_000.5]
    np.testing.assert_allclose(found[:, 0], (np.array(numbers) - 100_000.5) / 3, rtol=1e-6)
