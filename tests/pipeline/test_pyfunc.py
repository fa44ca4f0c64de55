"""A second model, scikit-learn through pyfunc: one more YAML file and no code."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from nocturne import config
from nocturne.contract import baseline, register
from nocturne.errors import InputError, ModelError
from nocturne.model.tracking import connect, experiment_id
from nocturne.pipeline import prepare
from nocturne.pipeline.night import score_range
from pipeline.conftest import judgement_of

Project = Callable[..., config.Loaded]
COLUMNS = ["a", "b", "c"]


@pytest.fixture
def sklearn_project(project: Project):  # type: ignore[no-untyped-def]
    """Registers a logistic regression and writes its YAML; returns both."""

    def make(serialization_format: str = "skops", **model: object):  # type: ignore[no-untyped-def]
        loaded = project()
        client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
        mlflow.set_experiment(experiment_id=experiment_id(client, f"sk-{loaded.home.name}"))
        random = np.random.default_rng(1)
        frame = pd.DataFrame(random.normal(size=(400, 3)), columns=COLUMNS)
        fitted = LogisticRegression().fit(frame, frame.a + frame.b > 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            info = mlflow.sklearn.log_model(
                fitted,
                name="plain",
                signature=mlflow.models.infer_signature(frame, fitted.predict(frame)),
                serialization_format=serialization_format,
                pip_requirements=[],
            )
        data = pa.Table.from_pandas(frame, preserve_index=False)
        predictions = pa.table({"prediction": fitted.predict(frame)})
        register(info, "plain", alias="champion", baseline=baseline(data, predictions))
        night = random.normal(size=(300, 3))
        folder = loaded.home / "tables" / "plain" / "ds=2024-01-01"
        folder.mkdir(parents=True)
        table = {"id": np.arange(300), **dict(zip(COLUMNS, night.T, strict=True))}
        pq.write_table(pa.table(table), folder / "p.parquet")
        text = {
            "model": {"name": "plain", "alias": "champion", **model},
            "input": {"path": "tables/plain"},
            "output": {"path": "out/plain", "keys": ["id"]},
        }
        (loaded.home / "conf" / "pipelines" / "plain.yaml").write_text(yaml.safe_dump(text))
        return config.load("plain"), fitted, pd.DataFrame(night, columns=COLUMNS)

    return make


@pytest.mark.usefixtures("_spark")
def test_a_scikit_learn_model_scores_as_it_predicts(sklearn_project) -> None:  # type: ignore[no-untyped-def]
    loaded, fitted, night = sklearn_project()
    day = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    [done] = score_range(loaded, [day], force=False, dry_run=False, say=lambda _: None)
    assert done.outcome == "published", done.message
    scores = pq.read_table(str(done.output), partitioning=None)
    assert scores.schema.names == ["id", "prediction", "model_version"]
    assert scores["prediction"].to_pylist() == fitted.predict(night).tolist()
    assert done.manifest is not None
    assert done.manifest.model.backend == "pyfunc"
    assert {f.column for f in judgement_of(loaded, done.manifest).drift.columns} == {
        *COLUMNS,
        "prediction",
    }


def test_a_pickle_is_refused_and_the_message_says_how_to_export(sklearn_project) -> None:  # type: ignore[no-untyped-def]
    loaded, _, _ = sklearn_project("cloudpickle")
    day = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    with pytest.raises(
        ModelError,
        match=r"holds what may be code .*model\.pkl: its serialization_format is "
        "'cloudpickle', which is a pickle.*allow_pickle: true",
    ):
        prepare(loaded, day)


def test_a_pickle_is_taken_where_the_yaml_allows_it(sklearn_project) -> None:  # type: ignore[no-untyped-def]
    loaded, _, _ = sklearn_project("cloudpickle", allow_pickle=True)
    day = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    assert prepare(loaded, day, dry_run=True).action == "dry_run"


def test_a_type_that_the_signature_can_not_take_is_refused(sklearn_project) -> None:  # type: ignore[no-untyped-def]
    loaded, _, _ = sklearn_project()
    folder = Path(loaded.home) / "tables" / "plain" / "ds=2024-01-01"
    table = pq.read_table(folder / "p.parquet", partitioning=None)
    text = table.set_column(1, "a", table["a"].cast(pa.string()))
    pq.write_table(text, folder / "p.parquet")
    day = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    with pytest.raises(InputError, match="column 'a' is string, the model wants double"):
        prepare(loaded, day)
