"""What an exception says: its type and last line, and nothing of the row that it is about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.linear_model import LogisticRegression

from nocturne.hiding import cause_of, failed_import, redacted

FITTED = LogisticRegression().fit(np.zeros((4, 2)), [0, 1, 0, 1])


def _raised(work: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        work()
    assert isinstance(caught.value, Exception)
    return caught.value


@pytest.mark.parametrize(
    ("work", "row", "said"),
    [
        (
            lambda: float("Berlin"),
            {"city": "Berlin", "n": 3},
            "ValueError: could not convert string to float: <city>",
        ),
        (
            lambda: int("Berlin  \n Mitte"),
            {"city": "Berlin  \n Mitte"},
            "ValueError: invalid literal for int() with base <number>: <city>",
        ),
        (lambda: {}["Meier"], {"name": "Hans Meier"}, "KeyError: <text>"),
        (lambda: {}["age"], {"age": 41}, "KeyError: 'age'"),
        (lambda: {}[1234567], {"id": 1234567}, "KeyError: <id>"),
        (lambda: {}[12.5], {"other": 1}, "KeyError: <number>"),
        (
            lambda: FITTED.predict(np.zeros((1, 3))),
            {"x": 0.0},
            "ValueError: X has <number> features, but LogisticRegression is expecting <number> "
            "features as input.",
        ),
        (
            lambda: torch.zeros(1, 3) @ torch.zeros(4, 1),
            {},
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (<number> and <number>)",
        ),
        (
            lambda: None.lower(),  # type: ignore[attr-defined]
            {"word": None},
            "AttributeError: 'NoneType' object has no attribute 'lower'",
        ),
        (
            lambda: sorted(["a", 1]),
            {"word": "q"},
            "TypeError: '<' not supported between instances of 'int' and 'str'",
        ),
        (
            lambda: dt.datetime.strptime("2024-13-45", "%Y-%m-%d"),
            {"day": "2024-13-45"},
            "ValueError: time data <day> does not match format <text>",
        ),
    ],
)
def test_the_last_line_is_said_without_the_row(
    work: Callable[[], Any], row: dict[str, Any], said: str
) -> None:
    assert redacted(_raised(work), {name: [value] for name, value in row.items()}) == said


@pytest.mark.parametrize(
    ("text", "row", "said"),
    [
        ("unknown word meier", {"name": "Hans Meier"}, "unknown word <name>"),
        ("HANS MEIER is no city", {"name": "Hans Meier"}, "<name> is no city"),
        ("grade A is none, a pity", {"grade": "A"}, "grade <grade> is none, a pity"),
        ("customer_8877665 is gone", {}, "customer_<number> is gone"),
        ("no 猫 in it", {"text": "犬猫鳥"}, "no <text> in it"),
        ("starts with Strawb...", {"text": "Strawberries"}, "starts with <text>"),
        ("it's 'x y' or \"z\", doesn't matter", {}, "it's <text> or <text>, doesn't matter"),
        ("row [1.5, 2.5, -3e7]", {}, "row [<number>]"),
        (
            "{'id': 17, 'city': 'Rome'}",
            {"id": 17, "city": "Rome"},
            "{'id': <number>, 'city': <city>}",
        ),
        ("no 'pear' and plum", {"list": ["pear", {"b": "plum"}]}, "no <list> and <list>"),
        ("got b'\\x00key'", {"blob": b"\x00key"}, "got b<blob>"),
        ("at 2024-01-05 10:00:00", {"at": dt.datetime(2024, 1, 5, 10)}, "at <at>"),
        ("Expected 2D array of float32, got 1D", {}, "Expected 2D array of float32, got 1D"),
        ("the size of the text", {"text": "size is what the text has"}, "the <text> of the <text>"),
        ("Input contains NaN", {"x": float("nan")}, "Input contains NaN"),
        (
            "observation with value 'Rome' does not match\n    y ~ a + C(city)\n        ^^^^^^^",
            {"city": "Rome"},
            "observation with value <city> does not match",
        ),
        ("bad value\n    Rome + 1\n    ^~~~\n", {"city": "Rome"}, "bad value"),
        ("no good\n-----\n  ...", {}, "no good"),
        ("unknown:\n  Rome", {"city": "Rome"}, "<city>"),
        ("^^^^", {}, "^^^^"),
        ("Rome\n^^^^", {"city": "Rome"}, "<city>"),
    ],
)
def test_of_any_text_only_what_can_be_of_no_row_is_left(
    text: str, row: dict[str, Any], said: str
) -> None:
    values = {name: [value] for name, value in row.items()}
    assert redacted(ValueError(text), values) == f"ValueError: {said}"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["Berlin"], "MlflowException: Failed to convert column x from type object to DataType.d"),
        ([True], "MlflowException: Incompatible input types for column x. Can not safely convert"),
    ],
)
def test_what_mlflow_has_wrapped_is_taken_out_of_it(values: list[Any], said: str) -> None:
    """As a pyfunc model does it: the cause's text comes after a dump of the data."""
    signature = ModelSignature(Schema([ColSpec("double", "x")]))

    class Model(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return model_input

    meta = mlflow.models.Model(signature=signature, flavors={"python_function": {}})
    model = mlflow.pyfunc.PyFuncModel(meta, Model(), predict_fn="predict")
    error = _raised(lambda: model.predict(pd.DataFrame({"x": values})))
    assert "Failed to enforce schema of data" in str(error)
    assert redacted(error, {"x": values}).startswith(said)
    assert cause_of(error) is not error


def test_a_failed_import_is_found_where_it_was_raised_from_and_nowhere_else() -> None:
    def wrapped() -> None:
        try:
            import not_there_at_all  # type: ignore[import-not-found]  # noqa: F401
        except ImportError as error:
            raise RuntimeError("install it") from error

    def fallen_back() -> None:
        try:
            import not_there_at_all  # noqa: F401
        except ImportError:
            float("Berlin")

    found = failed_import(_raised(wrapped))
    assert found is not None
    assert found.name == "not_there_at_all"
    assert failed_import(_raised(fallen_back)) is None


def test_what_can_not_be_looked_through_is_the_type_alone() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert redacted(Odd()) == "Odd"
    assert redacted(ValueError("the text is wrong"), {"text": ["word " * 10_000]}) == "ValueError"
    assert redacted(ValueError("")) == "ValueError"
    assert len(redacted(ValueError("so " * 1000))) < 250
