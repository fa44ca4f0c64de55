"""What MLflow shows of a night and of its experiment, as people read it there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from nocturne.records.findings import Finding, Verdict
from nocturne.report.description import describe_night, escaped
from report.mlflow_store import EXPERIMENT, Store
from report.pages import chromium

NOTE = "mlflow.note.content"
PAGE = "http://airflow:8080/nocturne/flight_delay/2013-03-31"
ATTACK = (
    "<img src=x onerror=alert(1)> [x](javascript:alert(1)) *a*_b_ `c` ~~d~~ http://e.com &lt;!{}"
)


def test_a_run_says_its_verdict_its_rows_and_why_the_worst_first(store: Store, held: Any) -> None:
    findings = (Finding("quality.quarantined", Verdict.OK, "few rows"), *held.judgement.findings)
    judgement = replace(held.judgement, findings=findings)
    run_id = store.log(held, judgement, page=PAGE)
    experiment = store.experiment().experiment_id
    runs = f"#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey"
    assert store.tags(run_id)[NOTE].split("\n") == [
        "**hold**: 900 rows of 2013-03-31, 888 scored, 12 quarantined, by version 3 of "
        r"flight\_delay",
        "",
        f"[Scoring]({PAGE}) · [all nights]({runs}=nocturne)",
        "",
        "- quality: 1 expectation failed: mean of score is 0.71",
        "- few rows",
        "- 12 rows quarantined",
    ]


@pytest.mark.parametrize("page", ["", "/nocturne/flight_delay/x", "javascript:alert(1)"])
def test_a_page_that_is_not_known_is_not_linked(night: Any, page: str) -> None:
    assert "Scoring" not in describe_night(replace(night.plan, page=page), night.judgement, "1")


def test_a_description_has_its_limits_however_many_and_long_the_reasons(night: Any) -> None:
    findings = tuple(Finding("r", Verdict.WARN, "&" * 9000) for _ in range(100))
    described = describe_night(night.plan, replace(night.judgement, findings=findings), "1")
    assert described.endswith("\n- and 98 more, in the report")
    assert len(described) < 8000, "what MLflow takes"


def test_a_description_that_a_person_has_written_stays(store: Store, night: Any) -> None:
    run_id = store.log(night)
    store.log(night, replace(night.judgement, verdict=Verdict.HOLD))
    assert store.tags(run_id)[NOTE].startswith("**hold**")
    store.client.set_tag(run_id, NOTE, "see the ticket")
    store.log(night)
    assert store.tags(run_id)[NOTE] == "see the ticket"


def test_an_experiment_says_what_its_runs_are(store: Store, night: Any) -> None:
    store.log(night)
    tags = store.experiment().tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert tags[NOTE].startswith(
        r"The scored nights of the pipeline **flight\_delay**: [its runs]("
    )
    assert "Scoring" not in tags[NOTE]
    store.log(night, page=PAGE)
    linked = store.experiment().tags[NOTE]
    assert "[Scoring](http://airflow:8080/nocturne/flight_delay)\n" in linked
    store.log(night)  # by a command, which knows no page
    assert store.experiment().tags[NOTE] == linked


def test_an_experiment_keeps_what_people_say_of_it(store: Store, night: Any) -> None:
    experiment = store.client.create_experiment(EXPERIMENT, store.report.parent.as_uri())
    store.client.set_experiment_tag(experiment, NOTE, "ours")
    store.client.set_experiment_tag(experiment, "mlflow.experimentKind", "genai_development")
    store.log(night, page=PAGE)
    tags = store.experiment().tags
    assert (tags[NOTE], tags["mlflow.experimentKind"]) == ("ours", "genai_development")


def test_an_experiment_of_two_pipelines_keeps_its_first_description(
    store: Store, night: Any
) -> None:
    store.log(night, page=PAGE)
    first = store.experiment().tags
    store.log(night, page="http://airflow:8080/nocturne/other/2013-03-31", pipeline="other")
    assert store.experiment().tags == first


@contextmanager
def _served(store: Store) -> Iterator[str]:
    """The URL of an MLflow server on the store."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        cwd=store.report.parent,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(240):
            try:
                urlopen(f"{url}/health", timeout=5).close()
                break
            except (URLError, OSError):
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def test_a_run_in_a_browser_shows_values_as_text_and_leads_to_all_nights(
    store: Store, night: Any, tmp_path: Path
) -> None:
    findings = (Finding("quality.expectations", Verdict.WARN, ATTACK),)
    run_id = store.log(night, replace(night.judgement, findings=findings), page=PAGE)
    wrong = list[str]()
    with _served(store) as url, chromium() as browser:
        page = browser.new_page()
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(f"{url}/#/runs/{run_id}")
        reason = page.get_by_role("listitem").filter(has_text="onerror")
        reason.wait_for(timeout=60_000)
        assert reason.inner_text() == ATTACK
        assert reason.locator("a, img, em, strong, code, del").count() == 0
        assert page.get_by_role("link", name="Scoring").get_attribute("href") == PAGE
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="all nights").click()
        nights = opened.value
        nights.get_by_role("link", name="2013-03-31").first.wait_for(timeout=60_000)
        assert nights.get_by_text("The scored nights of the pipeline").count()
        columns = nights.get_by_role("columnheader")
        columns.filter(has_text="nocturne.verdict").first.wait_for(timeout=60_000)
    assert wrong == []


def test_text_stays_on_its_line() -> None:
    assert escaped("- a\n\n# b\t- c") == r"\- a # b - c"
    assert escaped("1. a 2. b") == r"1\. a 2. b"
