"""A person decides about held nights in Airflow, or nobody does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.helpers import FIRST, RUN_TIMEOUT_S, Local, asked_at_gate, days, status
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

APPROVED, REJECTED, FILLED = days(3)


def test_a_person_decides_about_held_nights(local: Local) -> None:
    airflow = local.airflow
    unanswered = airflow.trigger("unanswered", str(FIRST))
    approved = airflow.trigger("held", APPROVED)
    rejected = airflow.trigger("held", REJECTED)
    local.run(
        "airflow",
        "backfill",
        "create",
        "--dag-id",
        "held",
        "--from-date",
        FILLED,
        "--to-date",
        FILLED,
    )

    asked_at_gate(local, "held", approved)
    [mail] = [m for m in local.mail.got if APPROVED in str(m["Subject"])]
    assert mail["Subject"] == f"[nocturne] held {APPROVED} is held and waits for a decision"
    assert "expectations failed" in mail.get_body(("html",)).get_content()
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
    assert not any(FILLED in str(mail["Subject"]) for mail in local.mail.got)
    assert later["state"] == "published"
    assert json.loads(Path(later["manifest"]).read_text())["approved_by"] == "admin"

    assert airflow.wait_for_run("unanswered", unanswered, timeout=RUN_TIMEOUT_S) == "failed"
    late = status(local, "unanswered", str(FIRST))
    assert late["state"] == "rejected"
    assert late["message"].endswith("nobody answered before the deadline")
    until(lambda: len(local.told("unanswered")) > 1, "an alert of the failure", 120)
    told = local.told("unanswered")
    assert [(b["event"], b["partition"]) for b in told] == [
        ("held", str(FIRST)),
        ("failed", str(FIRST)),
    ]
    assert "nobody answered before the deadline" in told[1]["why"]
    assert "Log of gate" in told[1]["links"]

    pools = {p["name"]: p["slots"] for p in airflow.call("GET", "/pools")["pools"]}
    assert pools["spark"] == 2
    [score] = [
        t
        for t in airflow.call("GET", f"/dags/held/dagRuns/{approved}/taskInstances")[
            "task_instances"
        ]
        if t["task_id"] == "score"
    ]
    assert score["pool"] == "spark"

    figures = local.figures.got
    rows = published["rows_in"]
    assert f"airflow.nocturne.held.rows:{rows}|g" in figures
    assert "airflow.nocturne.held.nights.hold:1|c" in figures
    assert any(line.startswith("airflow.nocturne.held.seconds.score:") for line in figures)


def test_a_dag_that_waits_for_the_scores_runs_for_each_partition(local: Local) -> None:
    """What is published by the DAG, and what by a decision."""

    def runs() -> dict[str, str]:
        return {r["partition_key"]: r["dag_run_id"] for r in local.airflow.runs("after_scores")}

    until(lambda: {APPROVED, FILLED} <= runs().keys(), "runs of after_scores", RUN_TIMEOUT_S)
    found = runs()
    assert REJECTED not in found
    for key in (APPROVED, FILLED):
        local.ended("after_scores", found[key])
        said = local.airflow.log("after_scores", found[key], "tell")
        assert f"{key}: " in said
        assert "rows of model version 1, verdict hold, manifest 000001-" in said


def test_lineage_names_tables_rows_checks_and_model(local: Local) -> None:
    """After the nights above: OpenLineage's events of ``held``, approved at the gate or later."""
    whole, _ = local.lineage.read_text().rsplit("\n", 1)
    events = [json.loads(line) for line in whole.splitlines()]
    made = {
        e["run"]["facets"]["nocturne"]["partition"]: e
        for e in events
        if e["eventType"] == "COMPLETE"
        and "nocturne" in e["run"]["facets"]
        and e["job"]["name"].startswith("held.")
    }
    jobs = {day: made[day]["job"]["name"] for day in (APPROVED, FILLED)}  # others have nights too
    assert jobs == {APPROVED: "held.publish", FILLED: "held.prepare"}
    event, night = made[APPROVED], status(local, "held", APPROVED)
    facts = event["run"]["facets"]["nocturne"]
    assert facts["manifest"] == night["manifest"]
    assert (facts["modelVersion"], facts["approvedBy"]) == (1, "admin")

    [given] = event["inputs"]
    assert (given["namespace"], given["name"]) == ("file", str(local.root / "var/demo/flights"))
    assert {"name": "origin", "type": "string"} in _plain(given["facets"]["schema"]["fields"])
    metrics = given["inputFacets"]["dataQualityMetrics"]
    assert metrics["rowCount"] == night["rows_in"]
    assert metrics["columnMetrics"]["distance"]["nullCount"] == 0
    assert metrics["columnMetrics"]["distance"]["min"] > 0
    assert given["inputFacets"]["subset"]["inputCondition"]["partitions"][0]["dimensions"] == {
        "ds": APPROVED
    }

    [scores] = event["outputs"]
    assert scores["name"] == str(local.root / "var/held/scores")
    assert {f["name"] for f in scores["facets"]["schema"]["fields"]} >= {"flight", "origin"}
    assert scores["facets"]["version"]["datasetVersion"] == facts["manifestId"]
    assert scores["outputFacets"]["outputStatistics"]["rowCount"] == night["rows_published"]
    [failed] = [
        a for a in scores["facets"]["dataQualityAssertions"]["assertions"] if not a["success"]
    ]
    assert failed["assertion"] == "expect_table_row_count_to_equal"


def _plain(fields: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{k: f[k] for k in ("name", "type")} for f in fields]
