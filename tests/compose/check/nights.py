"""Nights of the demo on the running stack, and what is killed in the middle of them."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx

from compose.check.engine import Refused
from compose.check.harm import FATAL, Harm
from compose.check.stack import Stack
from nocturne_airflow.client import Airflow, AirflowRefused

__all__ = ["DAG", "by_command", "by_dag", "check"]

DAG = "flight_delay"
BEGUN_S = {"score": 4.0, "judge": 1.5}
"""Task -> seconds after which it has begun to work, and has most of it before it."""


def by_command(stack: Stack, service: str, day: str) -> dict[str, float]:
    """Score a day by the command line; the seconds it took."""
    began = time.monotonic()
    stack.run(service, "nocturne", "score", DAG, "--date", day)
    return {"seconds": round(time.monotonic() - began)}


def by_dag(stack: Stack, day: str, harm: tuple[str, Harm] | None = None) -> dict[str, float]:
    """Score a day by a run of the DAG over the REST API.

    Args:
        harm: a task, and what is done to the stack while it runs.

    Returns:
        the seconds of the run; if that task was tried again, the seconds until then.

    Raises:
        Refused: the run failed; the message has the end of the task's log.
    """
    airflow = stack.airflow()
    began = time.monotonic()
    run = airflow.trigger(DAG, day)
    place = f"/dags/{DAG}/dagRuns/{run}"
    figures: dict[str, float] = {}
    done = 0.0
    while True:
        tasks = {
            t["task_id"]: t for t in _patiently(airflow, f"{place}/taskInstances")["task_instances"]
        }
        state = _patiently(airflow, place)["state"]
        if state in ("success", "failed"):
            break
        if harm is not None:
            task = tasks.get(harm[0], {"state": None})
            if not done and task["state"] == "running":
                time.sleep(BEGUN_S[harm[0]])
                still = _patiently(airflow, f"{place}/taskInstances/{harm[0]}")["state"]
                if still != "running":
                    raise Refused(
                        f"{day}: {harm[0]} was {still} before anything could be done to it"
                    )
                harm[1](stack, task)
                done = time.monotonic()
            again = done and task["state"] == "running" and task["try_number"] > 1
            if again and "again_after" not in figures:
                figures["again_after"] = round(time.monotonic() - done)
        if time.monotonic() - began > 900:
            raise Refused(f"{day} is still {state} after 900 s: {_states(tasks)}")
        time.sleep(1)
    if state == "failed":
        task = next(t for t in tasks.values() if t["state"] == "failed")
        log = airflow.log(DAG, run, task["task_id"], task["try_number"])
        raise Refused(f"{day}: {_states(tasks)}\n{log[-6000:]}")
    if harm is not None and not done:
        raise Refused(f"{day}: {harm[0]} was never seen running")
    if harm is not None and harm[1] in FATAL and "again_after" not in figures:
        raise Refused(f"{day}: {harm[0]} was not tried again, so nothing was done to it")
    return {"seconds": round(time.monotonic() - began), **figures}


def check(stack: Stack, service: str, days: list[str]) -> None:
    """The nights are what their manifests say, a replay gives the same, each was published once.

    Raises:
        Refused: it is not so.
    """
    dates = ["--date", days[0], "--to", days[-1]]
    stack.run(service, "nocturne", "verify", DAG, *dates, "--replay")
    pattern = "*/manifests/*.json"
    found = stack.run(service, "find", "/opt/nocturne/var", "-path", pattern).split()
    if sorted(re.findall(r"/ds=([^/]+)/", " ".join(found))) != sorted(days):
        raise Refused(f"{days} should be published once each: {found}")


def _states(tasks: dict[str, Any]) -> dict[str, str]:
    return {name: task["state"] for name, task in tasks.items()}


def _patiently(airflow: Airflow, path: str) -> Any:
    """The answer of Airflow, which may be away for a moment."""
    for _ in range(180):
        try:
            return airflow.call("GET", path)
        except httpx.HTTPError:
            time.sleep(1)
        except AirflowRefused as error:  # its database may be away
            if error.values["status"] < 500:
                raise
            time.sleep(1)
    return airflow.call("GET", path)
