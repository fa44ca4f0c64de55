"""A registry for models as their libraries' tutorials log them, and a project that scores them."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from nocturne import config
from nocturne.model.tracking import connect, experiment_id
from nocturne.records import Partition
from nocturne.store.run import Run
from pipeline.conftest import scored

ROOT = Path(__file__).parents[2]
DAY = "2024-01-01"


@pytest.fixture(scope="session")
def registry_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow on SQLite, with an experiment that is the current one."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('strangers') / 'mlflow.db'}"
    mlflow.set_experiment(experiment_id=experiment_id(connect(uri), "strangers"))
    return uri


@dataclass(frozen=True)
class Scored:
    """A night's rows as they were scored: the published ones, and why others were not, by id."""

    run: Run
    scores: pa.Table
    reasons: dict[int, str]

    def column(self, name: str = "prediction") -> list[Any]:
        """In the order of the keys."""
        values: list[Any] = self.scores.sort_by("id")[name].to_pylist()
        return values


class Project:
    """A folder with a table and a pipeline for each model; ids are its rows' numbers."""

    def __init__(self, root: Path, uri: str) -> None:
        self.root, self.uri = root, uri

    def register(self, log: Callable[..., Any], name: str, *model: Any, **options: Any) -> Any:
        """What ``log_model`` of a flavor gives, registered as version 1 of ``name``."""
        connect(self.uri)
        mlflow.set_experiment("strangers")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return log(
                *model, name=name, registered_model_name=name, pip_requirements=[], **options
            )

    def pipeline(
        self, name: str, table: pa.Table, model: Mapping[str, Any], **sections: Any
    ) -> config.Loaded:
        """The YAML of a model, and its table's only night."""
        folder = self.root / "tables" / name / f"ds={DAY}"
        folder.mkdir(parents=True, exist_ok=True)
        if "id" not in table.column_names:
            table = table.append_column("id", pa.array(range(len(table))))
        pq.write_table(table, folder / "p.parquet")
        text = {
            "model": {"name": name, "version": 1, "allow_pickle": True, **model},
            "input": {"path": f"tables/{name}"},
            "output": {"path": f"out/{name}", "keys": ["id"]},
            "scoring": {"micro_batch": 1024, "kernel": "graph"},  # nothing is measured
            "quality": {"max_quarantined": 1.0},
            **sections,
        }
        path = self.root / "conf" / "pipelines" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(text, sort_keys=False))
        return config.load(name)

    def score(self, name: str, table: pa.Table, **model: Any) -> Scored:
        """The table scored here, without Spark."""
        return read(scored(self.pipeline(name, table, model), DAY))


def night(loaded: config.Loaded) -> Partition:
    """The only night of a pipeline's table."""
    return config.partition(loaded.pipeline.input.partition, DAY)


def read(run: Run) -> Scored:
    """What a run's workers have written."""
    folder = run.path / "attempts"
    files = sorted(folder.glob("*.parquet"))
    good = [pq.read_table(f) for f in files if not f.name.startswith("quarantine-")]
    bad = [pq.read_table(f) for f in files if f.name.startswith("quarantine-")]
    reasons = {row["id"]: row["reason"] for table in bad for row in table.to_pylist()}
    return Scored(run, pa.concat_tables(good), reasons)


@pytest.fixture
def strangers(tmp_path: Path, registry_uri: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project that uses the registry."""
    (tmp_path / "conf" / "pipelines").mkdir(parents=True)
    shutil.copy(ROOT / "conf" / "base.yaml", tmp_path / "conf")
    shutil.copytree(ROOT / "conf" / "env", tmp_path / "conf" / "env")
    monkeypatch.setenv("NOCTURNE_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry_uri)
    return Project(tmp_path, registry_uri)
