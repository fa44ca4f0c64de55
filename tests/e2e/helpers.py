"""The project that the end-to-end tests run in, and the running stack as they use it."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from nocturne_airflow.client import Airflow
from object_store import Bucket
from receivers import Mailbox, Metrics, Posts
from waiting import until

__all__ = [
    "BUCKET",
    "DAYS",
    "FIRST",
    "LAKE",
    "REPOSITORY",
    "RUN_TIMEOUT_S",
    "Local",
    "asked_at_gate",
    "copy_conf",
    "days",
    "late_partitions",
    "status",
]

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST = dt.date(2013, 4, 1)
BUCKET = "first"
LAKE = "lake"
DAYS = int(os.environ.get("NOCTURNE_E2E_DAYS", "1"))
RUN_TIMEOUT_S = 600


@dataclass(frozen=True)
class Local:
    """The running stack as a test uses it."""

    root: Path
    env: dict[str, str]
    airflow: Airflow
    url: str
    passwords: Mapping[str, str]
    mail: Mailbox
    hook: Posts
    figures: Metrics
    lineage: Path
    bucket: Bucket
    lake: Bucket

    def run(self, *command: str, root: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command in the stack's environment; its output is shown if it fails."""
        env = self.env | ({"NOCTURNE_HOME": str(root)} if root else {})
        done = subprocess.run(
            command, env=env, cwd=root or self.root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def told(self, pipeline: str) -> list[dict[str, Any]]:
        """The alerts that the webhook got of a pipeline."""
        return [body for _, body in self.hook.got if body["pipeline"] == pipeline]

    def ended(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Wait for a run that must succeed; its task states."""
        state = self.airflow.wait_for_run(dag_id, run_id, timeout=RUN_TIMEOUT_S)
        states = self.airflow.task_states(dag_id, run_id)
        failed = [task for task, s in states.items() if s == "failed"]
        log = self.airflow.log(dag_id, run_id, failed[0]) if failed else ""
        assert state == "success", f"{run_id}: {states}\n{log[-4000:]}"
        return states

    def refused(self, dag_id: str, run_id: str) -> str:
        """Wait for a run that must fail in its first task; that task's log."""
        assert self.airflow.wait_for_run(dag_id, run_id, timeout=RUN_TIMEOUT_S) == "failed"
        states = self.airflow.task_states(dag_id, run_id)
        assert states.pop("wait") == "failed"
        assert set(states.values()) == {"upstream_failed"}
        return self.airflow.log(dag_id, run_id, "wait")


def status(local: Local, pipeline: str, day: str) -> dict[str, Any]:
    """How a partition stands."""
    done = local.run("nocturne", "status", pipeline, "--from", day, "--to", day, "--json")
    return dict(json.loads(done.stdout.splitlines()[-1])[0])


def asked_at_gate(local: Local, dag: str, run: str) -> None:
    """Wait until a run asks a person.

    In Airflow 3.3.2 an answer that comes before the executor has seen the task's process end,
    some seconds, counts as a failed attempt, and the question is asked again.
    """

    def asked() -> bool:
        states = local.airflow.task_states(dag, run)
        assert "failed" not in states.values(), states
        return states.get("gate") == "awaiting_input"

    until(asked, f"the gate of {run}", RUN_TIMEOUT_S)
    time.sleep(12)


def days(count: int = DAYS) -> list[str]:
    """The demo's partitions that the tests score."""
    return [(FIRST + dt.timedelta(days=n)).isoformat() for n in range(count)]


def copy_conf(root: Path) -> None:
    """The repository's conf/, and more pipelines of the same model.

    ``by_hand`` is the demo with an output of its own; ``nightly`` has an input of its own too,
    and no end date; ``held`` and ``unanswered`` hold every night; ``watched`` wants to hear of new
    models; ``mended`` has an input of its own too, for rows that are quarantined; ``in_store`` is
    the demo in a bucket; ``by_connection`` is in one of another server, whose credentials only an
    Airflow connection has; ``tried`` has a canary, a model that a test registers;
    ``judged`` a challenger and labels, all of which come with a test.
    """
    shutil.copytree(REPOSITORY / "conf", root / "conf")
    with open(root / "conf" / "base.yaml", "a", encoding="utf-8") as base:
        # By hand, not measured for each state anew: outputs of their own are then equal bytes.
        base.write("scoring: {kernel: graph, micro_batch: 1024}\n")
    pipelines = root / "conf" / "pipelines"
    demo = (pipelines / "flight_delay.yaml").read_text()
    by_hand: dict[str, Any] = yaml.safe_load(demo)
    by_hand["name"] = "by_hand"
    by_hand["output"]["path"] = "var/by_hand/scores"
    by_hand["schedule"]["max_active_runs"] = 2
    nightly: dict[str, Any] = yaml.safe_load(demo)
    nightly["name"] = "nightly"
    nightly["input"]["path"] = "var/nightly/flights"
    nightly["output"]["path"] = "var/nightly/scores"
    del nightly["schedule"]["end_date"]
    # It would hold the night for the flight number that ``late_partitions`` takes away.
    del nightly["quality"]["input_suite"]
    # A suite that no day passes: its nights are held.
    held: dict[str, Any] = yaml.safe_load(demo)
    held["name"] = "held"
    held["output"]["path"] = "var/held/scores"
    held["quality"]["output_suite"] = "never.yaml"
    held["schedule"]["max_active_runs"] = 3
    never = {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}
    suite = {"name": "never", "expectations": [never]}
    (root / "conf" / "expectations" / "never.yaml").write_text(yaml.safe_dump(suite))
    held["alerts"] = [{"to": "email", "connection": "mail", "recipients": ["ada@example.com"]}]
    held["schedule"]["pool"] = "spark"
    pool = {"slots": 2, "description": "Spark jobs at once", "include_deferred": False}
    (root / "conf" / "pools.json").write_text(json.dumps({"spark": pool}))
    unanswered = held | {"name": "unanswered", "gate": {"deadline_hours": 0.003}}
    unanswered["output"] = held["output"] | {"path": "var/unanswered/scores"}
    unanswered["alerts"] = nightly["alerts"] = [{"to": "webhook", "connection": "hook"}]
    nightly["slo"] = {"within_minutes": 0.01}  # always late: nights are not scored in .6 s
    # Of another alias, which a test moves.
    watched: dict[str, Any] = yaml.safe_load(demo)
    watched["name"] = "watched"
    watched["output"]["path"] = "var/watched/scores"
    watched["model"] = {
        "name": "flight_delay",
        "alias": "candidate",
        "on_new_model": "hold",
        "poll_seconds": 2,
    }
    mended: dict[str, Any] = yaml.safe_load(demo)
    mended["name"] = "mended"
    mended["input"]["path"] = "var/mended/flights"
    mended["output"]["path"] = "var/mended/scores"
    mended["owner"], mended["docs"] = "the flight team", "https://runbooks.example.com/flights"
    del mended["quality"]["input_suite"]  # it would hold a night whose rows are quarantined
    in_store: dict[str, Any] = yaml.safe_load(demo)
    in_store["name"] = "in_store"
    in_store["input"]["path"] = f"s3://{BUCKET}/in"
    in_store["output"] |= {
        "path": f"s3://{BUCKET}/scores",
        "format": "delta",
    }
    by_connection = in_store | {"name": "by_connection", "input": dict(in_store["input"])}
    by_connection["input"]["path"] = f"s3://{LAKE}/in"
    by_connection["output"] = in_store["output"] | {
        "path": f"s3://{LAKE}/scores",
    }
    by_connection["schedule"] = in_store["schedule"] | {"connection": LAKE}
    tried: dict[str, Any] = yaml.safe_load(demo)
    tried["name"] = "tried"
    tried["output"]["path"] = "var/tried/scores"
    tried["alerts"] = nightly["alerts"]
    tried["canary"] = {
        "called": "lacking",
        "name": "lacking",
        "version": 2,
        "allow_pickle": True,
        "outputs": {"late_probability": "float"},
        "percent": 30,
        "key": ["carrier", "flight"],
        "stop_on": {"drift": False},
    }
    judged: dict[str, Any] = yaml.safe_load(demo)
    judged["name"] = "judged"
    judged["model"] = {"name": "judged", "alias": "champion"}
    judged["output"]["path"] = "var/judged/scores"
    judged["alerts"] = nightly["alerts"]
    judged["challengers"] = [{"alias": "challenger"}]
    judged["labels"] = {
        "path": "var/judged/labels",
        "column": "late",
        "segments": ["origin"],
        "poll_seconds": 2,
        "settle_days": 36500,  # flights of long ago
        "bounds": {"auc": {"min": 0.55}},
    }
    judged["promote"] = {
        "when": {"metric": "auc", "better_by": 0.01, "nights": 2, "interval": "any"}
    }
    made = (by_hand, nightly, held, unanswered, watched, mended, in_store, by_connection, tried)
    made += (judged,)
    for pipeline in made:
        (pipelines / f"{pipeline['name']}.yaml").write_text(yaml.safe_dump(pipeline))


def late_partitions(root: Path) -> None:
    """Yesterday's partition, and today's in case midnight passes meanwhile.

    They are the first demo day's flights; one of them has lost its flight number.
    """
    table = pq.read_table(root / "var/demo/flights" / f"ds={FIRST}" / "part-0.parquet")
    numbers = table.column("flight").to_pylist()
    numbers[3] = None
    at = table.schema.get_field_index("flight")
    table = table.set_column(at, table.schema.field(at), pa.array(numbers, table.schema.types[at]))
    today = dt.datetime.now(dt.UTC).date()
    for day in (today - dt.timedelta(days=1), today):
        folder = root / "var/nightly/flights" / f"ds={day}"
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "part-0.parquet")
        (folder / "_SUCCESS").touch()
