"""The REST client against a small server that answers as Airflow does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rich.console import Console

from nocturne_airflow import demo
from nocturne_airflow.client import Airflow, AirflowRefused

RUN = "/dags/d/dagRuns/r"
ANSWERS: dict[str, tuple[int, Any]] = {
    "/auth/token": (201, {"access_token": "t"}),
    "/api/v2/dags/d": (200, {"is_stale": False}),
    "/api/v2/dags/d/dagRuns": (200, {"dag_run_id": "r"}),
    f"/api/v2{RUN}": (200, {"state": "running"}),
    f"/api/v2{RUN}/taskInstances": (
        200,
        {
            "task_instances": [
                {"task_id": "wait", "state": "failed"},
                {"task_id": "score", "state": None},
            ]
        },
    ),
    f"/api/v2{RUN}/taskInstances/wait/logs/1": (
        200,
        {
            "content": [
                {"event": "Task failed"},
                {"event": "", "error_detail": [{"exc_value": "no such day"}]},
            ]
        },
    ),
    "/api/v2/importErrors": (
        200,
        {"import_errors": [{"filename": "config_errors.py", "stack_trace": "bad YAML"}]},
    ),
}


@pytest.fixture
def answers() -> dict[str, tuple[int, Any]]:
    """Path -> (status, JSON); a test may change it."""
    return dict(ANSWERS)


@pytest.fixture
def url(answers: dict[str, tuple[int, Any]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answers.get(self.path.partition("?")[0], (404, {"detail": "not found"}))
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PATCH = do_GET  # noqa: N815  (the base class names them so)

        def log_message(self, format: str, *args: Any) -> None:
            """Keeps the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_wrong_password_says_where_the_right_one_is(url: str, answers: dict[str, Any]) -> None:
    answers["/auth/token"] = (401, {"detail": "Invalid credentials"})
    with pytest.raises(AirflowRefused, match=r"login of 'admin' \(HTTP 401\).*passwords\.json"):
        Airflow(url, "admin", "wrong")


def test_a_refusal_carries_airflows_own_words(url: str, answers: dict[str, Any]) -> None:
    answers["/api/v2/dags/d/dagRuns"] = (400, {"detail": "0 is less than the minimum"})
    with pytest.raises(AirflowRefused, match="0 is less than the minimum") as caught:
        Airflow(url, "admin", "p").trigger("d", conf={"model_version": 0})
    assert caught.value.values["status"] == 400


def test_a_dag_that_does_not_come_shows_the_import_errors(url: str) -> None:
    with pytest.raises(AirflowRefused, match=r"no DAG 'other' after 0 s. Import errors: bad YAML"):
        Airflow(url, "admin", "p").wait_for_dag("other", timeout=0)


def test_waiting_for_a_run_ends_with_its_task_states(url: str) -> None:
    with pytest.raises(AirflowRefused, match=r"still running after 0 s.*'wait': 'failed'"):
        Airflow(url, "admin", "p").wait_for_run("d", "r", timeout=0)


def test_a_backfill_without_an_end_is_running(url: str, answers: dict[str, Any]) -> None:
    airflow = Airflow(url, "admin", "p")
    for ended, unfinished in ((None, True), ("2026-01-01T00:00:00Z", False)):
        answers["/api/v2/backfills"] = (200, {"backfills": [{"completed_at": ended}]})
        assert airflow.backfilling("d") is unfinished


def test_unfinished_runs_can_be_abandoned(url: str, answers: dict[str, Any]) -> None:
    runs = [{"dag_run_id": "r", "state": "running"}, {"dag_run_id": "old", "state": "success"}]
    answers["/api/v2/dags/d/dagRuns"] = (200, {"dag_runs": runs})
    assert Airflow(url, "admin", "p").abandon("d") == ["r"]


def test_a_log_shows_the_error_too(url: str) -> None:
    assert Airflow(url, "admin", "p").log("d", "r", "wait") == "Task failed\n\nno such day"


def test_a_failed_demo_shows_which_task_and_its_log(
    url: str, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "PIPELINE", "d")
    answers[f"/api/v2{RUN}"] = (200, {"state": "failed"})
    with pytest.raises(demo.DemoFailed, match=r"the task wait failed(.|\n)*no such day"):
        demo._score(Airflow(url, "admin", "p"), "2013-04-01", Console(quiet=True))


def test_a_demo_that_did_not_publish_says_so() -> None:
    night = {"partition": "2013-04-01", "state": "held", "message": "too much drift"}
    with pytest.raises(demo.DemoFailed, match=r"2013-04-01 is not published \(state 'held'\): too"):
        demo._show(night, Console(quiet=True))
