"""Strangers' models, logged as their tutorials do: what they return is scored as it is, or refused.

Each is tried as ``prepare`` does, in this process; ``test_trial`` starts the process that does it.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier

from nocturne.encoding import MODEL_VERSION, Encoding, Feature, TensorSpec
from nocturne.model.registry import Resolved
from nocturne.records.plan import ModelRef
from nocturne.trial import TrialAnswer, TrialRequest

FRAME = pd.DataFrame(np.random.default_rng(3).normal(size=(40, 3)), columns=["a", "b", "c"])
ROWS = pa.Table.from_pandas(FRAME, preserve_index=False).combine_chunks().to_batches()[0]
TEXT = np.where(FRAME.a > 0, "came", "went")
THREE = np.select([FRAME.a < -0.5, FRAME.a < 0.5], [0, 1], 2)


def asked(folder: Path, **changes: Any) -> TrialRequest:
    ref = ModelRef("m", 1, "version 1", "pyfunc", "0" * 64, str(folder))
    resolved = Resolved(ref)
    said = {"spec": False, "firm": False, "input_cast": {}, "device": "cpu", "seconds": 60.0}
    return TrialRequest(model=ref, encoding=resolved.declared, **{**said, **changes})


def answer(folder: Path, rows: pa.RecordBatch = ROWS) -> TrialAnswer:
    from nocturne.trial.__main__ import _answer

    return _answer(asked(folder), rows)


def outputs(folder: Path) -> dict[str, str]:
    """Name -> type, as ``model.outputs`` says them."""
    found = answer(folder)
    assert found.trial is not None, found.fault
    return {output.name: output.words for output in found.trial.outputs}


Save = Callable[..., Path]


@pytest.fixture
def sklearn_model(tmp_path: Path) -> Save:
    def save(fitted: Any, predictions: Any, **changes: Any) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.sklearn.save_model(
                fitted,
                tmp_path / "m",
                signature=infer_signature(FRAME, predictions),
                serialization_format="skops",
                pip_requirements=[],
                **changes,
            )
        return tmp_path / "m"

    return save


@pytest.fixture
def python_model(tmp_path: Path) -> Save:
    """A model that returns what a function makes of the frame."""

    def save(predict: Callable[[pd.DataFrame], Any], predictions: Any = None) -> Path:
        class Model(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                return predict(model_input)

        signature = infer_signature(FRAME, predictions)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.pyfunc.save_model(
                tmp_path / "m", python_model=Model(), signature=signature, pip_requirements=[]
            )
        return tmp_path / "m"

    return save


@pytest.mark.parametrize("labels", [TEXT, THREE, FRAME.a > 0], ids=["text", "integer", "boolean"])
def test_labels_are_labels(sklearn_model: Save, labels: Any) -> None:
    fitted = LogisticRegression().fit(FRAME, labels)
    words = {"U": "string", "i": "long", "b": "boolean"}[np.asarray(labels).dtype.kind]
    assert outputs(sklearn_model(fitted, fitted.predict(FRAME))) == {"prediction": words}


@pytest.mark.parametrize("labels", [TEXT, THREE], ids=["two", "three"])
def test_probabilities_are_named_by_class(sklearn_model: Save, labels: Any) -> None:
    fitted = LogisticRegression().fit(FRAME, labels)
    folder = sklearn_model(fitted, fitted.predict_proba(FRAME), pyfunc_predict_fn="predict_proba")
    assert outputs(folder) == {f"probability_{c}": "double" for c in fitted.classes_}


def test_several_targets_are_a_vector_of_them(sklearn_model: Save) -> None:
    fitted = LinearRegression().fit(FRAME, FRAME[["a", "b"]].to_numpy())
    assert outputs(sklearn_model(fitted, fitted.predict(FRAME))) == {"prediction": "double[2]"}


def test_several_targets_that_the_signature_names_are_columns(sklearn_model: Save) -> None:
    fitted = LinearRegression().fit(FRAME, FRAME[["a", "b"]])
    named = pd.DataFrame(fitted.predict(FRAME), columns=["low", "high"])
    assert outputs(sklearn_model(fitted, named)) == {"low": "double", "high": "double"}


def test_probabilities_of_several_targets_are_a_vector_each(sklearn_model: Save) -> None:
    fitted = MultiOutputClassifier(LogisticRegression()).fit(
        FRAME, np.stack([THREE, FRAME.b > 0], 1)
    )
    folder = sklearn_model(fitted, THREE, pyfunc_predict_fn="predict_proba")
    assert outputs(folder) == {"prediction_0": "double[3]", "prediction_1": "double[2]"}


def test_a_booster_under_an_integer_signature_is_not_cut(python_model: Save) -> None:
    """XGBoost's binary:logistic with the signature of its labels: 600 zeros on an earlier main."""
    folder = python_model(lambda frame: frame.a.to_numpy(np.float32) / 9, THREE)
    assert outputs(folder) == {"prediction": "double"}
    found = answer(folder)
    assert found.trial is not None
    assert float(found.trial.scores[0]["prediction"]) == pytest.approx(FRAME.a[0] / 9, rel=1e-5)


