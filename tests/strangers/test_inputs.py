"""Models whose signature names no columns score what the YAML names, as they do when called."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
import torch
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.types.schema import Array
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nocturne.encoding import Encoding
from nocturne.engine.refused import refusal_reasons
from nocturne.errors import ConfigError, InputError, ModelError
from nocturne.model.declared_inputs import Slot
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import prepare
from pipeline.conftest import night_of
from pipeline.conftest import scored as pipeline_scored
from strangers.conftest import DAY, Project, night, read

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(200, 4))
Y = X @ [1.0, -2.0, 3.0, 0.5] + 1.0
NAMES = ["a", "b", "c", "d"]
TABLE = pa.table({name: X[:, at] for at, name in enumerate(NAMES)})
FITTED = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y)

close = partial(np.testing.assert_allclose, rtol=1e-12)
"""BLAS adds in another order where rows lie in memory in another way."""


def test_a_model_fitted_on_an_array_is_scored_and_replayed(strangers: Project) -> None:
    strangers.register(
        mlflow.sklearn.log_model,
        "array",
        FITTED,
        signature=infer_signature(X, Y),
        serialization_format="skops",
    )
    model = {"inputs": NAMES, "allow_pickle": False}
    loaded = strangers.pipeline("array", TABLE, model)
    manifest = night_of(loaded, DAY)
    assert manifest.rows_published == 200
    found = verify_partition(loaded, night(loaded), replay=None)
    assert [one.outcome for one in found.replayed] == ["bit-equal"]
    scores = pq.read_table(Path(found.output)).sort_by("id")
    close(scores["prediction"], FITTED.predict(X))


def test_the_same_columns_in_another_order_are_other_scores(strangers: Project) -> None:
    strangers.register(mlflow.sklearn.log_model, "order", FITTED, signature=infer_signature(X, Y))
    turned = strangers.score("order", TABLE, inputs=NAMES[::-1])
    close(turned.column(), FITTED.predict(X[:, ::-1]))


def test_a_model_without_a_signature(strangers: Project) -> None:
    strangers.register(mlflow.sklearn.log_model, "bare", FITTED)
    close(strangers.score("bare", TABLE, inputs=NAMES).column(), FITTED.predict(X))


def test_a_frame_where_there_is_no_signature(strangers: Project) -> None:
    """The types are what a signature would have said."""

    class Joined(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            assert list(model_input.columns) == ["d", "word"]
            return model_input["d"] + model_input["word"].str.len()

    strangers.register(mlflow.pyfunc.log_model, "joined", python_model=Joined())
    table = TABLE.append_column("word", pa.array(["x" * (i % 3) for i in range(200)]))
    done = strangers.score("joined", table, inputs={"d": "double", "word": "string"})
    assert done.column() == [x + i % 3 for i, x in enumerate(X[:, 3])]


def test_mlflows_own_example_of_pytorch(strangers: Project) -> None:
    """Logged as pt2, which is what MLflow does by itself, and as a pickle with and without a
    signature; no encoding spec beside them.
    """
    torch.manual_seed(3)
    module = torch.nn.Linear(4, 1)
    x = X.astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()[:, 0]
    signature = infer_signature(x, expected[:, None])
    log = mlflow.pytorch.log_model
    strangers.register(log, "pt2", module, signature=signature, input_example=x[:5])
    for name, said in (("pickled", signature), ("unsigned", None)):
        strangers.register(log, name, module, signature=said, serialization_format="pickle")
    for name in ("pt2", "pickled", "unsigned"):
        done = strangers.score(name, TABLE, inputs=NAMES, allow_pickle=name != "pt2")
        np.testing.assert_allclose(done.column(), expected, rtol=1e-5, err_msg=name)


def test_a_module_that_was_exported_in_training_mode_is_refused(strangers: Project) -> None:
    """Dropout and batch normalization: who forgets ``eval()`` has scores that chance decides."""
    x = X.astype(np.float32)
    signature = infer_signature(x, x[:, :1])
    for name, layer in (("dropping", torch.nn.Dropout(0.5)), ("norming", torch.nn.BatchNorm1d(4))):
        module = torch.nn.Sequential(layer, torch.nn.Linear(4, 1)).train()
        strangers.register(
            mlflow.pytorch.log_model, name, module, signature=signature, input_example=x[:5]
        )
        with pytest.raises(ModelError, match="nothing was scored: the model gives .*module.eval()"):
            strangers.score(name, TABLE, inputs=NAMES, allow_pickle=False)


def shapes(strangers: Project, name: str, **tensors: np.ndarray[Any, Any]) -> None:
    """A model that gives a row's first value, and fails on other shapes and dtypes than these.

    ``_`` is a tensor without a name.
    """
    wanted = {n.strip("_"): (t.shape[1:], str(t.dtype)) for n, t in tensors.items()}

    class Shapes(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            given = model_input if isinstance(model_input, dict) else {"": model_input}
            found = {name: (array.shape[1:], str(array.dtype)) for name, array in given.items()}
            assert found == wanted, found
            first = next(iter(given.values()))
            return first.reshape(len(first), -1)[:, 0].astype(float)

    signature = infer_signature(tensors.get("_", tensors), np.zeros(2))
    strangers.register(mlflow.pyfunc.log_model, name, python_model=Shapes(), signature=signature)


def test_an_image_of_a_list_or_of_as_many_columns(strangers: Project) -> None:
    shapes(strangers, "image", _=np.zeros((2, 2, 2), np.float32))
    pixels = X.astype(np.float32)
    lists = pa.table({"pixels": pa.array(pixels.tolist(), pa.list_(pa.float32()))})
    for table, inputs in ((TABLE, NAMES), (lists, ["pixels"])):
        assert strangers.score("image", table, inputs=inputs).column() == pixels[:, 0].tolist()


def test_several_tensors_with_names(strangers: Project) -> None:
    shapes(strangers, "two", codes=np.zeros((2, 1), np.int64), x=np.zeros((2, 3), np.float32))
    table = TABLE.append_column("code", pa.array(range(200)))
    inputs = {"x": ["a", "b", "c"], "codes": ["code"]}
    assert strangers.score("two", table, inputs=inputs).column() == list(map(float, range(200)))


def test_a_row_without_a_value_for_its_tensor_is_not_made_up(strangers: Project) -> None:
    shapes(strangers, "whole", _=np.zeros((2, 2), np.int64))
    table = pa.table({"a": pa.array([1, None, 3]), "b": pa.array([4, 5, 6])})
    done = strangers.score("whole", table, inputs=["a", "b"])
    assert done.column() == [1.0, 3.0]
    assert done.reasons == {
        1: "column a is null, and the model takes whole numbers there (its signature says int64)"
    }
    shapes(strangers, "lists", _=np.zeros((2, 2), np.float64))
    lists = pa.table({"v": pa.array([[1.0, 2.0], [1.0], None, [3.0, None]])})
    done = strangers.score("lists", lists, inputs=["v"])
    assert done.column() == [1.0, 3.0]
    said = "column v is no list of 2 values, which the model takes there"
    assert done.reasons == {1: said, 2: said}


def test_a_value_that_a_tensor_of_floats_can_not_hold_is_not_rounded() -> None:
    far = [1, 2**53 + 1, None, -(2**60), 2**53]
    large = [1.0, 1e300, None, float("inf"), float("nan")]
    for dtype, column, bad in (
        ("float64", pa.array(far), {1, 3}),
        ("float64", pa.array([1, 2**64 - 1], pa.uint64()), {1}),
        ("float32", pa.array(far), set()),
        ("float32", pa.array(large), {1}),
        ("float64", pa.array(large), set()),
        ("float32", pa.array(large, pa.float32()), set()),
    ):
        values = column.to_pylist()
        pairs = pa.array([[values[0], value] for value in values], pa.list_(column.type))
        for given in (column, pairs):
            slot = Slot("", dtype, (-1, 1) if given is column else (-1, 2))
            encoding = Encoding((slot.tensor(["a"], "m"),), ())
            why = refusal_reasons(pa.record_batch({"a": given}), encoding)
            rows = [] if why is None else why.to_pylist()
            assert {row for row, said in enumerate(rows) if said} == bad
            assert set(rows) - {None} <= {
                f"column a has a value that {dtype} can't hold, which the model takes there"
            }


def test_a_float_that_is_null_is_nan(strangers: Project) -> None:
    class Missing(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            return np.isnan(model_input).sum(axis=1).astype(float)

    strangers.register(
        mlflow.pyfunc.log_model,
        "missing",
        python_model=Missing(),
        signature=infer_signature(X, Y),
    )
    table = TABLE.slice(0, 2).set_column(0, "a", pa.array([None, 1.0]))
    assert strangers.score("missing", table, inputs=NAMES).column() == [1.0, 0.0]


def test_an_array_has_the_rows_that_there_are(strangers: Project) -> None:
    """A frame has too: what a model does with a row may cost, or depend on the others."""

    class Count(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            return np.full(len(model_input), float(len(model_input)))

    signature = infer_signature(X, Y)
    strangers.register(mlflow.pyfunc.log_model, "count", python_model=Count(), signature=signature)
    assert set(strangers.score("count", TABLE, inputs=NAMES).column()) == {200.0}


def test_a_model_may_write_into_what_it_is_given(strangers: Project) -> None:
    """And raise then: rows that are tried again are those of the table."""

    class Writes(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            model_input += 1
            if (model_input[:, 0] == 151).any():
                raise ValueError("no")
            return model_input[:, 0].copy()

    signature = infer_signature(X, Y)
    strangers.register(
        mlflow.pyfunc.log_model, "writes", python_model=Writes(), signature=signature
    )
    numbers = np.arange(200.0)
    table = pa.table({"a": numbers, "b": numbers, "c": numbers, "d": numbers})
    scored = strangers.pipeline("writes", table, {"inputs": NAMES}, scoring={"micro_batch": 100})
    done = read(pipeline_scored(scored, DAY))
    assert done.column() == [n + 1 for n in numbers if n != 150]
    assert list(done.reasons) == [150]
    lists = pa.table({"v": [[n, n, n, n] for n in numbers[:100]]})
    assert strangers.score("writes", lists, inputs=["v"]).column() == [n + 1 for n in range(100)]


def test_a_model_may_fill_the_same_array_in_each_call(strangers: Project) -> None:
    class Keeps(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def load_context(self, context: Any) -> None:
            self.made = np.empty(4096)

        def predict(self, context: Any, model_input: Any) -> Any:
            made = self.made[: len(model_input)]
            np.add(model_input[:, 0], 1, out=made)
            return made

    signature = infer_signature(X, Y)
    strangers.register(mlflow.pyfunc.log_model, "keeps", python_model=Keeps(), signature=signature)
    numbers = np.arange(200.0)
    table = pa.table(dict.fromkeys("abcd", numbers))
    few = {"micro_batch": 64}
    done = read(
        pipeline_scored(strangers.pipeline("keeps", table, {"inputs": NAMES}, scoring=few), DAY)
    )
    assert done.column() == (numbers + 1).tolist()


def test_a_model_that_ends_the_process_has_failed_on_its_rows(strangers: Project) -> None:
    class Ends(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            if (model_input[:, 0] == X[150, 0]).any():
                sys.exit("no")
            return model_input[:, 0]

    signature = infer_signature(X, Y)
    strangers.register(mlflow.pyfunc.log_model, "ends", python_model=Ends(), signature=signature)
    done = strangers.score("ends", TABLE, inputs=NAMES)
    assert done.reasons == {150: "the model raised RuntimeError: it called sys.exit"}
    assert len(done.column()) == 199


def test_what_costs_and_says_nothing_of_its_outputs_is_refused(strangers: Project) -> None:
    class Words(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            return ["came"] * len(model_input)

    strangers.register(mlflow.pyfunc.log_model, "words", python_model=Words())
    model = {"inputs": NAMES, "calls": "costly"}
    with pytest.raises(ConfigError, match="say so in model.outputs"):
        strangers.score("words", TABLE, **model)
    done = strangers.score("words", TABLE, **model, outputs={"word": "string"})
    assert set(done.column("word")) == {"came"}


def test_text_by_type_hint_and_by_columns_without_names(strangers: Project) -> None:
    """``list[str]`` is the only hint by which MLflow itself makes a signature without names."""

    class Length(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, model_input: list[str]) -> list[float]:
            assert isinstance(model_input, list)
            return [float(len(text)) for text in model_input]

    class First(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            assert list(model_input.columns) == [0, 1]
            return model_input[0].str.len() + model_input[1]

    unnamed = ModelSignature(inputs=Schema([ColSpec("string"), ColSpec("double")]))
    strangers.register(mlflow.pyfunc.log_model, "hinted", python_model=Length())
    strangers.register(mlflow.pyfunc.log_model, "unnamed", python_model=First(), signature=unnamed)
    table = pa.table({"text": ["a", "bcd", ""], "x": [0.5, 1.0, 2.0]})
    assert strangers.score("hinted", table, inputs=["text"]).column() == [1.0, 3.0, 0.0]
    assert strangers.score("unnamed", table, inputs=["text", "x"]).column() == [1.5, 4.0, 2.0]


class Row(pydantic.BaseModel):
    """MLflow looks a hint's name up in the module."""

    x: float
    text: str


