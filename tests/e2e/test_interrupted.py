"""A task that is ended while Spark scores, and the same run cleared."""

from __future__ import annotations

import psutil
import pytest

from e2e.helpers import Local, status
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

DAY = "2013-04-20"


def scoring(local: Local) -> list[psutil.Process]:
    """Spark's processes of this stack: driver, JVM and Python workers."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            ours = process.environ().get("NOCTURNE_HOME") == str(local.root)
        except psutil.Error:
            continue
        if ours and ("SparkSubmit" in command or "score.py" in command or "pyspark" in command):
            found.append(process)
    return found


def test_marked_failed_it_ends_spark_and_cleared_it_publishes(local: Local) -> None:
    airflow = local.airflow
    run = airflow.trigger("by_hand", DAY)
    until(lambda: scoring(local), "Spark", 240)
    task = f"/dags/by_hand/dagRuns/{run}/taskInstances/score"
    airflow.call("PATCH", task, json={"new_state": "failed"})
    assert airflow.wait_for_run("by_hand", run, timeout=120) == "failed"
    until(lambda: not scoring(local), "the end of Spark")
    assert status(local, "by_hand", DAY)["state"] != "published"
    assert not (local.root / f"var/by_hand/scores/ds={DAY}").exists()

    airflow.call(
        "POST",
        "/dags/by_hand/clearTaskInstances",
        json={
            "dry_run": False,
            "dag_run_id": run,
            "task_ids": ["score"],
            "include_downstream": True,
            "only_failed": False,
        },
    )
    assert local.ended("by_hand", run)["publish"] == "success"
    night = status(local, "by_hand", DAY)
    assert night["state"] == "published"
    assert night["rows_in"] == night["rows_published"] + night["rows_quarantined"] > 0
