"""How long nights take through a real Airflow: one by hand, and a backfill of thirty.

    python -m benchmarks.nights                needs `make demo` before

LocalExecutor, SQLite and ``local[*]``, in a project of its own with the demo's data and model. Of
each run the seconds from trigger (or the backfill's start) to the end, and of each task how long it
ran and how long it waited for the one before it to be noticed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.layout import RESULTS, ROOT
from nocturne_airflow.client import Airflow
from nocturne_airflow.environment import Ports
from nocturne_airflow.stack import Stack

FILE = RESULTS / "nights.json"
DAG = "flight_delay"
FIRST = dt.date(2013, 4, 1)
TASKS = ("wait", "prepare", "score", "judge", "gate", "publish")


def project(root: Path) -> None:
    """conf/, the flights and the registry of the demo; no night is scored yet."""
    flights, registry = ROOT / "var" / "demo" / "flights", ROOT / "var" / "mlflow"
    if not flights.is_dir():
        raise SystemExit(f"there is no {flights}: run `make demo` first")
    shutil.copytree(ROOT / "conf", root / "conf")
    (root / "var" / "demo").mkdir(parents=True)
    (root / "var" / "demo" / "flights").symlink_to(flights)
    shutil.copytree(registry, root / "var" / "mlflow")


def moments(airflow: Airflow, run_id: str) -> dict[str, tuple[float, float]]:
    """Task -> when it started and ended, in seconds since 1970."""
    found = airflow.call("GET", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances")
    return {
        t["task_id"]: (_seconds(t["start_date"]), _seconds(t["end_date"]))
        for t in found["task_instances"]
    }


def _seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def parts(runs: Sequence[tuple[float, dict[str, tuple[float, float]]]]) -> dict[str, Any]:
    """Of runs that began at a moment: medians of each task's seconds and of those before it."""
    ran: dict[str, list[float]] = {task: [] for task in TASKS}
    waited: dict[str, list[float]] = {task: [] for task in TASKS}
    for began, tasks in runs:
        before = began
        for task in TASKS:
            start, end = tasks[task]
            waited[task].append(start - before)
            ran[task].append(end - start)
            before = end
    return {
        task: {"ran_s": _middle(ran[task]), "waited_s": _middle(waited[task])} for task in TASKS
    }


def _middle(values: Sequence[float]) -> float:
    return round(statistics.median(values), 1)


def one(airflow: Airflow, day: str) -> dict[str, Any]:
    """A day by hand, from the trigger to its end."""
    began = time.time()
    run_id = airflow.trigger(DAG, day)
    if airflow.wait_for_run(DAG, run_id) != "success":
        raise SystemExit(f"{day} failed: {airflow.task_states(DAG, run_id)}")
    tasks = moments(airflow, run_id)
    return {"seconds": round(tasks["publish"][1] - began, 1), "began": began, "tasks": tasks}


def many(
    airflow: Airflow, stack: Stack, first: dt.date, count: int, at_once: int
) -> dict[str, Any]:
    """A backfill, from its command to the end of its last run."""
    last = first + dt.timedelta(days=count - 1)
    began = time.time()
    subprocess.run(
        [
            "airflow",
            "backfill",
            "create",
            "--dag-id",
            DAG,
            "--from-date",
            str(first),
            "--to-date",
            str(last),
            "--max-active-runs",
            str(at_once),
        ],
        env=stack.env,
        cwd=stack.root,
        check=True,
        capture_output=True,
    )
    runs = [
        str(r["dag_run_id"])
        for r in airflow.runs(DAG, "backfill")
        if str(first) <= r["partition_key"] <= str(last)
    ]
    if len(runs) != count:
        raise SystemExit(f"{len(runs)} runs for {count} days")
    for run_id in runs:
        if airflow.wait_for_run(DAG, run_id, timeout=3600) != "success":
            raise SystemExit(f"{run_id} failed: {airflow.task_states(DAG, run_id)}")
    times = [moments(airflow, run_id) for run_id in runs]
    starts = [_seconds(airflow.run(DAG, run_id)["start_date"]) for run_id in runs]
    ended = max(tasks["publish"][1] for tasks in times)
    return {
        "days": count,
        "at_once": at_once,
        "seconds": round(ended - began, 1),
        "tasks": parts(list(zip(starts, times, strict=True))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nights", description=__doc__)
    parser.add_argument("--days", type=int, default=30, help="of the backfill")
    parser.add_argument("--by-hand", type=int, default=5, help="days by hand before it")
    parser.add_argument("--at-once", type=int, default=2, help="runs of the backfill at once")
    parser.add_argument("--write", action="store_true", help="publish the figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nocturne-nights-") as folder:
        root = Path(folder)
        project(root)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        with Stack(root, Ports(0, 0), say=lambda line: print(line, file=sys.stderr)) as stack:
            airflow = stack.client()
            airflow.wait_for_dag(DAG)
            airflow.pause(DAG, False)
            singles = [one(airflow, str(FIRST + dt.timedelta(days=n))) for n in range(args.by_hand)]
            start = FIRST + dt.timedelta(days=args.by_hand)
            found = {
                "by_hand": {
                    "seconds": [s["seconds"] for s in singles],
                    "tasks": parts([(s["began"], s["tasks"]) for s in singles]) if singles else {},
                },
                "backfill": many(airflow, stack, start, args.days, args.at_once)
                if args.days
                else {},
            }
    text = json.dumps(found, indent=1)
    print(text)
    if args.write:
        FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
