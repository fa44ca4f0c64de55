"""The demo in a bucket, as Airflow runs it: tasks and the API server use the store themselves."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2e.helpers import FIRST, Local, status
from object_store import Bucket

pytestmark = [pytest.mark.e2e, pytest.mark.long]

DAG, DAY = "in_store", FIRST.isoformat()


def files(local: Local) -> dict[str, str]:
    """Name -> sha256 of the objects below the table's partition."""
    keys = local.bucket.keys(f"scores/ds={DAY}/")
    return {key.rpartition("/")[2]: sha256(local.bucket.get(key)).hexdigest() for key in keys}


def manifest_of(bucket: Bucket, night: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a night, which is in the bucket too."""
    found: dict[str, Any] = json.loads(bucket.get(night["manifest"].removeprefix(bucket.uri(""))))
    return found


def test_a_run_by_hand_scores_the_objects_of_its_day(local: Local) -> None:
    run = local.airflow.trigger(DAG, conf={"day": DAY})
    assert set(local.ended(DAG, run).values()) == {"success"}
    night = status(local, DAG, DAY)
    assert night["state"] == "published"
    assert night["input"] == f"s3://first/in/ds={DAY}"
    assert night["output"] == f"s3://first/scores/ds={DAY}"
    manifest = manifest_of(local.bucket, night)
    assert files(local) == {file["path"]: file["sha256"] for file in manifest["outputs"]}
    rows = [
        pq.read_table(pa.BufferReader(local.bucket.get(f"scores/ds={DAY}/{name}")))
        for name in files(local)
    ]
    assert sum(map(len, rows)) == night["rows_published"] > 0


def test_the_command_finds_what_airflow_published(local: Local) -> None:
    before = files(local)
    said = local.run("nocturne", "score", DAG, "--date", DAY, "--json").stdout
    assert [night["outcome"] for night in json.loads(said.splitlines()[-1])] == ["unchanged"]
    local.run("nocturne", "verify", DAG, "--date", DAY, "--replay")
    assert files(local) == before


def test_a_backfill_does_not_score_it_again(local: Local) -> None:
    command = ["airflow", "backfill", "create", "--dag-id", "in_store"]
    command += ["--from-date", DAY, "--to-date", DAY, "--reprocess-behavior", "completed"]
    before = files(local)
    local.run(*command)
    [run] = local.airflow.runs(DAG, "backfill")
    local.ended(DAG, run["dag_run_id"])
    assert local.airflow.task_states(DAG, run["dag_run_id"])["score"] == "skipped"
    assert files(local) == before


def test_the_page_and_the_lineage_know_the_bucket(local: Local) -> None:
    with httpx.Client(base_url=local.url, trust_env=False, follow_redirects=True) as client:
        login = {"username": "admin", "password": local.passwords["admin"]}
        token = client.post("/auth/token", json=login).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        page = client.get(f"/nocturne/{DAG}")
        assert page.status_code == 200
        assert re.search(f"{DAY}: published", page.text)
        night = client.get(f"/nocturne/{DAG}/{DAY}")
        assert night.status_code == 200
        [run] = set(re.findall(rf"/nocturne/{DAG}/{DAY}/(\w+)/report.html", night.text))
        report = client.get(f"/nocturne/{DAG}/{DAY}/{run}/report.html")
        assert f"s3://first/scores/ds={DAY}" in report.text
        docs = client.get(f"/nocturne/{DAG}/{DAY}/{run}/data_docs/index.html")
        assert (docs.status_code, docs.headers["content-type"].split(";")[0]) == (200, "text/html")
        [manifest] = set(re.findall(rf"/nocturne/{DAG}/{DAY}/manifests/[\w-]+.json", night.text))
        assert client.get(manifest).json()["partition"]["key"] == DAY
        for name in ("run.json", "../manifests", "data_docs/../run.json"):
            assert client.get(f"/nocturne/{DAG}/{DAY}/{run}/{name}").status_code == 404
    events = [json.loads(line) for line in local.lineage.read_text().splitlines()]
    named = {
        (data["namespace"], data["name"])
        for event in events
        if event["job"]["name"].startswith(f"{DAG}.")
        for side in ("inputs", "outputs")
        for data in event[side]
    }
    assert {("s3://first", "in"), ("s3://first", "scores")} <= named


def test_credentials_may_be_in_an_airflow_connection_alone(local: Local) -> None:
    dag, secret = "by_connection", local.lake.secret
    assert secret not in str(local.env)
    run = local.airflow.trigger(dag, conf={"day": DAY})
    assert set(local.ended(dag, run).values()) == {"success"}
    # The environment of the commands is another store's, so this one asks with the lake's.
    night = status(replace(local, env=local.env | local.lake.environment), dag, DAY)
    assert night["state"] == "published"
    assert night["output"] == f"s3://lake/scores/ds={DAY}"
    manifest = manifest_of(local.lake, night)
    keys = local.lake.keys(f"scores/ds={DAY}/")
    assert {key.rpartition("/")[2] for key in keys} == {f["path"] for f in manifest["outputs"]}
    events = [json.loads(line) for line in local.lineage.read_text().splitlines()]
    [output] = [
        data
        for event in events
        if event["job"]["name"] == f"{dag}.publish"
        for data in event["outputs"]
    ]
    assert output["facets"]["schema"]["fields"], "lineage has read a footer of the scores"
    # Logs, records, Airflow's database with XCom and rendered templates, MLflow's.
    written = [path for path in local.root.rglob("*") if path.is_file()]
    assert any("attempt=1.log" in path.name and f"dag_id={dag}" in str(path) for path in written)
    assert not [path for path in written if secret.encode() in path.read_bytes()]
