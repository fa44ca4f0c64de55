"""What a model returned fixes its outputs: as declared where that holds it, else wider."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from nocturne.encoding import OutputSpec, output_of
from nocturne.engine import check_outputs, settle_outputs
from nocturne.errors import ModelError

HALF = np.array([0.0, 0.5, 1.0])
WHOLE = np.array([0.0, 1.0, 2.0], dtype=np.float32)


def _objects(*values: object) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def _settled(declared: list[tuple[str, str]], came: Any, *, firm: bool = False) -> list[tuple]:
    outputs = [OutputSpec(name, type=type_) for name, type_ in declared]  # type: ignore[arg-type]
    return [(o.name, o.type, o.length, o.source) for o in settle_outputs(outputs, came, firm=firm)]


@pytest.mark.parametrize(
    ("declared", "came", "expected"),
    [
        ("int64", HALF, "float64"),
        ("int64", WHOLE, "int64"),
        ("bool", np.array([0, 2]), "int64"),
        ("bool", HALF, "float64"),
        ("float64", np.array(["came"]), "string"),
        ("float64", WHOLE, "float64"),
        ("float64", np.array([2**53 + 1]), "int64"),
        ("float32", HALF, "float64"),
        ("float32", WHOLE, "float32"),
        ("float32", _objects(0.5, None), "float64"),
        ("float32", _objects(np.float32(0.5), None), "float32"),
        ("float32", np.array([0.1]), "float64"),
        ("float32", np.array([1e300]), "float64"),
        ("any", WHOLE, "float64"),
        ("any", np.array([1, 2], dtype=np.int16), "int64"),
        ("any", np.array([True]), "bool"),
        ("any", _objects("came", None), "string"),
        ("any", _objects(1, 2.5), "float64"),
        ("any", _objects(dt.date(2024, 1, 1)), "date32"),
        ("any", np.array(["2024-01-01"], "datetime64[ns]"), "timestamp[us]"),
        ("any", np.array([1], "datetime64[ns]"), "timestamp[ns]"),
        ("any", _objects(dt.datetime(2024, 1, 1, tzinfo=dt.UTC)), "timestamp[us, UTC]"),
        ("float64", np.array([np.nan]), "float64"),
        ("string", _objects(None), "string"),
    ],
)
def test_the_declared_type_counts_where_it_holds_what_came(
    declared: str, came: np.ndarray, expected: str
) -> None:
    assert _settled([("p", declared)], [came]) == [("p", expected, 0, "")]


def test_names_are_the_declared_ones_else_the_models_else_prediction() -> None:
    assert _settled([], [HALF]) == [("prediction", "float64", 0, "")]
    assert _settled([("", "int64")], [WHOLE]) == [("prediction", "int64", 0, "")]
    assert _settled([], [HALF, HALF]) == [
        ("prediction_0", "float64", 0, ""),
        ("prediction_1", "float64", 0, ""),
    ]
    assert _settled([("", "any")], {"a": HALF, "b": HALF}) == [
        ("a", "float64", 0, "a"),
        ("b", "float64", 0, "b"),
    ]
    assert _settled([], {"0": HALF, "1": HALF}) == [
        ("prediction_0", "float64", 0, "0"),
        ("prediction_1", "float64", 0, "1"),
    ]
    assert _settled([("p", "float64")], {"a": HALF, "p": HALF}) == [("p", "float64", 0, "p")]
    assert _settled([("p", "float64"), ("q", "float64")], {"a": HALF, "b": HALF}) == [
        ("p", "float64", 0, "a"),
        ("q", "float64", 0, "b"),
    ]
    assert _settled([], {"2023": HALF, "2024": HALF}) == [
        ("2023", "float64", 0, "2023"),
        ("2024", "float64", 0, "2024"),
    ]


def test_a_matrix_and_lists_are_vectors_of_their_length() -> None:
    assert _settled([("", "any")], [np.zeros((3, 4))]) == [("prediction", "float64", 4, "")]
    assert _settled([], {"v": _objects([1, 2], None)}) == [("v", "int64", 2, "v")]
    assert _settled([("p", "float64")], [np.zeros((3, 1))]) == [("p", "float64", 0, "")]


@pytest.mark.parametrize(
    ("declared", "came", "said"),
    [
        (
            [("a", "float64"), ("b", "float64")],
            {"b": HALF, "c": WHOLE},
            r"returned the outputs b, c; .* names a, b\. "
            r".*model\.outputs: \{b: double, c: double\}",
        ),
        ([("a", "float64")], {"b": HALF, "c": WHOLE}, "returned the outputs b, c"),
        ([], {"a": _objects(None)}, r"only nulls, .* for the output 'a'.*\{a: double\}"),
        ([], {"b": HALF, "a": np.full(2, np.nan)}, r"only nulls, NaN or .* for the output 'a'"),
        ([], {"a": _objects("x", 1)}, "values of the types int, str for the output 'a'"),
        ([], {"a": _objects([1], [1, 2])}, "vectors of 1 to 2 values for the output 'a'"),
        ([], [np.zeros((2, 3, 4))], r"the shape \(2, 3, 4\)"),
        ([], {}, "returned no output"),
        ([], {"a": np.array([1 + 2j])}, "values of the types complex"),
        (
            [],
            {"a": _objects("x"), "b": _objects({"x": 1.0})},
            "the types dict for the output 'b'.* those that are wanted in model.outputs",
        ),
        ([], [_objects(-1, 2**63)], "integers for the output 'prediction' .* beyond 64 bits"),
        ([], [_objects(0.5, 2**53 + 1)], "integers for the output .* not exact in one"),
    ],
)
def test_what_can_not_be_published_is_refused(
    declared: list[tuple[str, str]], came: Any, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        _settled(declared, came)


@pytest.mark.parametrize(
    ("text", "came", "said"),
    [
        ("long", HALF, "is double for the output 'p', which is said to be long"),
        ("double", np.zeros((3, 2)), r"is double\[2\] for the output 'p', .* said to be double"),
        ("double[3]", np.zeros((3, 2)), r"said to be double\[3\]"),
        ("datetime", np.array(["x"]), "is string for the output 'p', which is said to be datetime"),
        ("long", WHOLE, ""),
        ("float", HALF / 3, ""),
        ("datetime", _objects(dt.datetime(2024, 1, 1, tzinfo=dt.UTC)), ""),
        ("string", np.array([1]), ""),
    ],
)
def test_the_users_word_is_not_widened(text: str, came: np.ndarray, said: str) -> None:
    output = output_of("p", text)
    if said:
        with pytest.raises(ModelError, match=said):
            settle_outputs([output], [came], firm=True)
        return
    [found] = settle_outputs([output], [came], firm=True)
    assert found.words == text


def test_an_encoding_spec_must_hold_what_comes_too() -> None:
    with pytest.raises(ModelError, match="is double for the output 'p', .* said to be long"):
        check_outputs([OutputSpec("p", type="int64")], [HALF])
    check_outputs([OutputSpec("p", "argmax", "int64")], [np.zeros((3, 2))])


@pytest.mark.parametrize(
    "text", ["int", "float[]", "float[0]", "array<double>", "", "long[1000000000]"]
)
def test_a_type_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no type; expected boolean, integer, long"):
        output_of("p", text)
