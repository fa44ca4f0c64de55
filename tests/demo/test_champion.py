"""The demo's model: better than a logistic regression, and registered once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import mlflow.artifacts
import pytest
import torch

from nocturne.demo import train
from nocturne.demo.champion import ALIAS, EXPERIMENT, MODEL, champion, recipe
from nocturne.demo.flights import Prepared
from nocturne.demo.model import FlightDelay
from nocturne.encoding import ENCODING_FILE
from nocturne.model import registry


@pytest.fixture
def few_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of seconds: what is registered matters here, not how good it is."""
    monkeypatch.setattr(train, "TRAINING", ("2013-02-24", "2013-03-05"))
    monkeypatch.setattr(train, "APRIL", ("2013-04-01", "2013-04-02"))
    monkeypatch.setattr(train, "SETTINGS", replace(train.SETTINGS, epochs=1))


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    yield f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])
    os.environ.pop("MLFLOW_REGISTRY_URI", None)  # MLflow's own word, which would count as ours


@pytest.mark.usefixtures("uri")
def test_on_april_the_network_beats_the_logistic_regression(demo: Path) -> None:
    found = champion(demo / "var" / "demo", f"sqlite:///{demo}/var/mlflow/mlflow.db")
    assert not found.made
    assert found.auc_april > found.logistic_april > 0.6


def test_april_is_none_of_the_months_of_training() -> None:
    assert train.TRAINING == ("2013-01-01", "2013-03-31")


@pytest.mark.usefixtures("few_days")
def test_it_is_trained_on_those_days_alone(prepared: Prepared) -> None:
    trained = train.train(prepared.flights.parent)
    days = set(trained.data["ds"].unique().to_pylist())
    assert days == {day for day in prepared.rows if "2013-02-24" <= day <= "2013-03-05"}


@pytest.mark.usefixtures("few_days")
def test_the_champion_is_trained_once_and_an_alias_that_was_moved_stays(
    prepared: Prepared, uri: str, tmp_path: Path
) -> None:
    folder = prepared.flights.parent
    first = champion(folder, uri)
    client = mlflow.MlflowClient(uri, uri)
    version = client.get_model_version_by_alias(MODEL, ALIAS)
    assert (first.made, first.version) == (True, int(version.version))
    assert version.tags["stage"] == "production"
    assert version.tags["recipe"] == recipe()
    local = Path(
        mlflow.artifacts.download_artifacts(f"models:/{MODEL}@{ALIAS}", dst_path=str(tmp_path))
    )
    assert (local / ENCODING_FILE).is_file()
    assert (local / registry.BASELINE_FILE).is_file()
    assert (local / "data" / "model.pt2").is_file()
    run = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])[0]
    assert {"auc_april", "auc_april_logistic"} <= set(run.data.metrics)

    again = champion(folder, uri)
    assert not again.made
    assert again.version == first.version
    assert again.auc_april == pytest.approx(first.auc_april, abs=1e-4)

    own = client.create_model_version(MODEL, version.source)
    client.set_registered_model_alias(MODEL, ALIAS, own.version)
    assert champion(folder, uri).version == first.version
    assert client.get_model_version_by_alias(MODEL, ALIAS).version == own.version

    client.delete_registered_model_alias(MODEL, ALIAS)
    champion(folder, uri)
    assert int(client.get_model_version_by_alias(MODEL, ALIAS).version) == first.version


def test_weather_reaches_the_model_only_through_its_linear_part() -> None:
    module = FlightDelay(numbers=6, schedule=2, sizes=[4, 3]).eval()
    numbers, codes = torch.zeros(2, 6), torch.zeros(2, 2, dtype=torch.int64)
    numbers[1, 4] = 3.0
    with torch.no_grad():
        calm, storm = module(numbers, codes).tolist()
    assert storm - calm == pytest.approx(3 * module.linear.weight[0, 4].item(), abs=1e-5)


def test_an_unknown_code_is_a_code_of_its_own() -> None:
    module = FlightDelay(numbers=2, schedule=1, sizes=[4, 3])
    assert module(torch.zeros(1, 2), torch.tensor([[3, 2]])).shape == (1,)
