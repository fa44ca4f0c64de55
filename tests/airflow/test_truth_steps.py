"""The truth's DAG with real steps: hourly partitions, and labels that a connection opens."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import sample
from forked import in_child
from nocturne import config
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.channels import Message
from nocturne_airflow.truth import LabelsTrigger, TruthOperator, truth_dag
from object_store import Bucket
from pipeline.conftest import DAYS, night_of, project, registry
from store_fixtures import bucket, store_endpoint

__all__ = ["bucket", "project", "registry", "store_endpoint"]

Project = Callable[..., config.Loaded]
HOURLY = {"ds": "%Y-%m-%d", "hour": "%H"}
PINNED = {"scoring__kernel": "graph", "scoring__micro_batch": 64}


class Told(Alerts):
    """Keeps the alerts."""

    def __init__(self) -> None:
        super().__init__("p")
        self.sent: list[Message] = []

    def send(self, message: Message) -> bool:
        self.sent.append(message)
        return True


def context() -> Any:
    return {"dag_run": SimpleNamespace(dag_id="p_truth", run_id="r")}


def labels(first: int = 0) -> pa.Table:
    ids = np.arange(first, first + 600)
    return pa.table({"id": ids, "late": ids % 3 == 0})


def count_task(loaded: config.Loaded, alerts: Told) -> TruthOperator:
    """The task of the DAG, with these alerts."""
    task = truth_dag(loaded).get_task("count")
    assert isinstance(task, TruthOperator)
    task.alerts = alerts
    return task


@pytest.mark.long
def test_each_hour_is_counted_and_told(project: Project) -> None:
    loaded = project(
        **PINNED,
        input__partition=HOURLY,
        labels__path="labels",
        labels__column="late",
        labels__delay_hours=1,
        labels__bounds={"auc": {"min": 0.99}},
    )
    hours = [f"{DAYS[0]}T04", f"{DAYS[0]}T05"]
    for number, hour in enumerate(hours):
        place = config.partition(HOURLY, hour).path
        folder = loaded.home / "data" / place
        folder.mkdir(parents=True)
        pq.write_table(sample(600, number, 1000 * number), folder / "part-0.parquet")
        night_of(loaded, hour)
    trigger = LabelsTrigger("p", str(loaded.home), 5)
    assert trigger.look(loaded) == {}
    for number, hour in enumerate(hours):
        place = loaded.home / "labels" / config.partition(HOURLY, hour).path
        place.mkdir(parents=True)
        pq.write_table(labels(1000 * number), place / "part-0.parquet")
    assert trigger.news(None, trigger.look(loaded)) == {"nights": hours}
    alerts = Told()
    assert count_task(loaded, alerts).execute(context()) == hours
    assert [told.partition for told in alerts.sent] == hours
    assert trigger.look(loaded) == {}
    assert count_task(loaded, alerts).execute(context()) == []
    assert len(alerts.sent) == 2


@pytest.mark.long
def test_labels_in_a_store_are_read_with_the_credentials_of_the_connection(
    project: Project, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = project(
        **PINNED,
        labels__path=bucket.uri("labels"),
        labels__column="late",
        schedule__connection="lake",
        schedule__start_date=DAYS[0],
    )
    night_of(loaded, DAYS[0])
    written = io.BytesIO()
    pq.write_table(labels(), written)
    bucket.put(f"labels/ds={DAYS[0]}/part-0.parquet", written.getvalue())
    of = bucket.environment
    extra = {"endpoint_url": of["AWS_ENDPOINT_URL"], "region_name": of["AWS_REGION"]}
    keys = {"login": of["AWS_ACCESS_KEY_ID"], "password": of["AWS_SECRET_ACCESS_KEY"]}
    monkeypatch.setenv(
        "AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "aws", **keys, "extra": extra})
    )
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    assert in_child(lambda: count_task(loaded, Told()).execute(context())) == [DAYS[0]]
