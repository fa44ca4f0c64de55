"""The main job in its three uses, with a real scheduler, Spark and MLflow server.

The tests build on one another in file order: first every day is scored once, by backfill, then
what is published must stand whatever else is asked.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from e2e.helpers import FIRST, Local, copy_conf, days, status
from nocturne_airflow.client import AirflowRefused
from waiting import until

pytestmark = pytest.mark.e2e

DAG = "flight_delay"
KEYS = ["time_hour", "carrier", "flight"]


SCORES = "var/demo/scores/flight_delay"


@pytest.fixture(scope="module")
def cli(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another project on the same input, with outputs and states of its own, still empty."""
    root = tmp_path_factory.mktemp("cli")
    copy_conf(root)
    for folder in ("var/demo", "var/nightly"):
        (root / folder).mkdir(parents=True)
        os.symlink(local.root / folder / "flights", root / folder / "flights")
    return root


def files(table: Path, day: str) -> dict[str, str]:
    """Name -> sha256 of a published partition."""
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in (table / f"ds={day}").iterdir()}


def traces(root: Path) -> dict[str, tuple[int, int, int]]:
    """Path -> (inode, mtime, size) of every published file, folder and manifest."""
    table = root / SCORES
    manifests = root / "var/demo/scores/_nocturne/flight_delay"
    found = [*table.rglob("*"), *manifests.glob("ds=*/manifests/*")]
    return {
        str(p): (s.st_ino, s.st_mtime_ns, s.st_size) for p in found if (s := p.stat()) is not None
    }


def keys_of(path: Path) -> Counter[tuple[Any, ...]]:
    """The keys of all rows below a folder, with multiplicity."""
    rows: Counter[tuple[Any, ...]] = Counter()
    for file in sorted(path.glob("*.parquet")):
        table = pq.read_table(file, columns=KEYS, partitioning=None)
        rows.update(zip(*(table.column(k).to_pylist() for k in KEYS), strict=True))
    return rows


def quarantined(manifest: str) -> Counter[tuple[Any, ...]]:
    """The keys of the rows that a manifest's run put into quarantine."""
    record = json.loads(Path(manifest).read_text())
    folder = Path(manifest).parents[1] / "quarantine" / record["run_key"][:16]
    return keys_of(folder) if folder.is_dir() else Counter()


def backfill(local: Local, *options: str) -> list[dict[str, Any]]:
    """`airflow backfill create` for the demo's days; its runs once they have ended."""
    before = {r["dag_run_id"] for r in local.airflow.runs(DAG, "backfill")}
    local.run(
        "airflow",
        "backfill",
        "create",
        "--dag-id",
        DAG,
        "--from-date",
        days()[0],
        "--to-date",
        days()[-1],
        *options,
    )
    runs = [r for r in local.airflow.runs(DAG, "backfill") if r["dag_run_id"] not in before]
    for run in runs:
        local.ended(DAG, run["dag_run_id"])
    until(
        lambda: not local.airflow.backfilling(DAG), "the end of the backfill", 120
    )  # there can be only one at a time
    return runs


def test_a_backfill_publishes_every_day_of_its_range(local: Local) -> None:
    runs = backfill(local)
    assert sorted(r["partition_key"] for r in runs) == days()
    for day in days():
        night = status(local, DAG, day)
        assert night["state"] == "published"
        assert night["rows_in"] == night["rows_published"] + night["rows_quarantined"]


def test_every_input_row_is_in_the_scores_or_in_quarantine_once(local: Local) -> None:
    for day in days():
        night = status(local, DAG, day)
        given = keys_of(Path(night["input"]))
        assert given == keys_of(Path(night["output"])) + quarantined(night["manifest"])
        assert given.total() == night["rows_in"] > 0


@pytest.mark.long
def test_a_backfill_that_reprocesses_touches_nothing(local: Local) -> None:
    before = traces(local.root)
    runs = backfill(local, "--reprocess-behavior", "completed")
    assert sorted(r["partition_key"] for r in runs) == days()
    for run in runs:
        states = local.airflow.task_states(DAG, run["dag_run_id"])
        assert states["prepare"] == "success"
        assert states["score"] == states["publish"] == "skipped"
    assert traces(local.root) == before


