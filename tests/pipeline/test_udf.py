"""score_udf: the registered model as a Spark column, equal to what the engine gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from conftest import ENCODING, Small, sample
from nocturne.engine import TorchModel, score
from nocturne.errors import ConfigError, ModelError
from nocturne.spark import score_udf


@pytest.fixture
def uri(registry: Path) -> str:
    return f"sqlite:///{registry / 'mlflow.db'}"


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
