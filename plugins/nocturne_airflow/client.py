"""A client for the parts of Airflow's REST API that the demo and the tests need."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from nocturne.errors import TerminalError

__all__ = ["Airflow", "AirflowRefused"]

ENDED = ("success", "failed")


class AirflowRefused(TerminalError):
    """Airflow's API refused a request; ``status`` and ``detail`` are from its response."""


class Airflow:
    """A logged-in client.

    Args:
        url: the URL of the API server, without a path.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        # Without the shell's proxy, since the server is on this machine.
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        response = self._http.post("/auth/token", json={"username": user, "password": password})
        if response.status_code >= 400:
            raise AirflowRefused(
                f"Airflow at {url} did not accept the login of {user!r} (HTTP "
                f"{response.status_code}); the password is in var/airflow/passwords.json",
                status=response.status_code,
            )
        self._http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON response of ``/api/v2<path>``.

        Raises:
            AirflowRefused: with Airflow's own explanation.
        """
        response = self._http.request(method, f"/api/v2{path}", **options)
        if response.status_code >= 400:
            try:
                detail = response.json().get("detail", response.text)
            except ValueError:
                detail = response.text
            raise AirflowRefused(
                f"Airflow refused {method} {path} (HTTP {response.status_code}): {detail}",
                status=response.status_code,
                detail=detail,
            )
        return response.json() if response.content else None

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> None:
        """Wait until the DAG processor has found the DAG.

        Raises:
            AirflowRefused: the DAG was not found in time; the message has the import errors.
        """
        until = time.monotonic() + timeout
        while True:
            try:
                if not self.call("GET", f"/dags/{dag_id}")["is_stale"]:
                    return
            except AirflowRefused as error:
                if error.values["status"] != 404:
                    raise
            if time.monotonic() > until:
                problems = self.import_errors()
                raise AirflowRefused(
                    f"no DAG {dag_id!r} after {timeout:.0f} s. Import errors: "
                    + ("\n".join(problems.values()) or "none"),
                    status=404,
                )
            time.sleep(0.5)

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pause or (``paused=False``) unpause a DAG."""
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def trigger(
        self,
        dag_id: str,
        partition_key: str | None = None,
        conf: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a run by hand; returns its run id."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if partition_key is not None:
            body["partition_key"] = partition_key
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def runs(self, dag_id: str, run_type: str | None = None) -> list[dict[str, Any]]:
        """The DAG's newest hundred runs, oldest first."""
        query = {"limit": 100, "order_by": "-id"} | ({"run_type": run_type} if run_type else {})
        response = self.call("GET", f"/dags/{dag_id}/dagRuns", params=query)
        return list(reversed(response["dag_runs"]))

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run as Airflow describes it."""
        return dict(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Task id -> state ("none" if the task has no state yet)."""
        response = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return {t["task_id"]: t["state"] or "none" for t in response["task_instances"]}

    def backfilling(self, dag_id: str) -> bool:
        """Whether a backfill counts as unfinished; Airflow notices its end half a minute late."""
        response = self.call("GET", "/backfills", params={"dag_id": dag_id})
        return any(b["completed_at"] is None for b in response["backfills"])

    def abandon(self, dag_id: str) -> list[str]:
        """Mark every unfinished run of the DAG as failed; returns their run ids."""
        unfinished = [str(r["dag_run_id"]) for r in self.runs(dag_id) if r["state"] not in ENDED]
        for run_id in unfinished:
            self.call("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})
        return unfinished

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 600,
        on_states: Callable[[dict[str, str]], None] | None = None,
    ) -> str:
        """Wait for the end of a run; returns "success" or "failed".

        Raises:
            AirflowRefused: it still runs after ``timeout`` seconds.
        """
        until = time.monotonic() + timeout
        while True:
            state = str(self.run(dag_id, run_id)["state"])
            if on_states is not None:
                on_states(self.task_states(dag_id, run_id))
            if state in ENDED:
                return state
            if time.monotonic() > until:
                raise AirflowRefused(
                    f"run {run_id} of {dag_id} is still {state} after {timeout:.0f} s: "
                    f"{self.task_states(dag_id, run_id)}",
                    status=None,
                )
            time.sleep(1)

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """The text of a task's log."""
        response = self.call(
            "GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        )
        return "\n".join(_line(entry) for entry in response["content"])

    def respond(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a task that waits for a person."""
        self.call(
            "PATCH",
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails",
            json={"chosen_options": [option], "params_input": {}},
        )

    def import_errors(self) -> dict[str, str]:
        """File name -> its import error."""
        response = self.call("GET", "/importErrors")
        return {e["filename"]: e["stack_trace"] for e in response["import_errors"]}


def _line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    details = [str(e.get("exc_value", "")) for e in entry.get("error_detail") or []]
    return "\n".join([str(entry.get("event", "")), *details])
