"""A new version behind the pipeline's alias, set while the triggerer is down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from e2e.helpers import FIRST, RUN_TIMEOUT_S, Local, asked_at_gate, status
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

DAY = str(FIRST)


def triggerers(local: Local) -> list[psutil.Process]:
    """The processes of this stack's triggerer."""
    found = []
    for process in psutil.process_iter():
        try:
            if "triggerer" in " ".join(process.cmdline()) and (
                process.environ().get("AIRFLOW_HOME") == local.env["AIRFLOW_HOME"]
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_the_last_night_is_scored_again_and_held(local: Local) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(local.env["MLFLOW_TRACKING_URI"])
    client.set_registered_model_alias("flight_delay", "candidate", "1")
    local.run("nocturne", "score", "watched", "--date", DAY)
    assert status(local, "watched", DAY)["model_version"] == 1
    assets = local.airflow.call("GET", "/assets", params={"name_pattern": "models/watched"})
    seen = f"/assets/{assets['assets'][0]['id']}/state-store"
    until(lambda: local.airflow.call("GET", seen)["asset_state_store"], "a version seen", 120)

    first = client.get_model_version("flight_delay", "1")
    second = client.create_model_version(
        "flight_delay", first.source, first.run_id, model_id=first.source.removeprefix("models:/")
    )
    for process in triggerers(local):
        process.send_signal(signal.SIGKILL)
    client.set_registered_model_alias("flight_delay", "candidate", second.version)
    assert local.airflow.runs("watched") == []
    log = open(local.root / "triggerer.log", "wb")  # noqa: SIM115
    # The stack ends it, as it ends all that has its environment.
    subprocess.Popen(
        [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
        env=local.env,
        cwd=local.root,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )

    [run] = until(lambda: local.airflow.runs("watched"), "a run of watched", 120)
    assert run["conf"]["day"] == DAY
    asked_at_gate(local, "watched", run["dag_run_id"])
    waiting = status(local, "watched", DAY)
    assert waiting["state"] == "held"
    assert f"model version {second.version} is new" in waiting["message"]
    local.airflow.respond("watched", run["dag_run_id"], "gate", "Approve")
    assert local.ended("watched", run["dag_run_id"])["publish"] == "success"
    assert status(local, "watched", DAY)["model_version"] == int(second.version)
    [told] = local.airflow.runs("watched_on_new_model")
    assert (
        local.airflow.wait_for_run(
            "watched_on_new_model", told["dag_run_id"], timeout=RUN_TIMEOUT_S
        )
        == "success"
    )
    assert os.path.getsize(log.name) > 0
