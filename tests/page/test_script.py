"""The page's script in a real browser, on the real page; Airflow's API is recorded, or fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Route, expect

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import Held
from nocturne.operate.decisions import reject_held
from nocturne.operate.status import status_of
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from pipeline.conftest import DAYS, night_of, scored
from report.pages import BROWSER, chromium

Make = Callable[..., Loaded]
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
FIRST, SECOND = DAYS[1], DAYS[2]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(client: Any) -> Iterator[str]:
    """Where the page is served."""
    server = uvicorn.Server(uvicorn.Config(client.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/nocturne"
    server.should_exit = True
    thread.join()


class Api:
    """Stands where Airflow's API is: keeps what was asked, and answers as it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: list[tuple[int, str]] = []
        """(status, body) of the next requests; after them each is taken."""
        self.state = "success"
        """Of all runs."""

    def __call__(self, route: Route) -> None:
        request = route.request
        path = request.url.partition("/api/v2")[2]
        if request.method != "GET":
            self.asked.append((request.method, path, json.loads(request.post_data or "null")))
        body = {"dag_run_id": "asked", "state": self.state, "task_instances": [], "dag_runs": []}
        body["is_paused"] = False
        status, text = self.answers.pop(0) if self.answers else (200, json.dumps(body))
        route.fulfill(status=status, body=text)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def page(browser: Browser, api: Api) -> Iterator[Page]:
    context = browser.new_context()
    context.route("**/api/v2/**", api)
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened
    assert wrong == []
    context.close()


@pytest.fixture
def held(project: Make) -> Loaded:
    """Two held nights, and a published one before them."""
    loaded = project()
    night_of(loaded, DAYS[0])
    for day in (FIRST, SECOND):
        run = scored(loaded, day, hold="look at it")
        judge_run(run)
        with suppress(Held):
            publish_run(run)
    return loaded


def _reject_elsewhere(held: Loaded) -> None:
    """Somebody else rejects the first held night."""
    night = config.partition(held.pipeline.input.partition, FIRST)
    reject_held(held, night, "somebody", "keys are missing")


def _button(page: Page, day: str, name: str) -> Any:
    return page.locator(f"[data-key='{day}']").get_by_role("button", name=name, exact=True)


def test_a_press_is_one_request_about_the_night_whose_button_it_is(
    held: Loaded, page: Page, address: str, api: Api
) -> None:
    page.goto(f"{address}/")
    button = _button(page, FIRST, "Approve")
    button.focus()
    # What is shown is replaced under the focus, which stays on the button of the same night.
    page.evaluate("shown.clear(); refresh('no-store')")
    page.wait_for_function("shown.size > 0")
    assert button.evaluate("button => button === document.activeElement")
    for _ in range(9):  # a key that is held down
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    said = page.get_by_role("status")
    expect(said).to_contain_text(f"p {FIRST}: Publish exactly these held scores?")
    assert api.asked == []
    page.keyboard.press("Escape")
    expect(button).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(said).to_contain_text("Approve: done", timeout=15_000)
    [(method, path, body)] = api.asked
    assert (method, path) == ("POST", "/dags/p/dagRuns")
    assert body["partition_key"] == FIRST
    run = status_of(held, config.partition(held.pipeline.input.partition, FIRST)).run
    assert run is not None
    assert body["conf"] == {"action": "approve", "run": run.name}  # what was looked at


@pytest.mark.usefixtures("held")
def test_a_range_that_is_started_by_a_double_click_is_one(
    page: Page, address: str, api: Api
) -> None:
    page.goto(f"{address}/p")
    page.get_by_label("First partition").fill(DAYS[3])
    page.get_by_role("button", name="Start").dblclick()
    page.get_by_label("First partition").focus()
    for _ in range(4):
        page.keyboard.down("Enter")
    expect(page.get_by_role("status")).to_contain_text("Start: done", timeout=15_000)
    assert len(api.asked) == 1


