"""A project with a registered torch model, and one Spark session for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from conftest import ENCODING, Other, Small, sample
from nocturne import config, contract
from nocturne.contract import log_torch_model
from nocturne.model import registry as registry_room
from nocturne.model.tracking import connect, experiment_id
from nocturne.pipeline import prepare
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.pipeline.trial import kept_or_new
from nocturne.records.manifest import Judgement, Manifest
from nocturne.source.sample import SampleFiles
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run import Run
from nocturne.trial import TrialRequest
from nocturne.worker import split
from once import made_once

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]
DAYS = tuple(f"2024-01-{day:02d}" for day in range(1, 6))


def scored(loaded: config.Loaded, day: str, **options: Any) -> Run:
    """A day that is planned and scored here, without Spark."""
    run = prepare(loaded, config.partition(loaded.pipeline.input.partition, day), **options).run
    assert run is not None
    for piece in run.plan.splits:
        split.run_split(run, piece)
    return run


def night_of(loaded: config.Loaded, day: str, **options: Any) -> Manifest:
    """A day that is planned, scored here, judged and published."""
    run = scored(loaded, day, **options)
    judge_run(run)
    return publish_run(run)


def run_of(loaded: config.Loaded, manifest: Manifest) -> Run:
    """The run that a published night's manifest names."""
    return Run.at(Places.of(loaded).state.partition(manifest.partition), manifest.run_key)


def judgement_of(loaded: config.Loaded, manifest: Manifest) -> Judgement:
    """The judgement that a published night's manifest names."""
    return Places.of(loaded).state.partition(manifest.partition).judgement(manifest)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with the model "small": version 1, alias champion; and a logged model with
    other weights. It is copied.
    """
    return made_once(tmp_path_factory, "registry", _registered)


def _registered(folder: Path) -> None:
    client = connect(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=experiment_id(client, "training"))
    data = pa.concat_tables([sample(600, seed) for seed in range(4)])
    labels = [f"2023-12-{1 + i // 600:02d}" for i in range(len(data))]
    log_torch_model(
        Small(),
        ENCODING,
        data,
        name="small",
        partitions=labels,
        segments=["word"],
        registered_model_name="small",
        tags={"stage": "production"},
    )
    client.set_registered_model_alias("small", "champion", "1")  # so nothing is known of it
    log_torch_model(Other(), ENCODING, sample(600, 5), name="other")
    _try_once(folder, "mlflow.db", 1)
    shutil.copy(folder / "mlflow.db", folder / "two.db")
    contract.register(other_logged(connect(f"sqlite:///{folder / 'two.db'}")), "small")
    _try_once(folder, "two.db", 2)


def other_logged(client: mlflow.MlflowClient) -> str:
    """The id of the logged model with other weights."""
    [found] = client.search_logged_models(
        [experiment_id(client, "training")], filter_string="name = 'other'"
    )
    return str(found.model_id)


def _try_once(folder: Path, database: str, version: int) -> None:
    """The trial of a version, made once: projects are given it as their own."""
    ref = registry_room.resolve(
        name="small",
        alias=None,
        tags=None,
        version=version,
        allow_pickle=False,
        tracking_uri=f"sqlite:///{folder / database}",
        models=folder / "models",
    )
    pq.write_table(sample(100), folder / "rows.parquet")
    asked = TrialRequest(
        ref.ref, ref.declared, spec=True, firm=False, input_cast={}, device="cpu", seconds=300
    )
    found = kept_or_new(asked, SampleFiles([folder / "rows.parquet"]), PipelineState(folder))
    assert found.rows > 1


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    from nocturne.spark.session import session

    with session(
        "tests",
        "local[2]",
        {
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.executorEnv.PYTHONPATH": str(ROOT),  # the contenders of the benchmarks
        },
        ROOT / "conf" / "spark",
    ) as made:
        yield made


@pytest.fixture
def _spark(spark: SparkSession) -> None:
    """For tests whose scoring should find a session that runs already."""


@pytest.fixture
def project(
    tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., config.Loaded]:
    """Makes a project with five days of data; keyword arguments change its YAML by dotted key."""

    return lambda **changes: make_project(tmp_path, registry, monkeypatch, **changes)


def make_project(
    root: Path, registry: Path, monkeypatch: pytest.MonkeyPatch, **changes: object
) -> config.Loaded:
    """The project of ``project``, in ``root``."""
    conf = root / "conf"
    conf.mkdir()
    shutil.copy(ROOT / "conf" / "base.yaml", conf)
    for name in ("env", "spark"):
        shutil.copytree(ROOT / "conf" / name, conf / name)
    (conf / "expectations").mkdir()
    (conf / "pipelines").mkdir()
    database = root / "var" / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    shutil.copy(registry / "mlflow.db", database)
    for number, day in enumerate(DAYS):
        folder = root / "data" / f"ds={day}"
        folder.mkdir(parents=True)
        table = sample(600, 100 + number, 1000 * number)
        pq.write_table(table, folder / "part-0.parquet", row_group_size=250)
    shutil.copytree(registry / "trials", root / "out" / "_nocturne" / "scores" / "trials")
    pipeline: dict[str, dict[str, object]] = {
        "model": {"name": "small", "alias": "champion"},
        "input": {"path": "data"},
        "output": {"path": "out/scores", "keys": ["id"], "passthrough": ["word"]},
        "scoring": {"split_rows": 250},
    }
    monkeypatch.setenv("NOCTURNE_HOME", str(root))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    for key, value in changes.items():
        section, _, name = key.partition("__")
        pipeline.setdefault(section, {})[name] = value
    (conf / "pipelines" / "p.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    return config.load("p")


def shift(root: Path, day: str, name: str = "y", by: float = 3.0) -> None:
    """Add to a column of a day's input."""
    path = root / "data" / f"ds={day}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    at = table.schema.get_field_index(name)
    pq.write_table(table.set_column(at, name, pc.add(table[name], by)), path, row_group_size=250)
