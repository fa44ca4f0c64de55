"""A person decides about held nights in Airflow, or nobody does."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from e2e.helpers import FIRST, RUN_TIMEOUT_S, Local, asked_at_gate, days, status

pytestmark = pytest.mark.e2e

APPROVED, REJECTED, FILLED = days(3)


def test_a_person_decides_about_held_nights(local: Local) -> None:
    airflow = local.airflow
    unanswered = airflow.trigger("unanswered", str(FIRST))
    approved = airflow.trigger("held", APPROVED)
    rejected = airflow.trigger("held", REJECTED)
    local.run("airflow", "backfill", "create", "--dag-id", "held", "--from-date", FILLED,
              "--to-date", FILLED)  # fmt: skip

    asked_at_gate(local, "held", approved)
    [asked] = airflow.call("GET", f"/dags/held/dagRuns/{approved}/hitlDetails")["hitl_details"]
    assert asked["subject"] == f"Publish held {APPROVED}?"
    assert "expectations failed" in asked["body"]
    assert asked["defaults"] == ["Reject"]
    assert status(local, "held", APPROVED)["state"] == "held"
    airflow.respond("held", approved, "gate", "Approve")
    assert local.ended("held", approved)["publish"] == "success"
    published = status(local, "held", APPROVED)
    assert (published["state"], published["verdict"]) == ("published", "hold")
    assert json.loads(Path(published["manifest"]).read_text())["approved_by"] == "admin"

    asked_at_gate(local, "held", rejected)
    airflow.respond("held", rejected, "gate", "Reject")
    assert local.ended("held", rejected)["publish"] == "skipped"
    left = status(local, "held", REJECTED)
    assert (left["state"], left["message"]) == ("rejected", "rejected by admin")
    assert not (local.root / f"var/held/scores/ds={REJECTED}").exists()

    [filled] = [str(r["dag_run_id"]) for r in airflow.runs("held", "backfill")]
    assert airflow.wait_for_run("held", filled, timeout=RUN_TIMEOUT_S) == "failed"
    assert airflow.task_states("held", filled)["gate"] == "failed"
    assert status(local, "held", FILLED)["state"] == "held"
    assert "A backfill does not wait for a person" in airflow.log("held", filled, "gate")
    decided = airflow.trigger("held", FILLED, {"action": "approve"})
    assert local.ended("held", decided)["score"] == "skipped"
    later = status(local, "held", FILLED)
    assert later["state"] == "published"
    assert json.loads(Path(later["manifest"]).read_text())["approved_by"] == "admin"

    assert airflow.wait_for_run("unanswered", unanswered, timeout=RUN_TIMEOUT_S) == "failed"
    late = status(local, "unanswered", str(FIRST))
    assert late["state"] == "rejected"
    assert late["message"].endswith("nobody answered before the deadline")


def test_a_dag_that_waits_for_the_scores_runs_for_each_partition(local: Local) -> None:
    """What is published by the DAG, and what by a decision."""
    until, found = time.monotonic() + RUN_TIMEOUT_S, dict[str, str]()
    while not {APPROVED, FILLED} <= found.keys():
        assert time.monotonic() < until, found
        time.sleep(1)
        found = {run["partition_key"]: run["dag_run_id"]
                 for run in local.airflow.runs("after_scores")}  # fmt: skip
    assert REJECTED not in found
    for key in (APPROVED, FILLED):
        local.ended("after_scores", found[key])
        said = local.airflow.log("after_scores", found[key], "tell")
        assert f"{key}: " in said
        assert "rows of model version 1, verdict hold, manifest 000001-" in said