def test_records_by_type_hint_need_nothing_said(strangers: Project) -> None:
    class Records(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, model_input: list[Row]) -> list[float]:
            return [row.x + len(row.text) for row in model_input]

    strangers.register(mlflow.pyfunc.log_model, "records", python_model=Records())
    table = pa.table({"text": ["a", "bcd"], "x": [0.5, 1.0]})
    assert strangers.score("records", table).column() == [1.5, 4.0]


def test_a_frame_whose_columns_are_numbered(strangers: Project) -> None:
    """``DataFrame(array)``: the signature's names are 0, 1, 2 ..., which no Parquet column is."""
    frame = pd.DataFrame(X)
    fitted = LinearRegression().fit(frame, Y)
    strangers.register(
        mlflow.sklearn.log_model, "numbered", fitted, signature=infer_signature(frame, Y)
    )
    done = strangers.score("numbered", TABLE, inputs=NAMES)
    close(done.column(), fitted.predict(frame))


def test_a_column_of_arrays_by_name(strangers: Project) -> None:
    class Norm(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            return np.linalg.norm(np.vstack(model_input["v"].tolist()), axis=1)

    frame = pd.DataFrame({"v": X.tolist()})
    strangers.register(
        mlflow.pyfunc.log_model, "norm", python_model=Norm(), signature=infer_signature(frame, Y)
    )
    done = strangers.score("norm", pa.table({"v": X.tolist()}))
    np.testing.assert_allclose(done.column(), np.linalg.norm(X, axis=1), rtol=1e-12)


def test_lists_are_as_mlflow_gives_them_and_leave_the_columns_beside_them_alone(
    strangers: Project,
) -> None:
    """MLflow's own check refuses the nulls of ``n`` and ``q``, and makes text of that in a list."""

    class Seen(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any) -> Any:
            def said(row: Any) -> str:
                lists = [
                    f"{row[c].dtype}{row[c].tolist()}" if row[c] is not None else "no"
                    for c in ("d", "i", "b", "w", "o")
                ]
                row["d"][:] = 0.0  # it may write into them
                return f"{lists} {row['n']} {row['q']}"

            return [said(row) for _, row in model_input.iterrows()]

    types = {"d": "double", "i": "long", "b": "boolean", "w": "string", "o": "string"}
    spec = [ColSpec(Array(type_), c, required=c != "o") for c, type_ in types.items()]
    spec += [ColSpec(type_, c, required=False) for c, type_ in (("n", "long"), ("q", "boolean"))]
    logged = strangers.register(
        mlflow.pyfunc.log_model,
        "seen",
        python_model=Seen(),
        signature=ModelSignature(Schema(spec), Schema([ColSpec("string")])),
    )
    columns: dict[str, list[Any]] = {
        "d": [[1.5, 2.5], [0.5], [None], None, [4.0]],
        "i": [[1, 2], [3], [4], [5], [6, None]],
        "b": [[True], [False, True], [True], [True], [True]],
        "w": [["a", "bc"], ["d"], ["e", None], ["f"], ["g"]],
        "o": [["x"], None, None, ["y"], ["z"]],
        "n": [1, 2, None, 4, 5],
        "q": [True, False, None, True, True],
    }
    done = strangers.score("seen", pa.table(columns))
    direct = mlflow.pyfunc.load_model(logged.model_uri)
    frame = pd.DataFrame({c: values[:2] for c, values in columns.items()})
    for c in "diwbo":
        frame[c] = [None if v is None else np.array(v) for v in frame[c]]
    assert done.column()[:2] == direct.predict(frame)
    assert done.column()[2:] == [
        "['float64[nan]', 'int64[4]', 'bool[True]', \"object['e', None]\", 'no'] <NA> <NA>"
    ]
    assert done.reasons == {
        3: "column d is null, and the model takes lists there (its signature says array of double)",
        4: "column i has a null in its list, and the model takes whole numbers there (its "
        "signature says long)",
    }


def test_what_is_not_said_or_said_wrong_is_refused_before_scoring(strangers: Project) -> None:
    shapes(strangers, "four", _=np.zeros((2, 4), np.float64))
    shapes(strangers, "pair", x=np.zeros((2, 2)), y=np.zeros((2, 2)))
    frame = TABLE.to_pandas()
    strangers.register(
        mlflow.sklearn.log_model,
        "named",
        LinearRegression().fit(frame, Y),
        signature=infer_signature(frame, Y),
    )
    strangers.register(
        mlflow.sklearn.log_model,
        "fixed",
        FITTED,
        signature=ModelSignature(Schema([TensorSpec(np.dtype(float), (1, 4))])),
    )

    def refused(name: str, **model: Any) -> str:
        loaded = strangers.pipeline(name, TABLE.append_column("w", pa.array(["?"] * 200)), model)
        with pytest.raises((ConfigError, InputError, ModelError)) as caught:
            prepare(loaded, night(loaded), dry_run=True)
        return str(caught.value)

    said = refused("four")
    assert "no named columns, but tensors (float64 [-1, 4])" in said
    assert "model.inputs: [COLUMN, ...]" in said
    assert "has 3 columns for float64 [-1, 4]" in refused("four", inputs=["a", "b", "c"])
    assert "column 'w' is string, the model wants a number" in refused(
        "four", inputs=["a", "b", "c", "w"]
    )
    assert "column 'z' is missing" in refused("four", inputs=["a", "b", "c", "z"])
    assert "expected {x: [...], y: [...]}" in refused("pair", inputs=NAMES)
    assert "a tensor of shape [1, 4]; expected [-1, ...]" in refused("fixed", inputs=NAMES)
    assert "names its columns itself: a, b, c, d" in refused("named", inputs=NAMES)
