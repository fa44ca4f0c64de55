"""What every encoder keeps, whichever it is: one example each, and the same questions to all."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.encoders import ENCODERS, category
from nocturne.encoders.spec import Feature, TensorSpec
from nocturne.encoding import Encoding
from nocturne.engine.refused import refusal_reasons
from nocturne.errors import ModelError, choices
from nocturne.fitting import check_columns

ROOT = Path(__file__).parents[2]


class Example(NamedTuple):
    """A tensor of one column ``x``, values for it, and a type that it can't take."""

    tensor: TensorSpec
    column: pa.Array
    wrong: pa.DataType
    contradiction: TensorSpec | None = None


def tensor(
    encoder: str, dtype: Any, shape: tuple[int, ...] | None = None, **how: Any
) -> TensorSpec:
    return TensorSpec("t", dtype, encoder, (Feature("x", **how),), shape)


EXAMPLES = {
    "numeric": Example(
        tensor("numeric", "float32", fill=0.5, center=1.0, scale=2.0),
        pa.array([1.0, None, float("nan"), -3.0]),
        pa.string(),
    ),
    "category": Example(
        tensor("category", "int64", vocabulary=("a", "b"), unknown=9),
        pa.array(["b", None, "zz", "a"]),
        pa.float64(),
        tensor("category", "int64"),
    ),
    "date": Example(
        tensor("date", "float32", part="day_of_week", fill=3.0),
        pa.array([0, None, -1, 20_000], pa.date32()),
        pa.timestamp("us", "Europe/Berlin"),
        tensor("date", "float32", part="weekday"),
    ),
    "list": Example(
        tensor("list", "float32", length=2, pad=None),
        pa.array([[1.0, 2.0], None, [3.0], [4.0, None]]),
        pa.float64(),
        tensor("list", "float32"),
    ),
    "mask": Example(
        tensor("mask", "int64", length=2),
        pa.array([[1, 2], None, [3], []]),
        pa.int64(),
        tensor("mask", "int64"),
    ),
    "text": Example(tensor("text", "str"), pa.array(["anna", None, "", "bob"]), pa.int64()),
    "frame": Example(
        tensor("frame", "frame", type="long"), pa.array([1, None, 3, 2**60]), pa.string()
    ),
}
"""By the encoder's name; each column has a null."""


def parts(example: Example) -> tuple[TensorSpec, Feature]:
    return example.tensor, example.tensor.features[0]


def batch(example: Example) -> pa.RecordBatch:
    return pa.record_batch({"x": example.column})


def values(encoded: Any) -> Any:
    return encoded.to_pydict() if isinstance(encoded, pa.RecordBatch) else encoded.tolist()