@pytest.mark.usefixtures("held")
def test_a_waiting_run_is_ended_only_when_another_is_to_take_its_place(
    page: Page, address: str, api: Api
) -> None:
    page.goto(f"{address}/p/{FIRST}")

    def press() -> None:
        # A night at whose gate a run waits; that it is on the button is seen on a real Airflow.
        page.evaluate("document.querySelectorAll('[data-act]').forEach(b => b.dataset.run = 'old')")
        again = page.get_by_role("button", name="Score again")
        again.click()
        page.get_by_role("button", name="Sure?").click()

    said = page.get_by_role("status")
    api.answers = [(403, '{"detail": "no"}')]
    press()
    expect(said).to_contain_text("Score again: Airflow refused (403): you may not do this")
    assert [method for method, *_ in api.asked] == ["POST"]
    page.keyboard.press("Escape")
    api.asked.clear()
    press()
    expect(said).to_contain_text("Score again: done", timeout=15_000)
    assert [(method, path) for method, path, _ in api.asked] == [
        ("POST", "/dags/p/dagRuns"),
        ("PATCH", "/dags/p/dagRuns/old/taskInstances/gate"),
    ]
    assert api.asked[1][2]["new_state"] == "skipped"  # which decides nothing about the night


@pytest.mark.usefixtures("held")
def test_what_is_typed_survives_a_refusal_and_a_silent_airflow(
    page: Page, address: str, api: Api
) -> None:
    page.goto(f"{address}/")
    _button(page, SECOND, "Reject").click()
    why = page.get_by_role("textbox", name="Why is it rejected?")
    why.fill("keys are missing")
    _button(page, FIRST, "Reject").click()  # the reason belongs to the button that asked for it
    expect(why).to_have_count(2)
    page.locator(f"[data-key='{FIRST}']").get_by_role("textbox").fill("another one")
    api.answers = [(500, "broken"), (502, "<html>"), (200, "<html>")]
    sure = _button(page, SECOND, "Sure?")
    sure.click()
    said = page.get_by_role("status")
    expect(said).to_contain_text("Reject: Airflow refused (500)")
    expect(why.last).to_be_visible()
    sure.click()
    expect(said).to_contain_text("Reject: Airflow refused (502)")
    sure.click()
    expect(said).to_contain_text("Airflow answers with another page: log in again")
    taken = json.dumps({"dag_run_id": "asked"})
    api.answers = [(200, taken), (502, "the first question what became of it")]
    sure.click()
    expect(said).to_contain_text("goes on asking what became of it")
    expect(said).to_contain_text("Reject: done", timeout=15_000)
    assert {body["conf"]["why"] for *_, body in api.asked} == {"keys are missing"}
    assert {body["partition_key"] for *_, body in api.asked} == {SECOND}


@pytest.mark.usefixtures("held")
def test_what_is_followed_hides_neither_a_refusal_nor_a_question(
    page: Page, address: str, api: Api
) -> None:
    page.goto(f"{address}/")
    said = page.get_by_role("status")
    api.state = "queued"
    approve = _button(page, FIRST, "Approve")
    approve.click()
    _button(page, FIRST, "Sure?").click()
    expect(said).to_contain_text(f"p {FIRST}: Approve: asked Airflow")
    page.clock.install()
    api.answers = [(409, '{"detail": "a conflict"}')]
    other = _button(page, SECOND, "Approve")
    other.click()
    sure = _button(page, SECOND, "Sure?")
    page.evaluate("followRun('p 2024-01-02', 'Approve', 'p', 'asked'); 1")  # on this clock
    sure.click()
    page.clock.run_for(2000)
    refused = f"p {SECOND}: Approve: Airflow refused (409): a conflict"
    expect(said).to_contain_text(refused)
    for _ in range(6):
        page.clock.run_for(1000)
        page.wait_for_timeout(100)
    expect(said).to_contain_text(f"p {FIRST}: Approve: queued")
    expect(said).to_contain_text(refused)
    page.clock.run_for(9000)
    expect(other).to_be_visible()  # no question stays armed
    api.answers = [(404, '{"detail": "no such run"}')] * 9
    page.clock.run_for(11_000)
    expect(said).to_contain_text("what became of it is not known here")


