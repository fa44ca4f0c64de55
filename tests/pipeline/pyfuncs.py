"""PythonModels that write down what they are called with, and projects that score with them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, Schema

from nocturne import config
from nocturne.model.tracking import connect, experiment_id

COLUMNS = {"id": "long", "x": "double", "y": "double", "word": "string"}
Predict = Callable[[pd.DataFrame], Any]


class Noted(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Predicts by a function, and writes the ids of each call into a file."""

    def __init__(self, log: Path, predict: Predict) -> None:
        self.log, self.function = log, predict

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        with open(self.log, "a", encoding="ascii") as file:
            file.write(json.dumps(model_input["id"].tolist()) + "\n")
        return self.function(model_input)


def calls(log: Path) -> Iterator[list[int]]:
    """The ids of each call so far."""
    if log.exists():
        for line in log.read_text(encoding="ascii").splitlines():
            yield json.loads(line)


def log_model(
    loaded: config.Loaded,
    name: str,
    model: mlflow.pyfunc.PythonModel,
    *,
    columns: Mapping[str, str] = COLUMNS,
    requirements: Sequence[str] = (),
    params: ParamSchema | None = None,
) -> mlflow.MlflowClient:
    """Register a PythonModel of these columns, which gives a double; returns the registry."""
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=experiment_id(client, name))
    inputs = [ColSpec(type_, column, required=False) for column, type_ in columns.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.log_model(
            name=name,
            python_model=model,
            signature=ModelSignature(Schema(inputs), Schema([ColSpec("double")]), params),
            pip_requirements=list(requirements),
            registered_model_name=name,
        )
    return client


def project_of(
    project: Callable[..., config.Loaded],
    predict: Predict,
    *,
    requirements: Sequence[str] = (),
    **changes: Any,
) -> config.Loaded:
    """A project whose pipeline scores with a PythonModel of ``predict``; it notes in calls.log."""
    loaded = project(model__name="noted", model__allow_pickle=True, **changes)
    model = Noted(loaded.home / "calls.log", predict)
    client = log_model(loaded, "noted", model, requirements=requirements)
    client.set_registered_model_alias("noted", "champion", "1")
    return loaded
