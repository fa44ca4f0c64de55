"""A model that only Spark's workers can call, on a standalone cluster. Only in `make chaos`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow.models import infer_signature

from chaos.conftest import MakeCluster
from conftest import sample
from nocturne.model.tracking import connect, experiment_id
from pipeline.conftest import DAYS, make_project

pytestmark = pytest.mark.long


class _Project:
    """A project whose model needs a module, and says integers where it gives text."""

    def __init__(self, root: Path, registry: Path, patched: pytest.MonkeyPatch) -> None:
        self.root = root
        root.mkdir()
        make_project(root, registry, patched, model__name="words", model__allow_pickle=True)

        class Words(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
                import only_there

                return only_there.words(model_input)

        client = connect(f"sqlite:///{root / 'var' / 'mlflow' / 'mlflow.db'}")
        mlflow.set_experiment(experiment_id=experiment_id(client, "words"))
        example = sample(5).select(["y"]).to_pandas()
        mlflow.pyfunc.log_model(
            name="words",
            python_model=Words(),
            signature=infer_signature(example, np.array([0])),
            registered_model_name="words",
            pip_requirements=["only-there==1.0"],
        )
        client.set_registered_model_alias("words", "champion", "1")

    def on(self, master: str, path: str, **more: str) -> None:
        """Its Spark is the cluster, whose executors look for modules in ``path`` too."""
        file = self.root / "conf" / "pipelines" / "p.yaml"
        said = yaml.safe_load(file.read_text())
        conf = {
            "spark.executor.memory": "512m",
            "spark.driver.host": "127.0.0.1",
            "spark.executorEnv.PYTHONPATH": os.pathsep.join(
                filter(None, (os.environ.get("PYTHONPATH"), path))
            ),
            **more,
        }
        file.write_text(yaml.safe_dump({**said, "spark": {"master": master, "conf": conf}}))

    def nocturne(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nocturne.cli", *args],
            env={**os.environ, "NOCTURNE_HOME": str(self.root)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def test_the_workers_try_what_the_driver_cant(
    make_cluster: MakeCluster, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _Project(tmp_path / "project", registry, monkeypatch)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    words = "def words(frame):\n    return [f'{y:.3f}' for y in frame['y']]\n"
    (theirs / "only_there.py").write_text(words)
    master = make_cluster({"127.0.0.1": ""})

    project.on(master, "")
    refused = project.nocturne("score", "p", "--date", DAYS[0])
    assert refused.returncode == 1
    assert "it needs a package that is not installed there: ModuleNotFoundError" in refused.stderr
    assert "only-there==1.0 is not installed" in refused.stderr
    assert not (project.root / "out" / "scores").exists()

    project.on(master, str(theirs))
    done = project.nocturne("score", "p", "--date", DAYS[0])
    assert done.returncode == 0, done.stderr
    assert "So a Spark worker tries it" in done.stderr
    published = pq.read_table(project.root / "out" / "scores" / f"ds={DAYS[0]}", partitioning=None)
    given = pq.ParquetFile(project.root / "data" / f"ds={DAYS[0]}" / "part-0.parquet").read()
    assert published.schema.field("prediction").type == pa.string()
    found = published.sort_by("id")["prediction"].to_pylist()
    assert found == [f"{y:.3f}" for y in given.sort_by("id")["y"].to_pylist()]

    [kept] = (project.root / "out" / "_nocturne" / "scores" / "trials").glob("words-*.json")
    kept.unlink()
    planned = project.nocturne("prepare", "p", "--date", DAYS[1], "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["action"] == "score"
    assert kept.exists(), "by an application of its own"

    kept.unlink()
    project.on(master, str(theirs), **{"spark.driver.memory": "1x"})
    unstarted = project.nocturne("prepare", "p", "--date", DAYS[1])
    assert unstarted.returncode == 1
    assert "Spark can't start: Java does not take its options" in unstarted.stderr
