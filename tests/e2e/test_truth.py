"""Labels come, and a challenger is proposed, approved in a real browser, and promoted."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from playwright.sync_api import Browser, expect

from e2e.helpers import RUN_TIMEOUT_S, Local, days
from e2e.windows import Window, needs_browser
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.long, needs_browser]

DAYS = days(2)


def _register(local: Local) -> mlflow.MlflowClient:
    """Version 1 has learnt nothing, and version 2 is the demo's model."""
    from nocturne.codec import load
    from nocturne.contract import log_torch_model
    from nocturne.demo.model import FlightDelay
    from nocturne.encoding import Encoding
    from nocturne.model.tracking import connect, experiment_id

    client = connect(local.env["MLFLOW_TRACKING_URI"])
    trained = client.get_model_version_by_alias("flight_delay", "champion")
    folder = Path(mlflow.artifacts.download_artifacts(trained.source))
    encoding = load(Encoding, next(folder.rglob("encoding.json")).read_text())
    numbers, codes = encoding.inputs
    sizes = [feature.unknown + 1 for feature in codes.features]
    torch.manual_seed(3)
    data = pq.read_table(local.root / f"var/demo/flights/ds={DAYS[0]}", partitioning=None)
    mlflow.set_experiment(experiment_id=experiment_id(client, "judged-training"))
    log_torch_model(
        FlightDelay(len(numbers.features), 1, sizes).eval(),
        encoding,
        data,
        name="judged",
        registered_model_name="judged",
        alias="champion",
    )
    model_id = trained.source.removeprefix("models:/")
    better = client.create_model_version(
        "judged", trained.source, trained.run_id, model_id=model_id
    )
    client.set_registered_model_alias("judged", "challenger", better.version)
    return client


def _labels_come(local: Local, day: str) -> None:
    there = local.root / "var/judged/labels" / f"ds={day}"
    beside = there.with_name(f".{day}")
    shutil.copytree(local.root / "var/demo/labels" / f"ds={day}", beside)
    beside.rename(there)


def _truths(local: Local, *options: str) -> dict[str, Any]:
    said = local.run("nocturne", "truth", "judged", *options, "--json").stdout
    return dict(json.loads(said.splitlines()[-1]))


def _counted(local: Local) -> list[dict[str, Any]]:
    """The runs of the truth's DAG that have ended, the oldest first."""
    runs = local.airflow.runs("judged_truth")
    ended = [run for run in runs if run["state"] in ("success", "failed")]
    return sorted(ended, key=lambda run: str(run["run_after"]))


def test_a_better_challenger_becomes_the_champion_once_a_person_agrees(
    browser: Browser, local: Local
) -> None:
    client = _register(local)
    local.run("nocturne", "score", "judged", "--date", DAYS[0], "--to", DAYS[1])
    assert _counted(local) == []
    for day in DAYS:
        _labels_come(local, day)
    until(lambda: _counted(local), "a run of judged_truth", RUN_TIMEOUT_S)
    until(lambda: local.airflow.runs("judged_promote"), "a run of judged_promote", RUN_TIMEOUT_S)
    assert {run["state"] for run in _counted(local)} == {"success"}
    nights = {n["partition"]: n["truth"] for n in _truths(local, "--date", *_span())["nights"]}
    for day in DAYS:
        against = nights[day]["against"]["challenger"]
        assert against["differences"]["auc"]["value"] > 0.05
        assert "origin=EWR" in nights[day]["parts"]
        assert nights[day]["beyond"][0].startswith("auc is ")
    told = local.told("judged")
    assert {a["partition"] for a in told if a["event"] == "truth"} == {*DAYS}
    [asked] = local.airflow.runs("judged_promote")
    run = asked["dag_run_id"]
    assert run == "judged_2_over_1"

    def waits() -> bool:
        states = local.airflow.task_states("judged_promote", run)
        assert "failed" not in states.values(), states
        return states.get("approve") == "awaiting_input"

    until(waits, "the question", RUN_TIMEOUT_S)
    [proposed] = [alert for alert in local.told("judged") if alert["event"] == "promotion"]
    assert "judged version 2 is proposed: auc +0." in proposed["why"]
    time.sleep(12)  # see asked_at_gate
    window = Window(browser, local, "admin")
    page = window.page
    page.goto(f"{local.url}/nocturne/judged/truth?figure=auc")
    expect(page.get_by_label("Evidence")).to_contain_text("challenger is proposed as champion")
    expect(page.get_by_role("heading", name="challenger less champion")).to_be_visible()
    page.goto(f"{local.url}/dags/judged_promote/runs/{quote(run)}/tasks/approve/required_actions")
    expect(page.get_by_text("Promote judged version 2 to champion?").first).to_be_visible()
    expect(page.get_by_text("against version 1 over 2 nights with labels").first).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    local.ended("judged_promote", run)
    assert str(client.get_registered_model("judged").aliases["champion"]) == "2"
    history = json.loads(local.run("nocturne", "history", "judged", "--json").stdout)
    last = [change for change in history["changes"] if change["alias"] == "champion"][-1]
    assert (last["how"], last["by"], last["before"], last["after"]) == ("promoted", "admin", 1, 2)
    assert last["why"].startswith("auc +0.")

    before = len(_counted(local))
    _correct(local, DAYS[1])
    until(lambda: len(_counted(local)) > before, "another run of judged_truth", RUN_TIMEOUT_S)
    second = {n["partition"]: n["truth"] for n in _truths(local, "--date", *_span())["nights"]}
    assert (second[DAYS[0]]["number"], second[DAYS[1]]["number"]) == (1, 2)
    assert len(local.airflow.runs("judged_promote")) == 1  # nobody is asked a second time
    local.run("nocturne", "demote", "judged", "--why", "only to see")
    assert str(client.get_registered_model("judged").aliases["champion"]) == "1"
    for day in DAYS:
        local.run("nocturne", "verify", "judged", "--date", day, "--replay")


def _span() -> tuple[str, str, str]:
    return DAYS[0], "--to", DAYS[1]


def _correct(local: Local, day: str) -> None:
    """A label is another one."""
    [path] = (local.root / "var/judged/labels" / f"ds={day}").glob("*.parquet")
    table = pq.read_table(path, partitioning=None)
    late = table["late"].to_pylist()
    late[0] = not late[0]
    at = table.schema.get_field_index("late")
    pq.write_table(table.set_column(at, "late", pa.array(late, table.schema.types[at])), path)