def test_an_older_answer_is_not_shown_over_a_newer_one(
    held: Loaded, page: Page, address: str
) -> None:
    page.goto(f"{address}/p/{FIRST}")
    verdict = page.get_by_role("region", name="Verdict")
    before = page.content()
    late: list[Route] = []
    page.route(f"**/p/{FIRST}", lambda route: route.continue_() if late else late.append(route))
    page.evaluate("window.first = refresh('no-store'); 1")
    page.wait_for_timeout(200)
    _reject_elsewhere(held)
    page.evaluate("refresh('no-store')")
    expect(verdict).to_contain_text("keys are missing")
    late[0].fulfill(body=before, content_type="text/html")
    page.evaluate("window.first")
    expect(verdict).to_contain_text("keys are missing")


def test_when_the_page_was_read_is_renewed_only_with_all_of_it(
    held: Loaded, page: Page, address: str
) -> None:
    page.goto(f"{address}/p/{FIRST}")
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("textbox", name="Why is it rejected?").fill("half a rea")
    _reject_elsewhere(held)
    read = page.locator("[data-live=read]")
    read.evaluate("part => { part.textContent = 'As of before'; shown.set(part, ''); }")
    page.evaluate("refresh('no-store')")
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("keys are missing")
    expect(page.get_by_role("textbox")).to_have_value("half a rea")
    expect(read).to_have_text("As of before")
    page.keyboard.press("Escape")
    page.evaluate("refresh('no-store')")
    expect(page.get_by_role("button", name="Reject")).to_have_count(0)
    expect(read).not_to_have_text("As of before")


def test_parts_come_and_go_with_the_state_and_a_lost_page_says_so(
    held: Loaded, page: Page, address: str
) -> None:
    page.goto(f"{address}/p/{FIRST}")
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict).to_contain_text("look at it")
    page.route(f"**/p/{FIRST}", lambda route: route.fulfill(status=401, body="log in"))
    page.evaluate("refresh('no-store')")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("this page can't be read again: you are logged out")
    page.unroute(f"**/p/{FIRST}")
    _reject_elsewhere(held)
    page.evaluate("refresh('no-store')")
    expect(alert).to_have_count(0)
    expect(verdict).to_contain_text("keys are missing")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    expect(page.get_by_role("button", name="Score again")).to_be_visible()
    # A night that is scored for the first time while somebody looks.
    page.goto(f"{address}/p/{DAYS[3]}")
    expect(page.get_by_role("heading", name="Furthest from training")).to_have_count(0)
    night_of(held, DAYS[3])
    page.evaluate("refresh('no-store')")
    expect(page.get_by_role("heading", name="Furthest from training")).to_be_visible()
    expect(page.get_by_role("heading", name="Versions")).to_be_visible()
    expect(page.frame_locator("iframe.report").get_by_role("heading").first).to_be_visible()


def test_a_page_that_is_left_open_looks_again_each_minute(
    held: Loaded, page: Page, address: str
) -> None:
    night_of(held, DAYS[3])
    page.clock.install()
    page.goto(f"{address}/")
    expect(page.get_by_role("heading", name="Needs you")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(50_000)
    assert asked == []
    page.clock.run_for(20_000)
    page.wait_for_function("document.readyState")
    assert len(asked) == 1


@pytest.mark.usefixtures("held")
def test_arrows_walk_over_days_and_weeks(page: Page, address: str) -> None:
    page.goto(f"{address}/p")
    page.locator(f".months a.square[data-key='{DAYS[1]}']").focus()
    for key, day in (
        ("ArrowDown", "2024-01-09"),
        ("ArrowRight", "2024-01-10"),
        ("ArrowUp", "2024-01-03"),
        ("ArrowLeft", "2024-01-02"),
    ):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.key") == day
