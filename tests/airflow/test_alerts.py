"""Whom the alerts reach, through a real SMTP server and a real HTTP receiver."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from nocturne.config import load
from nocturne.config.alerts import Email, PagerDuty, Slack, Webhook
from nocturne.errors import ConfigError
from nocturne.operate.status import PartitionStatus
from nocturne.records.partition import Partition
from nocturne.store.partition_state import PartitionState
from nocturne_airflow.alerts import Alerts, check_providers, late
from nocturne_airflow.slo import Due
from receivers import mailbox, posts

EMAIL = Email(to="email", connection="mail", recipients=["ada@example.com", "bob@example.com"])
WEBHOOK = Webhook(to="webhook", connection="ops", endpoint="alerts/nocturne")
SLACK = Slack(to="slack", connection="team", events=["failed"])


def context(run_type: str = "scheduled", **conf: str) -> Any:
    run = SimpleNamespace(
        run_type=run_type,
        partition_key="2013-04-01",
        conf=conf,
        dag_id="daily",
        run_id="scheduled__1",
    )
    task = SimpleNamespace(task_id="score", log_url="http://airflow/log?a=1&b=2")
    return {"dag_run": run, "task_instance": task}


def test_an_email_says_what_why_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    with mailbox() as box:
        monkeypatch.setenv("AIRFLOW_CONN_MAIL", box.connection)
        why = "3 rows <b>wrong</b>\n{{ 1 + 1 }}"
        Alerts("daily", [EMAIL]).tell("failed", context(), why, {"Log": "http://airflow?a=1&b=2"})
        [mail] = box.got
    assert mail["Subject"] == "[nocturne] daily 2013-04-01 has failed"
    assert mail["To"] == "ada@example.com, bob@example.com"
    assert mail["From"] == "nocturne@example.com"
    body = mail.get_body(("html",)).get_content()  # type: ignore[attr-defined]
    assert "3 rows &lt;b&gt;wrong&lt;/b&gt;<br>{{ 1 + 1 }}" in body  # as it is: no template
    assert '/nocturne/daily/2013-04-01">Scoring</a>' in body
    assert '/dags/daily/runs/scheduled__1">DAG run</a>' in body
    assert 'href="http://airflow?a=1&amp;b=2">Log</a>' in body


def test_an_alert_names_the_owner_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with mailbox() as box, posts() as received:
        monkeypatch.setenv("AIRFLOW_CONN_MAIL", box.connection)
        monkeypatch.setenv("AIRFLOW_CONN_OPS", received.connection)
        named = {"owner": "team <flights>", "docs": "https://runbooks/daily"}
        Alerts("daily", [EMAIL, WEBHOOK], **named).tell("failed", context(), "no disk")
        [mail], [(_, body)] = box.got, received.got
    text = mail.get_body(("html",)).get_content()  # type: ignore[attr-defined]
    assert "no disk<br>Owner: team &lt;flights&gt;" in text
    assert 'href="https://runbooks/daily">What to do</a>' in text
    assert body["owner"] == "team <flights>"
    assert body["links"]["What to do"] == "https://runbooks/daily"


def test_a_webhook_gets_json(monkeypatch: pytest.MonkeyPatch) -> None:
    with posts() as received:
        monkeypatch.setenv("AIRFLOW_CONN_OPS", received.connection)
        Alerts("daily", [WEBHOOK]).tell("held", context("manual"), "3 drifted", {"Report": "/r"})
        [(path, body)] = received.got
    assert path == "/alerts/nocturne"
    assert body["event"] == "held"
    assert (body["pipeline"], body["partition"], body["why"]) == (
        "daily",
        "2013-04-01",
        "3 drifted",
    )
    assert body["subject"] == "daily 2013-04-01 is held and waits for a decision"
    assert list(body["links"]) == ["Scoring", "DAG run", "Report"]


def test_slack_gets_its_own_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    with posts() as received:
        connection = {
            "conn_type": "slackwebhook",
            "password": "T00/B00/X",
            "host": f"127.0.0.1:{received.port}/services",
            "schema": "http",
        }
        monkeypatch.setenv("AIRFLOW_CONN_TEAM", json.dumps(connection))
        alerts = Alerts("daily", [SLACK])
        alerts.tell("held", context(), "not asked for")
        alerts.tell("failed", context(), "a < b & c")
        [(path, body)] = received.got
    assert path == "/services/T00/B00/X"
    assert body["text"].startswith("*daily 2013-04-01 has failed*\na &lt; b &amp; c\n<")
    assert "|Scoring>" in body["text"]


def test_pagerduty_is_told_once_per_night_and_event(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Its address is fixed in the client: the event is looked at before it leaves.
    from pagerduty import EventsApiV2Client

    sent: list[dict[str, Any]] = []

    def post(self: Any, url: str, **options: Any) -> httpx2.Response:
        sent.append(options["json"])
        return httpx2.Response(202, json={"status": "success", "dedup_key": "k"})

    monkeypatch.setattr(EventsApiV2Client, "post", post)
    monkeypatch.setenv("AIRFLOW_CONN_DUTY", '{"conn_type": "pagerduty_events", "password": "key"}')
    rules = [PagerDuty(to="pagerduty", connection="duty")]
    with caplog.at_level(logging.INFO):
        Alerts("daily", rules).tell("failed", context(), "no disk")
    assert "Told pagerduty 'duty': daily 2013-04-01 has failed" in caplog.text
    [event] = sent
    assert event["dedup_key"] == "nocturne/daily/2013-04-01/failed"
    assert event["payload"]["summary"] == "daily 2013-04-01 has failed"
    assert event["payload"]["severity"] == "error"
    assert event["payload"]["custom_details"] == {"why": "no disk"}


def test_a_backfill_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with posts() as received:
        monkeypatch.setenv("AIRFLOW_CONN_OPS", received.connection)
        alerts = Alerts("daily", [WEBHOOK])
        alerts.failed("/nowhere", context("backfill"))
        alerts.tell("held", context("backfill"), "x")
        assert received.got == []


def test_a_failed_run_says_which_task_and_why(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Partition("2013-04-01", (("ds", "2013-04-01"),))
    state = PartitionState(project / "var/_nocturne/out", night)
    with posts() as received:
        monkeypatch.setenv("AIRFLOW_CONN_OPS", received.connection)
        alerts = Alerts("daily", [WEBHOOK])
        alerts.failed("/nowhere", context("manual", action="rollback"))  # who asked is looking
        alerts.failed("/nowhere", context())
        state.write_planning_failed("column y is missing")
        alerts.failed(str(project), context())
        whys = [body["why"] for _, body in received.got]
    assert whys == ["the task score failed", "the task score failed: column y is missing"]
    assert received.got[0][1]["links"]["Log of score"] == "http://airflow/log?a=1&b=2"


def test_one_that_can_not_be_sent_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with posts() as received:
        monkeypatch.setenv("AIRFLOW_CONN_OPS", received.connection)
        monkeypatch.setenv(
            "AIRFLOW_CONN_MAIL",
            '{"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"retry_limit": 1, '
            '"disable_ssl": true, "from_email": "a@example.com"}}',
        )
        Alerts("daily", [EMAIL, WEBHOOK]).tell("failed", context(), "x")
        assert len(received.got) == 1
    assert "by email 'mail' was not sent" in caplog.text


def test_a_late_night_is_told_unless_it_is_published(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [WEBHOOK.model_dump(mode="json")]
    run = {"dag_run": {"partition_key": "2013-04-01"}}
    state = project / "var/_nocturne/out/ds=2013-04-01"

    def told(stands: str) -> list[str]:
        found = PartitionStatus("2013-04-01", stands, Path("in"), problem="3 columns drifted")  # type: ignore[arg-type]
        monkeypatch.setattr("nocturne.operate.status.statuses_of", lambda *_: [found])
        received.got.clear()
        asyncio.run(late("daily", str(project), "by 06:30 (UTC)", rules, run))
        return [body["why"] for _, body in received.got]

    with posts() as received:
        monkeypatch.setenv("AIRFLOW_CONN_OPS", received.connection)
        assert told("held") == ["It was due by 06:30 (UTC)"]  # nothing is seen of the state
        state.mkdir(parents=True)
        assert told("held") == ["It was due by 06:30 (UTC); it is held: 3 columns drifted"]
        assert told("published") == []
        (project / "conf/pipelines/daily.yaml").write_text("name: [")
        assert told("published") == ["It was due by 06:30 (UTC)"]


@pytest.mark.parametrize(
    ("by", "zone", "over", "due"),
    [
        ("06:30", "UTC", "2013-04-02T00:00", "2013-04-02T06:30"),
        ("06:30", "Europe/Vienna", "2013-04-01T22:00", "2013-04-02T04:30"),  # summer time
        ("02:30", "America/New_York", "2013-03-10T05:00", "2013-03-10T07:30"),  # skipped that night
        ("00:00", "UTC", "2013-04-02T00:00", "2013-04-02T00:00"),
        ("00:00", "UTC", "2013-04-02T00:01", "2013-04-03T00:00"),
    ],
)
def test_a_night_is_due_at_the_first_such_time_after_it(
    by: str, zone: str, over: str, due: str
) -> None:
    start = dt.datetime.fromisoformat(over).replace(tzinfo=dt.UTC)
    expected = dt.datetime.fromisoformat(due).replace(tzinfo=dt.UTC)
    assert Due(by, timezone=zone).after(start) == expected


def test_minutes_count_from_the_end_of_the_partition() -> None:
    start = dt.datetime(2013, 4, 1, 5, tzinfo=dt.UTC)
    assert Due(within_minutes=45).after(start) == start + dt.timedelta(minutes=45)
    assert Due().after(start) is None


def test_an_alert_that_needs_what_is_not_installed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(project / "conf" / "base.yaml", "a", encoding="utf-8") as base:
        base.write("alerts: [{to: slack, connection: team}]\n")
    loaded = load("daily", root=project)
    check_providers(loaded)
    monkeypatch.setattr("nocturne_airflow.alerts.find_spec", lambda name: None)
    expected = r"daily\.yaml: alerts\.0\.to: got 'slack'.*airflow-providers-slack: install nocturne"
    with pytest.raises(ConfigError, match=expected):
        check_providers(loaded)