DAY = dt.date(2024, 3, 1)
GIVEN: dict[str, tuple[Callable[[pd.DataFrame], Any], dict[str, str]]] = {
    "a matrix": (lambda f: f.to_numpy(), {"prediction": "double[3]"}),
    "a list of lists": (lambda f: f.to_numpy().tolist(), {"prediction": "double[3]"}),
    "a list of text": (lambda f: ["x"] * len(f), {"prediction": "string"}),
    "a list of dicts": (
        lambda f: [{"label": "x", "score": v} for v in f.a],
        {"label": "string", "score": "double"},
    ),
    "a dict of lists": (lambda f: {"score": f.a.tolist()}, {"score": "double"}),
    "a numbered frame": (
        lambda f: pd.DataFrame({0: ["x"] * len(f), 1: f.a}),
        {"prediction_0": "string", "prediction_1": "double"},
    ),
    "several tensors": (
        lambda f: (__import__("torch").tensor(f.a.to_numpy()), f.to_numpy()),
        {"prediction_0": "double", "prediction_1": "double[3]"},
    ),
    "a frame of all": (
        lambda f: pd.DataFrame(
            {
                "label": ["x"] * len(f),
                "vector": f.to_numpy().tolist(),
                "day": [DAY] * len(f),
                "at": pd.Timestamp("2024-03-01 05:00"),
                "maybe": [None, *f.a[1:]],
                "count": pd.array([1] * len(f), "Int64"),
            }
        ),
        {
            "label": "string",
            "vector": "double[3]",
            "day": "date",
            "at": "datetime",
            "maybe": "double",
            "count": "long",
        },
    ),
    "pairs of a label and a score": (
        lambda f: list(zip(np.where(f.a > 0, "came", "went"), f.a, strict=True)),
        {"prediction_0": "string", "prediction_1": "double"},
    ),
    "a matrix of one column": (lambda f: np.matrix(f[["a"]].to_numpy()), {"prediction": "double"}),
    "a column alone": (lambda f: f.a.squeeze(), {"prediction": "double"}),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_what_a_model_returns_is_what_is_published(python_model: Save, kind: str) -> None:
    predict, expected = GIVEN[kind]
    assert outputs(python_model(predict)) == expected


def test_a_tuple_of_two_items_for_two_rows_is_what_it_was_for_one(python_model: Save) -> None:
    """Three rows are tried: one, then two."""
    lists = python_model(lambda f: (["x"] * len(f), f.a.to_numpy()))
    found = answer(lists, ROWS.slice(0, 3))
    assert found.trial is not None, found.fault
    assert [o.words for o in found.trial.outputs] == ["string", "double"]
    assert [o.source for o in found.trial.outputs] == ["0", "1"]


def test_a_name_that_nocturne_writes_is_no_fault_of_loading(python_model: Save) -> None:
    found = answer(python_model(lambda f: {"_reason": f.a}))
    assert found.fault.startswith("the model predicts _reason, which is the name of a column")


def test_of_one_row_an_output_may_have_no_dimension() -> None:
    """As a torch module gives it that ends in ``squeeze()``."""
    from nocturne.trial.__main__ import _call_model

    class Squeezed:
        def predict(self, encoded: list[Any]) -> list[np.ndarray]:
            return [encoded[0].squeeze()]

    encoding = Encoding((TensorSpec("x", "float64", "numeric", (Feature("a"),)),), ())
    raw, raised = _call_model(Squeezed(), encoding, ROWS, 1e9)
    assert raw is not None
    assert raised == [None] * 40
    assert raw[0].tolist() == FRAME.a.tolist()


def test_a_value_a_row_is_wanted(python_model: Save) -> None:
    found = answer(python_model(lambda f: float(f.a.mean())))
    assert found.fault.startswith(
        "the model returned one float for 39 rows; expected a value a row"
    )


def test_a_model_that_raises_on_all_rows_is_at_fault(python_model: Save) -> None:
    def broken(frame: pd.DataFrame) -> Any:
        raise KeyError("first line\nno column d")

    found = answer(python_model(broken))
    assert "raises on each of the 40 rows that it was tried on: KeyError: " in found.fault


def test_a_model_that_raises_on_some_rows_says_on_how_many(python_model: Save) -> None:
    def picky(frame: pd.DataFrame) -> Any:
        if frame.a.isna().any():
            raise ValueError("Input X contains NaN")
        return frame.a

    holes = ROWS.set_column(0, "a", pa.array([None, None, *FRAME.a[2:]]))
    found = answer(python_model(picky), holes)
    assert found.trial is not None
    assert (found.trial.rows, found.trial.raised) == (40, 2)
    assert found.trial.cause == "ValueError: Input X contains NaN"
    assert len(found.trial.scores) == 3


def test_a_package_that_is_missing_is_told_apart(python_model: Save) -> None:
    def lacking(frame: pd.DataFrame) -> Any:
        import package_that_no_one_has

        return package_that_no_one_has.predict(frame)

    assert answer(python_model(lacking)).missing.startswith(
        "ModuleNotFoundError: No module named 'package_that_no_one_has'. Its requirements.txt "
    )


def test_slow_models_are_tried_on_fewer_rows(python_model: Save) -> None:
    def slow(frame: pd.DataFrame) -> Any:
        __import__("time").sleep(0.02 * len(frame))
        return frame.a

    from nocturne.trial.__main__ import _answer

    found = _answer(asked(python_model(slow), seconds=1.0), ROWS)
    assert found.trial is not None
    assert 2 <= found.trial.rows < 30


def test_the_names_that_nocturne_writes_are_refused() -> None:
    from nocturne.encoding import OutputSpec
    from nocturne.errors import ConfigError
    from nocturne.pipeline.trial import check_names

    for names in (
        ["p", "p"],
        ["id"],
        [MODEL_VERSION],
        ["_reason"],
        ["P", "p"],
        ["ID"],
        ["DS"],
        ["Model_Version"],
    ):
        with pytest.raises(ConfigError, match=rf"predicts {names[0]}(, p)?, which is the name"):
            check_names([OutputSpec(name) for name in names], ["id", "ds"])
