"""The gate without a server: what passes, what stops, and what an answer does."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from nocturne.records.answers import GateAnswer
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.gate import NOBODY, GateOperator, escaped, plot_links, question

JUDGED = {
    "verdict": "hold",
    "reasons": ["3 of *9* rows <script>"],
    "report": "/runs/1/report.html",
    "partition": "2013-04-01",
    "model_version": 4,
    "rows_in": 9,
}


def gate(root: Path) -> GateOperator:
    return GateOperator(
        task_id="gate",
        pipeline="daily",
        alerts=Alerts("daily"),
        home=str(root),
        run_dir="/runs/1",
        deadline=dt.timedelta(hours=12),
    )


def context(run_type: str = "manual") -> Any:
    run = SimpleNamespace(run_type=run_type, partition_key="2013-04-01", conf={}, dag_id="daily")
    return {"dag_run": run}


def answered(option: str, user: dict[str, str] | None) -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {},
        "responded_by_user": user,
        "responded_at": dt.datetime.now(dt.UTC),
        "timedout": user is None,
    }


def held(log: Path) -> str:
    """A run that is held, until somebody approves it."""
    return f"""
with open({str(log)!r}, "a") as log: log.write(" ".join(args) + chr(10))
if args[2] == "--json":
    print(json.dumps({JUDGED!r}))
    sys.exit(3)
"""


def test_a_night_that_passes_is_not_asked_about(steps: Any, tmp_path: Path) -> None:
    steps("sys.exit(0)")
    assert gate(tmp_path).execute(context()) is None


def test_a_failed_night_stops(steps: Any, tmp_path: Path) -> None:
    steps("print('failed its checks', file=sys.stderr); sys.exit(1)")
    with pytest.raises(AirflowFailException, match="gate: failed its checks"):
        gate(tmp_path).execute(context())


def test_a_backfill_does_not_wait(steps: Any, tmp_path: Path) -> None:
    steps(held(tmp_path / "log"))
    with pytest.raises(AirflowFailException, match="A backfill does not wait for a person"):
        gate(tmp_path).execute(context("backfill"))


def test_the_answer_is_carried_out_in_the_name_of_who_gave_it(steps: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps(held(log))
    user = {"id": "7", "name": "ada"}
    gate(tmp_path).execute_complete(context(), answered("Approve", user))
    gate(tmp_path).execute_complete(context(), answered("Reject", user))
    said = [line for line in log.read_text().splitlines() if "--by" in line]
    assert said == ["gate /runs/1 --approve --by ada", "gate /runs/1 --reject --by ada"]


def test_a_night_that_nobody_answered_is_rejected_and_fails(steps: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps(held(log))
    with pytest.raises(AirflowFailException, match=f"rejected, {NOBODY}"):
        gate(tmp_path).execute_complete(context(), answered("Reject", None))
    assert f"gate /runs/1 --reject --by airflow --why {NOBODY} --unanswered" in log.read_text()


def test_what_was_approved_meanwhile_passes_whatever_is_answered(
    steps: Any, tmp_path: Path
) -> None:
    steps("sys.exit(0 if args[2] == '--json' else 9)")
    gate(tmp_path).execute_complete(context(), answered("Reject", None))


def test_the_question_shows_data_as_text() -> None:
    shown = plot_links(GateAnswer(**JUDGED, worst=["wind speed", "a[b]"]), "/r")
    asked = question(GateAnswer(**JUDGED), {"Report": "/r"} | shown)
    assert "[Report](/r)" in asked
    assert "[Plot of wind speed](/r#column-wind%20speed)" in asked
    assert "[Plot of a\\[b\\]](/r#column-a%5Bb%5D)" in asked
    assert "3 of \\*9\\* rows \\<script\\>" in asked
    assert escaped("a\nb") == "a b"
    assert "model version 4" in asked
