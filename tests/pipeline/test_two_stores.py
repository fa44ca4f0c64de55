"""MLflow with two stores, as MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI name them.

Models are registered in one of them; runs, and what was logged, are in the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from conftest import ENCODING, Small, sample
from nocturne import config
from nocturne.cli import doctor
from nocturne.cli.init.model import choose
from nocturne.contract import register, use_project
from nocturne.engine import TorchModel, score
from nocturne.errors import ModelError, RegistryUnavailable
from nocturne.model.tracking import connect, uris
from nocturne.pipeline.model import resolver, version_now
from nocturne.spark import score_udf
from pipeline.conftest import DAYS, judgement_of, night_of

Project = Callable[..., config.Loaded]


def _stores(root: Path) -> tuple[str, str]:
    return f"sqlite:///{root / 'var/mlflow/mlflow.db'}", f"sqlite:///{root / 'registry.db'}"


@pytest.fixture
def apart(project: Project, monkeypatch: pytest.MonkeyPatch) -> config.Loaded:
    """A project whose model "apart" is registered beside its tracking store."""
    loaded = project(model__name="apart")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", _stores(loaded.home)[1])
    client = use_project("training")
    found = client.search_logged_models([client.get_experiment_by_name("training").experiment_id])
    register(found[0].model_id, "apart", alias="champion")
    return loaded


def test_a_night_takes_its_model_from_one_and_is_logged_in_the_other(apart: config.Loaded) -> None:
    manifest = night_of(apart, DAYS[0])
    tracking, registry = _stores(apart.home)
    assert (manifest.model.name, version_now(apart)) == ("apart", 1)
    assert MlflowClient(tracking, tracking).get_run(
        str(judgement_of(apart, manifest).mlflow_run_id)
    )
    names = [m.name for m in MlflowClient(tracking, tracking).search_registered_models()]
    assert names == ["small"]
    assert [m.name for m in MlflowClient(registry, registry).search_registered_models()] == [
        "apart"
    ]
    assert [e.name for e in MlflowClient(registry, registry).search_experiments()] == ["Default"]


def test_the_other_commands_ask_the_same_two(apart: config.Loaded) -> None:
    named = uris(config.project_sections(apart.home)[0], apart.home)
    tracking, registry = _stores(apart.home)
    assert named == {"tracking_uri": tracking, "registry_uri": registry}
    chosen = choose("apart", apart.home / "copied", **named, allow_pickle=False)
    assert (chosen.alias, chosen.encoding) == ("champion", ENCODING)
    checks = {check.name: check for check in doctor.CHECKS["registry"]()}
    assert checks["registry"].found == f"{registry}: apart"
    assert checks["runs"].found.startswith(f"{tracking}: experiments ")


@pytest.mark.long
def test_score_udf_asks_them_too(spark, apart: config.Loaded) -> None:  # type: ignore[no-untyped-def]
    table = sample(300)
    udf = score_udf(spark, "models:/apart@champion", tracking_uri=_stores(apart.home)[0])
    found = spark.createDataFrame(table).withColumn("p", udf()).toArrow().sort_by("id")
    done = score(table.to_batches(), TorchModel(Small()), ENCODING)
    expected = [value for batch in done for value in batch.column("score").to_pylist()]
    np.testing.assert_allclose(found["p"].to_numpy(), expected, rtol=1e-6)


def test_the_yaml_names_the_registry_where_the_environment_does_not(
    apart: config.Loaded, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking, registry = _stores(apart.home)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    path = apart.home / "conf" / "pipelines" / "p.yaml"
    path.write_text(path.read_text() + "registry: {registry_uri: 'sqlite:///registry.db'}\n")
    loaded = config.load("p")
    assert uris(loaded.pipeline.registry, loaded.home)["registry_uri"] == registry
    assert resolver(loaded)().ref.name == "apart"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", tracking)
    with pytest.raises(ModelError, match=f"no model 'apart' in the registry at {tracking}: it has"):
        resolver(loaded)()


def test_an_error_names_the_one_that_was_asked(
    apart: config.Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        RegistryUnavailable, match=r"MLflow at http://127\.0\.0\.1:9 did not answer"
    ):
        resolver(apart)()


def test_a_connection_leaves_the_environment_as_the_user_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    tracking, registry = _stores(tmp_path)
    connect(tracking, registry)
    assert "MLFLOW_REGISTRY_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://models")
    connect(tracking)
    assert os.environ["MLFLOW_REGISTRY_URI"] == "http://models"