@pytest.mark.parametrize("name", ENCODERS)
class TestEveryEncoder:
    def test_it_has_an_example_here(self, name: str) -> None:
        assert name in EXAMPLES, f"add an example of the encoder {name} to this file"
        assert EXAMPLES[name].tensor.encoder == name
        assert EXAMPLES[name].column.null_count

    def test_it_accepts_its_type_and_refuses_another_in_words(self, name: str) -> None:
        encoder, example = ENCODERS[name], EXAMPLES[name]
        spec, feature = parts(example)
        assert encoder.accepts(spec, feature, example.column.type)
        assert encoder.accepts(spec, feature, encoder.exact_type(spec, feature))
        assert not encoder.accepts(spec, feature, example.wrong)
        encoding = Encoding((spec,), ())
        assert check_columns(encoding, pa.schema([("x", example.column.type)])) == []
        [said] = check_columns(encoding, pa.schema([("x", example.wrong)]))
        wanted = encoder.wants(spec, feature)
        assert f"column 'x' is {example.wrong}, the model wants {wanted}" in said

    def test_a_missing_column_is_refused_unless_it_may_be_missing(self, name: str) -> None:
        spec, _ = parts(EXAMPLES[name])
        assert check_columns(Encoding((spec,), ()), pa.schema([])) == ["column 'x' is missing"]
        how = {k: v for k, v in vars(spec.features[0]).items() if k not in ("column", "required")}
        may = tensor(name, spec.dtype, **how, required=False)
        said = check_columns(Encoding((may,), ()), pa.schema([]))
        assert (said == []) is ENCODERS[name].optional

    def test_it_gives_a_row_a_row_of_its_dtype(self, name: str) -> None:
        spec, _ = parts(EXAMPLES[name])
        given = batch(EXAMPLES[name])
        made = ENCODERS[name].encode(given, spec)
        if isinstance(made, pa.RecordBatch):
            assert made.num_rows == given.num_rows
        else:
            assert made.shape[0] == given.num_rows
            assert made.dtype.kind == np.dtype(spec.dtype).kind

    def test_a_row_does_not_depend_on_the_rows_around_it(self, name: str) -> None:
        spec, _ = parts(EXAMPLES[name])
        given = batch(EXAMPLES[name])
        whole = ENCODERS[name].encode(given, spec)
        lost = refusal_reasons(given, Encoding((spec,), ()))
        for row in range(given.num_rows):
            if lost is None or not lost[row].is_valid:
                one = ENCODERS[name].encode(given.slice(row, 1), spec)
                there = whole.slice(row, 1) if isinstance(whole, pa.RecordBatch) else whole[[row]]
                assert str(values(one)) == str(values(there))

    def test_it_reads_a_dictionary_as_its_values(self, name: str) -> None:
        spec, _ = parts(EXAMPLES[name])
        column = EXAMPLES[name].column
        if pa.types.is_list(column.type):
            pytest.skip("Arrow makes no dictionary of lists")
        coded = pa.record_batch({"x": column.dictionary_encode()})
        [plain, read] = (ENCODERS[name].encode(b, spec) for b in (batch(EXAMPLES[name]), coded))
        assert str(values(read)) == str(values(plain))

    def test_it_leaves_the_batch_as_it_was(self, name: str) -> None:
        spec, _ = parts(EXAMPLES[name])
        given = batch(EXAMPLES[name])
        before = given.to_pydict()
        ENCODERS[name].encode(given, spec)
        assert str(given.to_pydict()) == str(before)

    def test_a_batch_without_rows_has_none(self, name: str) -> None:
        spec, _ = parts(EXAMPLES[name])
        made = ENCODERS[name].encode(batch(EXAMPLES[name]).slice(0, 0), spec)
        assert (made.num_rows if isinstance(made, pa.RecordBatch) else len(made)) == 0

    def test_why_it_refuses_a_row_names_the_column_and_no_value(self, name: str) -> None:
        spec, feature = parts(EXAMPLES[name])
        column = EXAMPLES[name].column
        for bad, reason in ENCODERS[name].refused(column, spec, feature):
            assert len(bad) == len(column)
            assert reason.startswith("column x ")
            assert not any(str(value) in reason for value in column.to_pylist() if value)

    def test_it_says_what_its_column_is_counted_as(self, name: str) -> None:
        _, feature = parts(EXAMPLES[name])
        assert ENCODERS[name].profiled(feature) in ("numeric", "category", None)

    def test_its_spec_survives_json_and_a_contradiction_is_named(self, name: str) -> None:
        example = EXAMPLES[name]
        encoding = Encoding((example.tensor,), ())
        assert Encoding.from_json(encoding.to_json()) == encoding
        if example.contradiction is not None:
            wrong = Encoding((example.contradiction,), ()).to_json()
            with pytest.raises(
                ModelError, match=r"encoding.json: input 't': .*(a|needs|takes|expected) "
            ):
                Encoding.from_json(wrong)

    def test_the_documentation_has_it(self, name: str) -> None:
        assert f"| `{name}` |" in (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")


def test_an_encoder_that_there_is_not_is_refused_with_those_there_are() -> None:
    spec = json.loads(Encoding((EXAMPLES["numeric"].tensor,), ()).to_json())
    spec["inputs"][0]["encoder"] = "hash"
    with pytest.raises(ModelError) as raised:
        Encoding.from_json(json.dumps(spec))
    assert f"encoder: got 'hash', expected {choices(ENCODERS)}" in str(raised.value)


def test_asking_an_encoder_loads_no_torch_and_nothing_else_that_is_slow() -> None:
    code = (
        "import sys, nocturne.encoders, nocturne.fitting; "
        "print({'torch', 'pydantic', 'pandas', 'mlflow', 'scipy', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_null_among_whole_numbers_in_a_required_list_takes_another_rows_list() -> None:
    """Both things can be wrong with a frame's column of lists, of one row each."""
    spec = tensor("frame", "frame", type="array of long")
    column = pa.array([None, [1, None], [2, 3]], pa.list_(pa.int64()))
    made = ENCODERS["frame"].encode(pa.record_batch({"x": column}), spec)
    assert made["x"].to_pylist() == [[2, 3]] * 3


UTC_TIMES = [pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.timestamp("ns"), pa.timestamp("s")]


@pytest.mark.parametrize("type_", [pa.date32(), *UTC_TIMES], ids=str)
@pytest.mark.parametrize(
    ("part", "of"),
    [
        ("days", lambda t: t.toordinal() - dt.date(1970, 1, 1).toordinal()),
        ("year", lambda t: t.year),
        ("month", lambda t: t.month),
        ("day", lambda t: t.day),
        ("day_of_year", lambda t: t.timetuple().tm_yday),
        ("day_of_week", lambda t: t.weekday()),
        ("hour", lambda t: t.hour),
    ],
)
def test_the_parts_of_a_date_are_those_of_pythons_calendar(
    part: str, of: Any, type_: pa.DataType
) -> None:
    spec = tensor("date", "int64", part=part, fill=-7)
    encoder = ENCODERS["date"]
    if part == "hour" and pa.types.is_date(type_):
        assert not encoder.accepts(spec, spec.features[0], type_)
        return
    moments = [
        dt.datetime(*parts)
        for parts in [(1969, 12, 31, 23), (1970, 1, 1), (2000, 2, 29, 12), (2024, 12, 31, 23, 59)]
    ]
    column = pa.array([*moments, None], pa.timestamp("us")).cast(pa.timestamp("s"), safe=False)
    made = encoder.encode(pa.record_batch({"x": column.cast(type_, safe=False)}), spec)
    assert made[:, 0].tolist() == [*map(of, moments), -7]


def test_two_parts_of_one_date_are_two_columns_and_a_null_is_its_rows_reason() -> None:
    features = (
        Feature("x", part="days", center=10.0, scale=2.0),
        Feature("x", part="month", fill=None),
    )
    spec = TensorSpec("t", "float32", "date", features)
    given = pa.record_batch({"x": pa.array([20, 31], pa.date32())})
    assert ENCODERS["date"].encode(given, spec).tolist() == [[5.0, 1.0], [10.5, 2.0]]
    whole = tensor("date", "int64", part="month", fill=None)
    reasons = refusal_reasons(
        pa.record_batch({"x": pa.array([None, 3], pa.date32())}), Encoding((whole,), ())
    )
    assert reasons is not None
    assert reasons.to_pylist() == [
        "column x is null, and the model takes whole numbers there (its signature says int64)",
        None,
    ]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.lists(st.integers(0, 30), max_size=9)), max_size=6),
    st.integers(0, 3),
)
def test_a_stream_of_growing_and_of_other_dictionaries_is_looked_up_as_plain_words(
    batches: list[tuple[int, list[int]]], few: int
) -> None:
    """As Parquet's reader gives them: longer from batch to batch, anew for the next row group."""
    spec = tensor("category", "int64", vocabulary=("w3", "w1", "x", "w1"), unknown=9)
    words = [f"w{number}" for number in range(16)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(category, "_FEW", few)
        encode = ENCODERS["category"].prepared(spec)
        for length, indices in batches:
            dictionary = pa.array([*words[:length], None])
            codes = [i if i <= length else None for i in indices]
            column = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), dictionary)
            found = encode(pa.record_batch({"x": column}))
            plain = pa.record_batch({"x": column.dictionary_decode()})
            assert found.tolist() == ENCODERS["category"].encode(plain, spec).tolist()
            where = {"w3": 0, "w1": 1, "x": 2}
            assert found[:, 0].tolist() == [where.get(w, 9) for w in plain["x"].to_pylist()]
