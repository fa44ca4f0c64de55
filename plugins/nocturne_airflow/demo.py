"""``python -m nocturne_airflow.demo``: one day of flights scored by the Airflow DAG.

It starts a local Airflow and MLflow, lets the DAG flight_delay score a day, ends both, and shows
the result. If the same scores are already published, nothing is started, and it takes seconds.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nocturne.config import home as project_home
from nocturne.errors import NocturneError, TerminalError
from nocturne_airflow.client import Airflow
from nocturne_airflow.command import interpreter
from nocturne_airflow.environment import USER, Ports, airflow_home, environment, passwords_file
from nocturne_airflow.stack import Stack, running

__all__ = ["main"]

PIPELINE = "flight_delay"
DAY = "2013-04-01"
_COLOURS = {
    "success": "green",
    "ok": "green",
    "running": "cyan",
    "skipped": "magenta",
    "failed": "red",
    "upstream_failed": "red",
    "warn": "yellow",
    "up_for_retry": "yellow",
}


class DemoFailed(TerminalError):
    """The demo's DAG run did not publish."""


def main(argv: Sequence[str] | None = None) -> int:
    """Score the demo's day unless it is published; show the result."""
    parser = argparse.ArgumentParser(prog="python -m nocturne_airflow.demo", description=__doc__)
    parser.add_argument("--day", default=DAY, help=f"the partition; default {DAY}")
    day = parser.parse_args(argv).day
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    console = Console()
    try:
        root = project_home()
        if _unchanged(root, day):
            console.print(f"{PIPELINE} {day} is published, and nothing has changed since.")
        else:
            with _airflow(root, console) as airflow:
                _score(airflow, day, console)
        _show(_status(root, day), console)
    except NocturneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nstopped; what was scored so far is kept: run this again to go on", file=sys.stderr)
        return 130
    return 0


def _unchanged(root: Path, day: str) -> bool:
    if _status(root, day).get("state") != "published":
        return False
    plan = _nocturne(root, "prepare", PIPELINE, "--date", day, "--dry-run", "--json")
    return bool(plan["action"] == "nothing")


def _status(root: Path, day: str) -> dict[str, Any]:
    rows = _nocturne(root, "status", PIPELINE, "--from", day, "--to", day, "--json")
    return dict(rows[0]) if rows else {}


def _nocturne(root: Path, *arguments: str) -> Any:
    ports = running(root)
    env = environment(root, ports)
    if ports is None:  # no server: the registry is read from its file
        del env["MLFLOW_TRACKING_URI"]
    done = subprocess.run(
        [interpreter(), "-P", "-m", "nocturne.cli", *arguments],
        env=env,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoFailed(done.stderr.strip() or f"nocturne {' '.join(arguments)} failed")
    return json.loads(done.stdout.strip().splitlines()[-1])


@contextmanager
def _airflow(root: Path, console: Console) -> Iterator[Airflow]:
    ports = running(root)
    if ports is not None:
        password = json.loads(passwords_file(airflow_home(root)).read_text())[USER]
        console.print(f"Using the Airflow that runs at {ports.airflow_url}.")
        yield Airflow(f"http://127.0.0.1:{ports.airflow}", USER, password)
        return
    with Stack(root, Ports(0, 0), say=console.print) as stack:
        airflow = stack.client()
        airflow.wait_for_dag(PIPELINE)
        # An interrupted demo leaves runs whose processes are gone; Airflow would wait five
        # minutes for their heartbeat. Splits that were scored are kept.
        airflow.abandon(PIPELINE)
        yield airflow
        console.print("Ending Airflow and MLflow ...")


def _score(airflow: Airflow, day: str, console: Console) -> None:
    airflow.wait_for_dag(PIPELINE)
    airflow.pause(PIPELINE, False)
    run_id = airflow.trigger(PIPELINE, day)
    console.print(f"Triggered the DAG {PIPELINE} for {day}.")
    start, shown = time.monotonic(), dict[str, str]()

    with console.status("waiting for the scheduler") as spinner:

        def show(states: Mapping[str, str]) -> None:
            for task, state in states.items():
                if state not in ("none", "queued", "scheduled") and shown.get(task) != state:
                    shown[task] = state
                    colour = _COLOURS.get(state, "default")
                    at = time.monotonic() - start
                    console.print(f"  {at:5.0f} s  {task:<8} [{colour}]{state}[/]")
            busy = [task for task, state in states.items() if state == "running"]
            if busy:
                spinner.update(f"{busy[0]} is running")

        state = airflow.wait_for_run(PIPELINE, run_id, timeout=1800, on_states=show)
    if state != "success":
        failed = [t for t, s in airflow.task_states(PIPELINE, run_id).items() if s == "failed"]
        log = airflow.log(PIPELINE, run_id, failed[0]) if failed else ""
        end = "\n".join(log.splitlines()[-30:])
        raise DemoFailed(f"the task {', '.join(failed)} failed. The end of its log:\n\n{end}")


def _show(night: Mapping[str, Any], console: Console) -> None:
    if night.get("state") != "published":
        raise DemoFailed(
            f"the DAG run succeeded but {night.get('partition', 'the day')} is not published "
            f"(state {night.get('state')!r}): {night.get('message') or 'no reason is given'}"
        )
    table = Table(title=f"{PIPELINE} {night['partition']}", title_justify="left")
    for name in ("rows", "published", "quarantined", "rows/s", "drift", "verdict", "model version"):
        table.add_column(name, justify="right")
    table.add_row(
        *(
            f"{night[key]:,}" if night[key] is not None else ""
            for key in ("rows_in", "rows_published", "rows_quarantined", "rows_per_second")
        ),
        *(
            f"[{_COLOURS.get(night[key], 'red')}]{night[key]}[/]"
            for key in ("drift_verdict", "verdict")
        ),
        str(night["model_version"]),
    )
    console.print()
    console.print(table)
    for reason in night.get("reasons", []):
        console.print(f"  {escape(reason)}", highlight=False)
    for name in ("output", "report", "manifest"):
        label = "scores" if name == "output" else name
        console.print(f"{label:<9} {night[name]}", soft_wrap=True, highlight=False)
    console.print(
        f"""
What to try next (commands are in .venv/bin)
  make airflow                        Airflow's and MLflow's pages; the URLs are printed
  nocturne status {PIPELINE}        every day with its state
  nocturne score {PIPELINE} --date 2013-04-02 --to 2013-04-07
  a backfill, while `make airflow` runs in another terminal:
    python -m nocturne_airflow.local run airflow backfill create --dag-id {PIPELINE} \\
      --from-date 2013-04-01 --to-date 2013-04-07""",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
