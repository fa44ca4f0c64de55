"""A canary in Airflow, which fails in mid-night: another run takes the place of the planned one."""

from __future__ import annotations

import json
import sys
import threading
import warnings
from typing import Any

import cloudpickle
import mlflow
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from e2e.helpers import Local, days, status

pytestmark = [pytest.mark.e2e, pytest.mark.long]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers have no tests


class Lacking(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Scores in its trial, and lacks a package where it scores the night."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        if threading.current_thread() is threading.main_thread():
            return (model_input["distance"] * 0).astype("float32")
        raise ModuleNotFoundError("No module named 'lacking'", name="lacking")


def _register(local: Local) -> None:
    from nocturne.model.tracking import connect, experiment_id

    client = connect(local.env["MLFLOW_TRACKING_URI"])
    mlflow.set_experiment(experiment_id=experiment_id(client, "lacking"))
    signature = ModelSignature(
        Schema([ColSpec("double", "distance", required=False)]), Schema([ColSpec("float")])
    )
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.pyfunc.log_model(
                name="lacking",
                python_model=Lacking(),
                signature=signature,
                pip_requirements=[],
                registered_model_name="lacking",
            )


def _night(local: Local, day: str) -> dict[str, str]:
    run = local.airflow.trigger("tried", day)
    return local.ended("tried", run)


def _canary(local: Local) -> dict[str, Any]:
    return dict(json.loads(local.run("nocturne", "canary", "tried", "--json").stdout)["nights"])


def _versions(local: Local, day: str) -> set[int]:
    table = pq.read_table(local.root / "var/tried/scores" / f"ds={day}", partitioning=None)
    return {*table["model_version"].to_pylist()}


def test_one_that_fails_leaves_the_night_and_the_next_one_has_its_share(local: Local) -> None:
    first, second = days(2)
    _register(local)
    assert _night(local, first)["publish"] == "success"
    served = _canary(local)[first]
    assert served["out"] == "failed"
    assert "lacking" in served["dropped"]
    assert _versions(local, first) == {status(local, "tried", first)["model_version"]}
    [told] = [alert for alert in local.told("tried") if alert["event"] == "canary"]
    assert told["partition"] == first
    assert "it scores no more nights: it was dropped: lacking" in told["why"]
    local.run("nocturne", "verify", "tried", "--date", first, "--replay")

    client = mlflow.MlflowClient(local.env["MLFLOW_TRACKING_URI"])
    champion = client.get_model_version_by_alias("flight_delay", "champion")
    beside = client.create_model_version(
        "flight_delay",
        champion.source,
        champion.run_id,
        model_id=champion.source.removeprefix("models:/"),
    )
    path = local.root / "conf" / "pipelines" / "tried.yaml"
    settings = yaml.safe_load(path.read_text())
    canary = {"version": int(beside.version), "percent": 30, "key": ["carrier", "flight"]}
    path.write_text(yaml.safe_dump(settings | {"canary": canary | {"stop_on": {"drift": False}}}))
    assert _night(local, second)["publish"] == "success"
    assert _versions(local, second) == {int(champion.version), int(beside.version)}
    assert _canary(local)[second]["out"] == ""
    shown = status(local, "tried", second)
    assert shown["models"] == f"{champion.version} + {beside.version} (30 %)"
    local.run("nocturne", "verify", "tried", "--date", second, "--replay")
    assert len([alert for alert in local.told("tried") if alert["event"] == "canary"]) == 1
