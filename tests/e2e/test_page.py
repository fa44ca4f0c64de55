"""The page Scoring in a real browser: what it shows, and what its buttons do for whom."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, FrameLocator, expect

from e2e.helpers import Local, asked_at_gate, days, status
from e2e.windows import Window, needs_browser
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.long, needs_browser]

DAY, BY_FORM, REJECTED = days(13)[-3:]  # none of the week that `make e2e` scores in each way


@pytest.fixture(scope="module")
def held(local: Local) -> str:
    """A night that waits for a person; its run."""
    run = local.airflow.trigger("held", DAY)
    asked_at_gate(local, "held", run)
    return run


def _of(inside: FrameLocator, pipeline: str) -> None:
    """From the overview to a pipeline; the overview has squares and buttons of the same names."""
    inside.get_by_role("link", name=pipeline, exact=True).click()
    expect(inside.get_by_role("heading", level=1, name=pipeline, exact=True)).to_be_visible()


def test_nobody_sees_anything_without_a_login(local: Local) -> None:
    for path in ("", "held", f"held/{DAY}", f"held/{DAY}/0123456789abcdef/report.html"):
        answer = httpx.get(f"{local.url}/nocturne/{path}", trust_env=False)
        assert answer.status_code == 401, path


def test_a_viewer_looks_and_may_not_decide(browser: Browser, local: Local, held: str) -> None:
    window = Window(browser, local, "viewer")
    inside = window.scoring()
    _of(inside, "held")
    inside.get_by_role("link", name=re.compile(f"^{DAY}: held")).click()
    expect(inside.get_by_role("heading", level=1, name=f"held {DAY}")).to_be_visible()
    inside.get_by_role("button", name="Approve").click()
    inside.get_by_role("button", name="Sure?").click()
    expect(inside.get_by_role("status")).to_contain_text("you may not do this")
    assert status(local, "held", DAY)["state"] == "held"
    assert [text for text in window.wrong if "403" not in text] == []


def test_a_held_night_is_approved_from_the_page(
    browser: Browser, local: Local, held: str, tmp_path: Path
) -> None:
    window = Window(browser, local, "admin")
    inside = window.scoring()
    _of(inside, "held")
    square = inside.get_by_role("link", name=re.compile(f"^{DAY}: held"))
    square.focus()
    window.page.keyboard.press("Enter")
    expect(inside.get_by_text("expectations failed").first).to_be_visible()
    report = inside.frame_locator("iframe.report")
    expect(report.get_by_role("heading", name="Quality")).to_be_visible()
    # The page has said the verdict; the report in it does not say it again.
    expect(report.locator(".verdict")).to_be_hidden()
    expect(report.locator("body[data-drawn], [data-drawn=yes]").first).to_be_attached()
    window.page.screenshot(path=tmp_path / "held.png")
    # The run that waits asks about what is held, so the press is its answer.
    approve = inside.get_by_role("button", name="Approve")
    expect(approve).to_have_attribute("data-act", "answer")
    approve.click()
    inside.get_by_role("button", name="Sure?").click()
    expect(inside.get_by_role("status")).to_contain_text("asked Airflow")
    local.ended("held", held)
    expect(inside.locator(".verdict")).to_contain_text("warned")
    assert window.wrong == []
    manifest = json.loads(Path(status(local, "held", DAY)["manifest"]).read_text())
    assert manifest["approved_by"] == "admin"
    tags = mlflow_tags(local, "held", DAY)
    assert f"[Scoring]({local.url}/nocturne/held/{DAY})" in tags["mlflow.note.content"]
    decided = [tags[f"nocturne.{name}"] for name in ("state", "decision", "decided_by")]
    assert decided == ["published", "approved", "admin"]


def mlflow_tags(local: Local, pipeline: str, day: str) -> dict[str, str]:
    """The tags of the night's only MLflow run."""
    from mlflow import MlflowClient

    client = MlflowClient(local.env["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name(f"nocturne/{pipeline}")
    assert experiment is not None
    query = f"tags.`nocturne.partition` = '{day}'"
    [run] = client.search_runs([experiment.experiment_id], query)
    return dict(run.data.tags)


def test_a_day_is_triggered_with_airflows_form_and_watched(browser: Browser, local: Local) -> None:
    day = BY_FORM
    window = Window(browser, local, "admin")
    page = window.page
    page.goto(f"{local.url}/dags/by_hand")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input[type=date]").fill(day)
    dialog.get_by_role("button", name="Trigger", exact=True).click()
    expect(dialog).to_be_hidden()
    run = until(
        lambda: [r for r in local.airflow.runs("by_hand") if r["conf"].get("day") == day],
        "the run that was triggered",
        120,
    )
    run_id = str(run[0]["dag_run_id"])
    page.goto(f"{local.url}/dags/by_hand/runs/{run_id}")
    expect(page.get_by_text("Running").first).to_be_visible()
    local.ended("by_hand", run_id)
    expect(page.get_by_text("Running")).to_have_count(0)
    expect(page.get_by_text("Success").first).to_be_visible()
    inside = window.scoring()
    _of(inside, "by_hand")
    inside.get_by_role("link", name=re.compile(f"^{day}: (published|warned)")).click()
    report = inside.frame_locator("iframe.report")
    expect(report.get_by_role("heading", name="Drift")).to_be_visible()
    assert window.wrong == []


def test_a_day_is_scored_again_and_rolled_back_from_the_page(
    browser: Browser, local: Local
) -> None:
    if status(local, "by_hand", BY_FORM)["state"] == "missing":  # this test runs alone
        local.ended("by_hand", local.airflow.trigger("by_hand", BY_FORM))
    local.airflow.trigger("by_hand", BY_FORM, {"force": True})
    local.ended("by_hand", str(local.airflow.runs("by_hand")[-1]["dag_run_id"]))
    before = status(local, "by_hand", BY_FORM)["manifest"]
    assert "000002-" in before
    window = Window(browser, local, "admin")
    window.page.goto(f"{local.url}/nocturne/by_hand/{BY_FORM}")  # outside of Airflow's frame too
    window.page.get_by_role("button", name="Roll back to it").click()
    window.page.get_by_role("button", name="Sure?").click()
    expect(window.page.get_by_role("status")).to_contain_text("asked Airflow")
    local.ended("by_hand", str(local.airflow.runs("by_hand")[-1]["dag_run_id"]))
    window.page.reload()
    expect(window.page.get_by_text(re.compile("restores 000001-"))).to_be_visible()
    assert window.wrong == []


def test_what_fails_is_said_what_is_typed_stays_and_a_rejection_has_a_reason(
    browser: Browser, local: Local
) -> None:
    """Two people look at a held night; one rejects it, the other approves a moment later."""
    run = local.airflow.trigger("held", REJECTED)
    asked_at_gate(local, "held", run)
    address = f"{local.url}/nocturne/held/{REJECTED}"
    first, second = Window(browser, local, "admin"), Window(browser, local, "admin")
    for window in (first, second):
        window.page.goto(address)
        expect(window.page.get_by_role("region", name="Verdict")).to_contain_text("held")
        expect(window.page.get_by_role("region", name="Verdict")).to_contain_text("version")
    first.page.get_by_role("button", name="Reject").click()
    first.page.get_by_role("textbox", name="Why is it rejected?").fill("keys are missing")
    first.page.get_by_role("button", name="Sure?").click()
    expect(first.page.get_by_role("status")).to_contain_text("done")
    verdict = first.page.get_by_role("region", name="Verdict")
    expect(verdict).to_contain_text("rejected by admin: keys are missing")
    expect(first.page.locator(".events")).to_contain_text("rejected by admin: keys are missing")

    second.page.get_by_role("button", name="Approve").click()
    second.page.get_by_role("button", name="Sure?").click()
    said = second.page.get_by_role("status")
    expect(said.locator(".is-failed")).to_be_visible()
    assert status(local, "held", REJECTED)["state"] == "rejected"

    # So does a decision by a run of its own, as in a backfill.
    again = f"() => trigger('held', '{REJECTED}', {{ action: 'approve' }})"
    second.page.evaluate(f"perform('Approve', 'held', 'x', [], {again})")
    expect(said).to_contain_text("Approve failed: ")
    expect(said).to_contain_text("has no held scores (it is rejected)")
    calendar = Window(browser, local, "admin")
    calendar.page.goto(f"{local.url}/nocturne/held")
    calendar.page.get_by_label("First partition").fill("2013-04")
    calendar.page.evaluate("refresh()")
    expect(calendar.page.get_by_label("First partition")).to_have_value("2013-04")
    wrong = [text for text in (*first.wrong, *calendar.wrong) if "404" not in text]
    assert wrong == []


def test_data_docs_open_from_the_report_inside_of_airflow(browser: Browser, local: Local) -> None:
    window = Window(browser, local, "admin")
    inside = window.scoring()
    _of(inside, "held")
    inside.get_by_role("link", name=re.compile(f"^{DAY}: (held|warned)")).click()
    report = inside.frame_locator("iframe.report")
    with window.page.context.expect_page() as opened:
        report.get_by_role("link", name="failed").first.click()
    docs = opened.value
    expect(docs.get_by_role("heading", name="On the input")).to_be_visible()
    assert re.search(r"/data_docs/index\.html#expectation-\d+$", docs.url)
    assert docs.locator("tr:target").count() == 1
    assert docs.locator("script").count() == 0
    docs.close()
    with window.page.context.expect_page() as opened:
        inside.get_by_role("link", name="Data Docs").click()
    expect(opened.value.get_by_text("expectations failed")).to_be_visible()
    assert window.wrong == []
