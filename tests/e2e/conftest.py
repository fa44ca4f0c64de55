"""One real local stack for these tests: MLflow server, Airflow's four components, Spark.

The project is a temporary one with its own conf/ and var/; the demo's data and model are made
in it as ``make demo`` makes them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from demo.project import made, take
from e2e.helpers import BUCKET, FIRST, LAKE, REPOSITORY, Local, copy_conf, late_partitions
from nocturne_airflow.environment import Ports
from nocturne_airflow.stack import Stack
from object_store import Bucket, real_store
from receivers import mailbox, metrics, posts
from report.pages import chromium

RUNNING = (
    "flight_delay",
    "by_hand",
    "held",
    "unanswered",
    "watched",
    "watched_on_new_model",
    "mended",
    "after_scores",
    "in_store",
    "by_connection",
    "tried",
    "judged_truth",
    "judged_promote",
)
SECRET = "of-the-lake-alone"


@pytest.fixture(scope="package")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    root = tmp_path_factory.mktemp("project")
    copy_conf(root)
    take(made(tmp_path_factory), root)
    late_partitions(root)
    with (
        real_store(tmp_path_factory.mktemp("store")) as endpoint,
        real_store(tmp_path_factory.mktemp("lake"), LAKE, SECRET) as other,
    ):
        bucket, lake = Bucket(BUCKET, endpoint), Bucket(LAKE, other, SECRET)
        for one in (bucket, lake):
            one.upload(root / "var/demo/flights" / f"ds={FIRST}", f"in/ds={FIRST}")
        yield from _running(root, tmp_path_factory, bucket, lake)


def _running(
    root: Path, tmp_path_factory: pytest.TempPathFactory, bucket: Bucket, lake: Bucket
) -> Iterator[Local]:
    code = tmp_path_factory.mktemp("code")
    shutil.copytree(REPOSITORY / "dags", code / "dags")
    example = (REPOSITORY / "examples" / "after_scores.py").read_text()
    (code / "dags" / "after_scores.py").write_text(example.replace("flight_delay", "held"))
    for name in ("jobs", "plugins"):
        (code / name).symlink_to(REPOSITORY / name)
    users = {"admin": "admin", "viewer": "viewer"}
    with ExitStack() as receivers:
        mail, hook, figures = (receivers.enter_context(r()) for r in (mailbox, posts, metrics))
        stack = Stack(root, Ports(0, 0), code=code, users=users)
        lineage = root / "lineage.jsonl"
        stack.env |= bucket.environment
        stack.env |= {
            "AIRFLOW_CONN_MAIL": mail.connection,
            # Each DAG file's process takes seconds of CPU; only one test waits for a change.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(figures.port),
            "AIRFLOW__OPENLINEAGE__DISABLED": "False",
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "nights",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(lineage), "append": True}
            ),
        }
        receivers.enter_context(stack)
        airflow = stack.client()
        # Not in the environment: all that alerts or need credentials must ask Airflow's database.
        connections: dict[str, dict[str, object]] = {
            "hook": {
                "conn_type": "http",
                "host": "127.0.0.1",
                "port": hook.port,
                "schema": "http",
            },
            LAKE: {
                "conn_type": "aws",
                "login": lake.environment["AWS_ACCESS_KEY_ID"],
                "password": SECRET,
                "extra": json.dumps({"region_name": "us-east-1", "endpoint_url": lake.endpoint}),
            },
        }
        for name, fields in connections.items():
            airflow.call("POST", "/connections", json={"connection_id": name, **fields})
        for dag_id in ("nightly", *RUNNING):
            airflow.wait_for_dag(dag_id)
        for dag_id in RUNNING:
            airflow.pause(dag_id, False)
        url = f"http://localhost:{stack.ports.airflow}"
        passwords = {user: stack.password(user) for user in users}
        yield Local(
            root, stack.env, airflow, url, passwords, mail, hook, figures, lineage, bucket, lake
        )


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser
