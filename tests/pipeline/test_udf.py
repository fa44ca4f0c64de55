"""score_udf: the registered model as a Spark column, equal to what the engine gives."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from conftest import ENCODING, Small, sample
from nocturne.encoding import Encoding, Feature, TensorSpec, output_of, with_nulls
from nocturne.engine import TorchModel, score
from nocturne.errors import ConfigError, ModelError
from nocturne.model.tracking import connect, experiment_id
from nocturne.spark import score_udf
from nocturne.spark import udf as udf_module


@pytest.fixture(scope="module")
def own(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of these tests, with the model "small", in which they register others."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(registry / "mlflow.db", folder)
    return folder


@pytest.fixture
def uri(own: Path) -> str:
    return f"sqlite:///{own / 'mlflow.db'}"


def _expected(table: pa.Table) -> list[float | None]:
    done = score(table.to_batches(), TorchModel(Small()), ENCODING)
    return [value for batch in done for value in batch.column("score").to_pylist()]


@pytest.mark.parametrize("arguments", [(), ("x", "y", "word")])
def test_it_gives_the_engines_scores(spark, uri: str, arguments: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    table = sample(3000)
    udf = score_udf(spark, "models:/small@champion", tracking_uri=uri)
    assert udf.columns == ["x", "y", "word"]  # type: ignore[attr-defined]
    found = spark.createDataFrame(table).withColumn("p", udf(*arguments)).toArrow()
    order = np.argsort(found["id"].to_numpy())
    np.testing.assert_allclose(found["p"].to_numpy()[order], _expected(table), rtol=1e-6)
    assert found["p"].type == pa.float32()


def test_a_row_without_a_prediction_is_null(spark, uri: str) -> None:  # type: ignore[no-untyped-def]
    table = sample(50)
    y = table["y"].to_pylist()
    x = table["x"].to_pylist()
    y[7], x[7] = float("inf"), float("-inf")
    table = table.set_column(1, "x", pa.array(x)).set_column(2, "y", pa.array(y))
    udf = score_udf(spark, "models:/small/1", tracking_uri=uri)
    found = spark.createDataFrame(table).withColumn("p", udf()).toArrow().sort_by("id")
    assert [i for i, value in enumerate(found["p"].to_pylist()) if value is None] in ([7], [])
    assert found["p"].null_count == _expected(table).count(None)


@pytest.mark.parametrize("bad", ["small@champion", "models:/small/Production", "runs:/1/model"])
def test_another_uri_is_refused(spark, bad: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="expected models:/NAME@ALIAS or models:/NAME/VERSION"):
        score_udf(spark, bad)


def test_a_model_that_is_not_there_and_a_wrong_number_of_columns(spark, uri: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelError, match="has no alias 'challenger'"):
        score_udf(spark, "models:/small@challenger", tracking_uri=uri)
    udf = score_udf(spark, "models:/small@champion", tracking_uri=uri)
    with pytest.raises(ConfigError, match="got 1 columns, the model takes 3: x, y, word"):
        udf("x")


@pytest.fixture(scope="module")
def hours(own: Path) -> str:
    """The registry's URI, with the model "hours" in it: what the clock of column "at" shows."""

    class Hours(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return model_input["at"].dt.hour.astype(float)

    uri = f"sqlite:///{own / 'mlflow.db'}"
    mlflow.set_experiment(experiment_id=experiment_id(connect(uri), "hours"))
    at = pd.DataFrame({"at": pd.to_datetime(["2026-01-01 03:00"])})
    signature = mlflow.models.infer_signature(at, pd.Series([3.0]))
    mlflow.pyfunc.log_model(
        name="hours",
        python_model=Hours(),
        signature=signature,
        registered_model_name="hours",
        pip_requirements=[],
    )
    return uri


@pytest.fixture
def berlin(spark):  # type: ignore[no-untyped-def]
    """A session in Berlin with one moment: 23:30 there, 22:30 in UTC."""
    spark.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    moment = dt.datetime(2026, 1, 1, 22, 30, tzinfo=dt.UTC)
    yield spark.createDataFrame(pa.table({"at": pa.array([moment], pa.timestamp("us", "UTC"))}))
    spark.conf.unset("spark.sql.session.timeZone")


@pytest.mark.parametrize(("clock", "hour"), [("local", 23.0), ("utc", 22.0), ("Asia/Tokyo", 7.0)])
def test_the_clock_of_a_named_zone_is_asked_for(
    spark, hours: str, berlin, clock: str, hour: float
) -> None:  # type: ignore[no-untyped-def]
    given = {"tracking_uri": hours, "allow_pickle": True}
    udf = score_udf(spark, "models:/hours/1", cast={"at": clock}, **given)
    assert berlin.select(udf()).toArrow().column(0).to_pylist() == [hour]
    told = "is timestamp.*Europe/Berlin.*the model wants datetime in no time zone"
    with pytest.raises(Exception, match=told):
        berlin.select(score_udf(spark, "models:/hours/1", **given)()).toArrow()


def test_a_decimal_is_a_number_where_cast_says_so(spark, uri: str) -> None:  # type: ignore[no-untyped-def]
    table = sample(300)
    given = spark.createDataFrame(table).selectExpr("*", "cast(x as decimal(20, 12)) as exact")
    how = {"tracking_uri": uri, "cast": {"x": "double"}}
    found = given.withColumn("p", score_udf(spark, "models:/small/1", **how)("exact", "y", "word"))
    found = found.toArrow().sort_by("id")
    np.testing.assert_allclose(found["p"].to_numpy(), _expected(table), rtol=1e-5)
    refused = score_udf(spark, "models:/small/1", tracking_uri=uri)("exact", "y", "word")
    with pytest.raises(Exception, match=r"(?s)is decimal128\(20, 12\), the model wants a number"):
        given.select(refused).toArrow()
    none = score_udf(spark, "models:/small/1", tracking_uri=uri, cast={"z": "double"})()
    with pytest.raises(Exception, match="column 'z' of input.cast is none that the model reads"):
        given.select(none).toArrow()


def test_a_model_without_named_columns_takes_those_that_are_said(spark, own: Path) -> None:  # type: ignore[no-untyped-def]
    """And the params that its signature names."""

    class Weighted(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return model_input @ np.array(params["weights"])

    uri = f"sqlite:///{own / 'mlflow.db'}"
    mlflow.set_experiment(experiment_id=experiment_id(connect(uri), "weighted"))
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    signature = mlflow.models.infer_signature(array, array[:, 0], params={"weights": [1.0, 1.0]})
    mlflow.pyfunc.log_model(
        name="weighted",
        python_model=Weighted(),
        signature=signature,
        pip_requirements=[],
        registered_model_name="weighted",
    )
    told = {"inputs": ["y", "x"], "params": {"weights": [10.0, 1.0]}}
    udf = score_udf(spark, "models:/weighted/1", tracking_uri=uri, allow_pickle=True, **told)
    table = spark.createDataFrame(pa.table({"x": [1.0, 2.0], "y": [3.0, 4.0]}))
    assert sorted(table.select(udf()).toArrow().column(0).to_pylist()) == [31.0, 42.0]


@pytest.fixture(scope="module")
def odd(own: Path) -> str:
    """The registry's URI, with models in it whose signatures say nothing of what they give."""

    class Odd(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            x = model_input["a.`x`"]
            why = ["1" if value < 2 else "b" if value < 3 else None for value in x]
            return pd.DataFrame({"score": x, "why": why})

    class LacksWhenLoaded(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def load_context(self, context):  # type: ignore[no-untyped-def]
            import nocturne_has_none  # noqa: F401

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return model_input["a.`x`"]

    class LacksLater(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            import nocturne_has_none

            return nocturne_has_none.score(model_input)

    uri = f"sqlite:///{own / 'mlflow.db'}"
    mlflow.set_experiment(experiment_id=experiment_id(connect(uri), "odd"))
    signature = mlflow.models.infer_signature(pd.DataFrame({"a.`x`": [1.0]}))
    for kind in (Odd, LacksWhenLoaded, LacksLater):
        mlflow.pyfunc.log_model(
            name=kind.__name__,
            python_model=kind(),
            signature=signature,
            registered_model_name=kind.__name__,
            pip_requirements=["nocturne-has-none==1.0"],
        )
    return uri


@pytest.mark.parametrize(
    ("said", "came"),
    [
        ({"score": "double"}, [1.0, 2.5, 3.0]),
        ({"score": "long"}, [1, None, 3]),
        ({"why": "string"}, ["1", "b", None]),
        ({"score": "long", "why": "string"}, [(1, "1"), (None, None), (3, None)]),
    ],
)
def test_outputs_are_as_they_are_said_and_never_cut(
    spark, odd: str, said: dict[str, str], came: list[object]
) -> None:  # type: ignore[no-untyped-def]
    udf = score_udf(spark, "models:/Odd/1", tracking_uri=odd, allow_pickle=True, outputs=said)
    rows = spark.createDataFrame(pa.table({"a.`x`": [1.0, 2.5, 3.0]})).coalesce(1)
    assert udf.columns == ["`a.``x```"]  # type: ignore[attr-defined]
    found = rows.select(udf()).toArrow().column(0).to_pylist()
    assert [tuple(v.values()) if isinstance(v, dict) else v for v in found] == came


def test_outputs_that_cant_be_said_are_refused(spark, uri: str, odd: str) -> None:  # type: ignore[no-untyped-def]
    told = {"tracking_uri": odd, "allow_pickle": True, "outputs": {"why": "words"}}
    with pytest.raises(ConfigError, match="why: 'words' is no type; expected boolean, integer"):
        score_udf(spark, "models:/Odd/1", **told)
    with pytest.raises(ConfigError, match="small version 1 has one, which says its outputs"):
        score_udf(spark, "models:/small/1", tracking_uri=uri, outputs={"score": "double"})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("LacksLater", "needs a package that is not installed.*then run the query again"),
        ("LacksWhenLoaded", "can't be loaded: ModuleNotFoundError"),
    ],
)
def test_a_package_that_is_missing_is_named_in_the_query(
    spark, odd: str, name: str, told: str
) -> None:  # type: ignore[no-untyped-def]
    udf = score_udf(spark, f"models:/{name}/1", tracking_uri=odd, allow_pickle=True)
    rows = spark.createDataFrame(pa.table({"a.`x`": [1.0]}))
    with pytest.raises(Exception, match=r"(?s)nocturne\.errors\.ModelError") as raised:
        rows.select(udf()).toArrow()
    said = str(raised.value)
    assert re.search(told, said)
    assert "asks for it: nocturne-has-none==1.0 is not installed" in said


class _Gives:
    """A pyfunc model as the engine sees it, which gives the same for each row."""

    padded = False

    def __init__(self, *values: Any, names: Sequence[str] = ()) -> None:
        self.values, self.names = values, names

    def predict(self, encoded: Any) -> Any:
        found = [np.array([value] * len(encoded[0])) for value in self.values]
        return dict(zip(self.names, found, strict=True)) if self.names else found


class _Begins(_Gives):
    """One that works by itself once begun."""

    def begin(self, encoded: Any, size: int) -> Any:
        return lambda: self.predict(encoded)


def _query(
    monkeypatch: pytest.MonkeyPatch, model: Any, outputs: Mapping[str, str], batches: int = 1
) -> list[pa.Array]:
    """What a Python worker gives of batches of three rows."""
    monkeypatch.setattr(udf_module, "_loaded", lambda *_: model)
    monkeypatch.setattr(udf_module, "_folder", lambda _: Path())
    said = tuple(output_of(name, words) for name, words in outputs.items())
    inputs = (TensorSpec("", "frame", "frame", (Feature("x", type="double"),)),)
    spec = Encoding(inputs, with_nulls(said)).to_json()
    given = pa.RecordBatch.from_pydict({"x": [1.0, 2.0, 3.0]})
    return list(udf_module._score("a", spec, "pyfunc", {}, {}, 1024, iter([given] * batches)))


MOMENT = dt.datetime(2024, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))


@pytest.mark.parametrize(
    ("model", "said", "told"),
    [
        (
            _Gives("x"),
            {"p": "double"},
            "returned what is string for the output 'p', which is said to be double: not one of "
            r"the first rows fits.*outputs=\{'p': 'string'\}$",
        ),
        (_Begins("x"), {"p": "double"}, r"outputs=\{'p': 'string'\}$"),
        (_Gives(0.4), {"p": "long"}, r"outputs=\{'p': 'double'\}$"),
        (_Gives(MOMENT), {"p": "double"}, r"outputs=\{'p': 'datetime'\}$"),
        (
            _Gives(1.0, "x"),
            {"p": "double", "q": "double"},
            r"outputs=\{'p': 'double', 'q': 'string'\}$",
        ),
        (
            _Gives(np.datetime64("2024-01-01T00:00:00.000000001")),
            {"p": "datetime"},
            "digits beyond microseconds",
        ),
        (
            _Gives(1.0, 2.0),
            {"p": "double"},
            r"returned 2 outputs, and 1 are declared.*"
            r"outputs=\{'prediction_0': 'double', 'prediction_1': 'double'\}$",
        ),
        (
            _Gives(1.0, "x", names=("a", "b")),
            {"p": "double"},
            r"outputs=\{'a': 'double', 'b': 'string'\}$",
        ),
        (
            _Gives(1.0, "x", names=("a", "b")),
            {"a": "double", "c": "double"},
            r"outputs=\{'a': 'double', 'b': 'string'\}$",
        ),
        (_Gives([1.0, 2.0]), {"p": "double"}, r"outputs=\{'p': 'double\[2\]'\}$"),
        (_Gives([1.0, 2.0]), {"p": "double[3]"}, r"outputs=\{'p': 'double\[2\]'\}$"),
    ],
)
def test_columns_of_nulls_alone_are_no_answer(
    monkeypatch: pytest.MonkeyPatch, model: Any, said: dict[str, str], told: str
) -> None:
    with pytest.raises(ModelError, match=f"(?s){told}"):
        _query(monkeypatch, model, said)


def test_a_batch_without_predictions_says_nothing_and_one_that_fits_says_it_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Later(_Gives):
        def predict(self, encoded: Any) -> Any:
            value, *rest = self.values
            self.values = tuple(rest)
            return [np.array([value] * 3, dtype=object)]

    found = _query(monkeypatch, Later(None, 1.5, "x"), {"p": "double"}, batches=3)
    assert [a.to_pylist() for a in found] == [[None] * 3, [1.5] * 3, [None] * 3]
    with pytest.raises(ModelError, match="what is string"):
        _query(monkeypatch, Later(None, "x"), {"p": "double"}, batches=2)


def test_times_with_a_zone_are_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    [found] = _query(monkeypatch, _Gives(MOMENT, MOMENT), {"at": "datetime", "text": "string"})
    assert found[0].as_py() == {"at": dt.datetime(2024, 1, 1), "text": str(MOMENT)}
