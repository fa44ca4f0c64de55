"""The Compose stack without containers: every command, health check and variable of its file.

What stands in for what is in ``containers.py``; docs/compose.md says what is left untried.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from compose.containers import POSTGRES, Containers
from compose.rendering import made_secrets
from nocturne_airflow.client import Airflow, AirflowRefused

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.skipif(POSTGRES is None, reason="needs PostgreSQL (Debian: postgresql)"),
]

DAG = "flight_delay"
FEW_DAYS = """
import dataclasses, sys
from nocturne.demo import __main__, train
train.TRAINING = ("2013-02-24", "2013-03-05")
train.APRIL = ("2013-04-01", "2013-04-02")
train.SETTINGS = dataclasses.replace(train.SETTINGS, epochs=1)
sys.argv[1:] = ["prepare"]
sys.exit(__main__.main())
"""
SERVERS = [
    "postgres",
    "mlflow",
    "spark-master",
    "spark-worker",
    "airflow-apiserver",
    "airflow-dag-processor",
    "airflow-triggerer",
    "airflow-scheduler",
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Containers]:
    with tempfile.TemporaryDirectory(prefix="nocturne-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        containers = Containers(folder, {"NOCTURNE_SECRETS": str(made_secrets(folder))})
        try:
            containers.up(*SERVERS[:-1])
            yield containers
        finally:
            containers.stop()


@pytest.fixture(scope="module")
def airflow(stack: Containers) -> Airflow:
    """The running stack with the demo, as the documentation says how to make it.

    Its model is trained on a few days: ``demo`` has the whole one.
    """
    stack.healthy("mlflow")
    stack.run("airflow-scheduler", "python", "-c", FEW_DAYS)
    stack.up("airflow-scheduler")
    url = f"http://127.0.0.1:{stack.port('airflow-apiserver', 8080)}"
    client = Airflow(url, "admin", stack.secret("airflow_admin_password"))
    client.wait_for_dag(DAG)
    client.pause(DAG, False)
    return client


def scored(stack: Containers, airflow: Airflow, day: str) -> int:
    """Score a day by a run of the DAG; its published rows."""
    run = airflow.trigger(DAG, day)
    state = airflow.wait_for_run(DAG, run)
    states = airflow.task_states(DAG, run)
    failed = [task for task, s in states.items() if s == "failed"]
    log = airflow.log(DAG, run, failed[0])[-4000:] if failed else ""
    assert state == "success", f"{states}\n{log}"
    table = stack.folder / "opt/nocturne/var/demo/scores" / DAG / f"ds={day}"
    return sum(pq.read_metadata(file).num_rows for file in table.glob("*.parquet"))


def test_a_day_is_scored_on_the_standalone_cluster_and_published(
    stack: Containers, airflow: Airflow
) -> None:
    assert scored(stack, airflow, "2013-04-01") > 500
    port = stack.port("spark-master", 8080)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/") as answer:
        state = json.load(answer)
    assert {app["state"] for app in state["completedapps"]} == {"FINISHED"}


@pytest.mark.parametrize("service", SERVERS)
def test_the_health_check_passes(stack: Containers, airflow: Airflow, service: str) -> None:
    stack.healthy(service)


def test_init_services_can_run_at_every_start(stack: Containers, airflow: Airflow) -> None:
    stack.run("postgres-init")
    began = time.monotonic()
    assert stack.run("airflow-init") == ""
    assert time.monotonic() - began < 10  # Airflow's command line alone takes as long
    stack.run("airflow-init", "python", "-P", "-m", "nocturne_airflow.stamp", "another")
    assert "admin already exist" in stack.run("airflow-init")


def test_airflow_takes_the_generated_password_and_no_other(
    stack: Containers, airflow: Airflow
) -> None:
    url = f"http://127.0.0.1:{stack.port('airflow-apiserver', 8080)}"
    with pytest.raises(AirflowRefused):
        Airflow(url, "admin", "admin")


def test_models_and_reports_are_in_the_object_store_alone(
    stack: Containers, airflow: Airflow
) -> None:
    objects = stack.objects()
    assert any(key.endswith("model.pt2") and size > 0 for key, size in objects.items())
    assert any(key.endswith(".html") for key in objects)
    assert not list(stack.folder.rglob("mlartifacts"))


def test_spark_gives_the_gpu_worker_the_gpus_that_nvidia_smi_names(
    stack: Containers, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = stack.folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    stack.up("spark-worker-gpu")
    stack.healthy("spark-worker-gpu")
    port = stack.port("spark-worker-gpu", 8081)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/") as answer:
        assert json.load(answer)["resources"] == {"gpu": {"name": "gpu", "addresses": ["0"]}}


@pytest.mark.skipif(
    not (shutil.which("redis-server") and importlib.util.find_spec("celery")),
    reason="needs Redis (Debian: redis-server) and the extra celery",
)
def test_with_the_profile_celery_a_worker_runs_the_tasks(
    stack: Containers, airflow: Airflow
) -> None:
    stack.recreate("airflow-scheduler", AIRFLOW_EXECUTOR="CeleryExecutor")
    stack.up("airflow-worker")
    for service in ("redis", "airflow-worker", "airflow-scheduler"):
        stack.healthy(service)
    assert scored(stack, airflow, "2013-04-02") > 500
    assert "succeeded" in stack.log("airflow-worker").read_text()


def test_db_clean_takes_old_runs_out_of_airflow_s_database(
    stack: Containers, airflow: Airflow
) -> None:
    def runs() -> int:
        count = "SELECT count(*) FROM dag_run"
        return int(stack.run("postgres-init", "psql", "-At", "-d", "airflow", "-c", count))

    before = runs()
    stack.run("airflow-clean")
    assert runs() == before
    stack.run("airflow-clean", AIRFLOW_KEEP_DAYS="0")
    assert runs() < before
