"""What to do about a night, pressed in a real browser; and who can use the page."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from e2e.helpers import Local, asked_at_gate, days, status
from e2e.windows import Window, faults, needs_browser

pytestmark = [pytest.mark.e2e, pytest.mark.long, needs_browser]

JUDGED, REQUEUED = days(15)[-2:]


def _press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()
    page.get_by_role("button", name="Sure?").click()


def test_a_link_survives_the_login(browser: Browser, local: Local) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{local.url}/nocturne/held/{JUDGED}")
    page.fill("input[name=username]", "viewer")
    page.fill("input[type=password]", local.passwords["viewer"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"held {JUDGED}")).to_be_visible()
    assert page.url.endswith(f"/nocturne/held/{JUDGED}")


def test_a_held_night_is_judged_again_by_keyboard_once_its_suite_is_mended(
    browser: Browser, local: Local
) -> None:
    run = local.airflow.trigger("held", JUDGED)
    asked_at_gate(local, "held", run)
    window = Window(browser, local, "admin")
    page = window.page
    page.goto(f"{local.url}/nocturne/")
    need = page.get_by_role("article").filter(has_text=f"held {JUDGED}")
    expect(need).to_contain_text("expectations failed: expect_table_row_count_to_equal")
    expect(need).to_contain_text("model version 1")
    suite = local.root / "conf" / "expectations" / "never.yaml"
    never = suite.read_text()
    mended = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}
    suite.write_text(yaml.safe_dump({"name": "never", "expectations": [mended]}))
    try:
        # With the keyboard alone: to the button, press, press again.
        for _ in range(200):
            page.keyboard.press("Tab")
            if need.get_by_role("button", name="Judge again").evaluate(
                "button => button === document.activeElement"
            ):
                break
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        said = page.get_by_role("status")
        expect(said).to_contain_text(re.compile("Judge again: done|failed"), timeout=180_000)
        expect(said).to_contain_text("Judge again: done")
    finally:
        suite.write_text(never)
    expect(need).to_have_count(0)
    page.goto(f"{local.url}/nocturne/held/{JUDGED}")
    expect(page.locator(".events")).to_contain_text(re.compile("judged: (ok|warn) by admin"))
    assert status(local, "held", JUDGED)["state"] == "published"
    assert window.wrong == []
    # The run that waited for an answer was ended first: it may be the only one that a DAG may have.
    local.ended("held", run)


def test_quarantined_rows_are_read_requeued_and_mended(browser: Browser, local: Local) -> None:
    source = local.root / "var" / "demo" / "flights" / f"ds={REQUEUED}" / "part-0.parquet"
    whole = pq.read_table(source, partitioning=None)
    at = whole.schema.get_field_index("flight")
    numbers = [None if n in (3, 5) else v for n, v in enumerate(whole["flight"].to_pylist())]
    broken = whole.set_column(at, whole.schema.field(at), pa.array(numbers, whole.schema.types[at]))
    folder = local.root / "var" / "mended" / "flights" / f"ds={REQUEUED}"
    folder.mkdir(parents=True)
    pq.write_table(broken, folder / source.name)
    (folder / "_SUCCESS").touch()
    local.ended("mended", local.airflow.trigger("mended", REQUEUED))
    before = status(local, "mended", REQUEUED)
    assert before["rows_quarantined"] == 2

    window = Window(browser, local, "admin")
    page = window.page
    page.goto(f"{local.url}/nocturne/mended/{REQUEUED}")
    page.get_by_role("link", name="Open the rows").click()
    expect(page.get_by_role("heading", name="2 rows")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 3
    viewer = Window(browser, local, "viewer")
    viewer.page.goto(f"{local.url}/nocturne/mended/{REQUEUED}/rows")
    expect(viewer.page.get_by_role("heading", name="Not for you")).to_be_visible()

    page.goto(f"{local.url}/nocturne/mended/{REQUEUED}")
    expect(page.get_by_text("the flight team answers for this pipeline")).to_be_visible()
    _press(page, "Requeue")
    said = page.get_by_role("status")
    expect(said).to_contain_text(re.compile("Requeue: done|failed"), timeout=300_000)
    expect(said).to_contain_text("Requeue: done")
    expect(page.locator(".events")).to_contain_text("planned by admin")
    assert status(local, "mended", REQUEUED)["rows_quarantined"] == 2  # nothing was mended yet

    pq.write_table(whole, folder / source.name)
    _press(page, "Score again")
    expect(said).to_contain_text(re.compile("Score again: done|failed"), timeout=300_000)
    expect(said).to_contain_text("Score again: done")
    expect(page.locator(".facts")).to_contain_text("0 quarantined")
    after = status(local, "mended", REQUEUED)
    assert after["rows_quarantined"] == 0
    assert after["rows_published"] == before["rows_published"] + 2
    assert window.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_everybody_can_use_every_view(
    browser: Browser, local: Local, scheme: str, width: int, tmp_path: Path
) -> None:
    """axe-core finds nothing, nothing is wider than the window, nothing leaves the machine."""
    if status(local, "by_hand", REQUEUED)["state"] == "missing":  # this test runs alone
        local.ended("by_hand", local.airflow.trigger("by_hand", REQUEUED))
    size = {"width": width, "height": 1000}
    # axe-core is a script of the test, which the page's own policy would refuse.
    window = Window(browser, local, "admin", viewport=size, color_scheme=scheme, bypass_csp=True)
    page = window.page
    for view in (
        "",
        "by_hand",
        f"by_hand/{REQUEUED}",
        f"by_hand/{REQUEUED}/rows",
        f"by_hand/columns?name=dep_delay&until={REQUEUED}",
        "by_hand/expectations",
        f"by_hand/compare?a=v1&b={REQUEUED}",
        "nobody",
    ):
        page.goto(f"{local.url}/nocturne/{view}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert faults(page) == [], view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        name = re.sub(r"\W", "-", view)
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    page.goto(f"{local.url}/nocturne/by_hand/{REQUEUED}")
    report = str(page.locator("iframe.report").get_attribute("src")).partition("#")[0]
    page.goto(f"{local.url}{report}")  # alone, it has its own heading and verdict
    expect(page.locator("[data-drawn=yes]")).to_be_attached()
    assert faults(page) == []
    assert window.outside == []
    assert [text for text in window.wrong if "404" not in text] == []


def test_a_year_of_squares_is_one_stop_and_two_of_them_make_a_range(
    browser: Browser, local: Local
) -> None:
    window = Window(browser, local, "admin")
    page = window.page
    page.goto(f"{local.url}/nocturne/by_hand")
    squares = page.locator(".months a.square")
    assert squares.count() > 300
    assert page.locator(".months a.square[tabindex='0']").count() == 1
    here = page.locator(".months a.square[tabindex='0']")
    first = here.get_attribute("data-key")
    here.focus()
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+Enter")
    expect(page.get_by_label("Last partition")).to_have_value(str(first))
    start = page.get_by_label("First partition").input_value()
    assert start < str(first)
    assert page.locator(".months a.square[tabindex='0']").count() == 1
    page.goto(f"{local.url}/nocturne/by_hand/{first}")
    page.get_by_role("link", name=re.compile("^← ")).click()
    expect(page.get_by_role("link", name=f"{first} →")).to_be_visible()
    assert window.wrong == []