def test_runs_by_hand_name_their_day_in_the_form_and_write_the_same_bytes(local: Local) -> None:
    forms = [{"day": day, "model_version": 1, "dry_run": False, "force": False} for day in days()]
    for run_id in [local.airflow.trigger("by_hand", conf=form) for form in forms]:
        assert set(local.ended("by_hand", run_id).values()) == {"success"}
    for day in days():
        assert files(local.root / "var/by_hand/scores", day) == files(local.root / SCORES, day)
        assert status(local, "by_hand", day)["model_version"] == 1


def test_the_command_line_writes_the_same_bytes(local: Local, cli: Path) -> None:
    local.run("nocturne", "score", DAG, "--date", days()[0], "--to", days()[-1], root=cli)
    for day in days():
        assert files(cli / SCORES, day) == files(local.root / SCORES, day)


def test_a_dry_run_publishes_nothing(local: Local) -> None:
    day = (FIRST + dt.timedelta(days=len(days()))).isoformat()
    run_id = local.airflow.trigger(DAG, conf={"day": day, "dry_run": True})
    states = local.ended(DAG, run_id)
    assert states["prepare"] == "success"
    assert states["score"] == "skipped"
    assert "dry run, nothing was scored" in local.airflow.log(DAG, run_id, "prepare")
    assert status(local, DAG, day)["state"] == "missing"
    assert not (local.root / SCORES / f"ds={day}").exists()


@pytest.mark.long
def test_unknown_parameters_are_refused_by_the_first_task(local: Local) -> None:
    run_id = local.airflow.trigger(DAG, days()[0], conf={"dryrun": True})
    assert "unknown run parameter 'dryrun'" in local.refused(DAG, run_id)


@pytest.mark.long
def test_a_day_that_disagrees_with_the_partition_key_is_refused(local: Local) -> None:
    run_id = local.airflow.trigger(DAG, days()[0], conf={"day": "2013-05-01"})
    assert "but the day is '2013-05-01'" in local.refused(DAG, run_id)


@pytest.mark.long
def test_a_manual_run_for_a_day_without_data_fails_soon(local: Local) -> None:
    log = local.refused(DAG, local.airflow.trigger(DAG, "2014-01-01"))
    assert "Only scheduled runs wait for a partition" in log


def test_wrong_values_never_become_a_run(local: Local) -> None:
    with pytest.raises(AirflowRefused, match="less than the minimum of 1"):
        local.airflow.trigger(DAG, days()[0], conf={"model_version": 0})
    with pytest.raises(AirflowRefused, match="not a 'date'"):
        local.airflow.trigger(DAG, conf={"day": "April 1st"})


def test_the_schedule_scores_yesterday(local: Local) -> None:
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    local.airflow.pause("nightly", False)
    (run,) = until(lambda: local.airflow.runs("nightly", "scheduled"), "a scheduled run", 120)
    key = str(run["partition_key"])
    assert key in (str(yesterday), str(yesterday + dt.timedelta(days=1)))
    local.ended("nightly", run["dag_run_id"])
    local.airflow.pause("nightly")
    late = local.told("nightly")
    assert [(b["event"], b["partition"]) for b in late] == [("late", key)]
    assert late[0]["why"].startswith("It was due within 0.01 minutes after its end")

    night = status(local, "nightly", key)
    assert (night["state"], night["rows_quarantined"]) == ("published", 1)
    lost = quarantined(night["manifest"])
    assert [flight for _, _, flight in lost] == [None]
    assert keys_of(Path(night["input"])) == keys_of(Path(night["output"])) + lost


@pytest.mark.long
def test_the_command_line_writes_the_bytes_of_the_schedule(local: Local, cli: Path) -> None:
    key = str(local.airflow.runs("nightly", "scheduled")[0]["partition_key"])
    local.run("nocturne", "score", "nightly", "--date", key, root=cli)
    assert files(cli / "var/nightly/scores", key) == files(local.root / "var/nightly/scores", key)


@pytest.mark.long
def test_one_wrong_yaml_stops_no_other_pipeline(local: Local) -> None:
    wrong = local.root / "conf/pipelines/wrong.yaml"
    wrong.write_text("name: wrong\nmodel: {name: m, alias: a}\n")
    try:
        errors = until(local.airflow.import_errors, "an import error", 120)
    finally:
        wrong.unlink()
    (message,) = errors.values()
    assert "wrong.yaml: input: missing" in message
    assert not local.airflow.call("GET", f"/dags/{DAG}")["has_import_errors"]
