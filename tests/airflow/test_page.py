"""The page's templates show partitions of every state, without an Airflow or a night."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from nocturne import config
from nocturne.operate.status import PartitionStatus, Recent, State
from nocturne.records.status import RunStatus

RUNNING = RunStatus("running", "score", "a" * 64, 1, 200, 50, "", "2013-04-02T00:05:00+00:00")
ADDRESSES = {"base": "/nocturne", "root": ""}


def status(state: State) -> PartitionStatus:
    unfinished = RUNNING if state == "running" else None
    return PartitionStatus("2013-04-01", state, Path("in"), unfinished=unfinished)


def rendered(template: str, **values: Any) -> str:
    from nocturne_airflow.page import charts
    from nocturne_airflow.page.site import _templates

    values = ADDRESSES | {"charts": charts, "read": "2013-04-02 05:00"} | values
    return _templates().get_template(template).render(**values)


def first_page(recent: Recent, project: Path) -> str:
    from nocturne_airflow.page.overview import Row

    row = Row("daily", config.load("daily", root=project), recent)
    return rendered(
        "pipelines.html",
        rows=[row],
        needs=[],
        needs_left_out=0,
        unread=0,
        broken=[],
        waiting={},
        paused=set(),
        today="2013-04-02",
        page=1,
        pages=1,
        count=1,
    )


@pytest.mark.parametrize("state", get_args(State))
def test_the_first_page_shows_the_state_of_the_newest_partition(
    state: State, project: Path
) -> None:
    page = first_page(Recent([status(state)], ["2013-04-09", "2013-12-31"]), project)
    assert f'<span class="badge is-{state}">{state}</span>' in page
    assert "2 later partitions of the input are not scored: 2013-04-09 to 2013-12-31." in page


def test_the_first_page_says_what_there_is_to_score(project: Path) -> None:
    page = first_page(Recent([], ["2013-04-09"]), project)
    assert "Nothing is scored yet. The input has 1 partition: 2013-04-09." in page


@pytest.mark.parametrize("state", get_args(State))
def test_a_partition_shows_its_state(state: State, project: Path) -> None:
    from nocturne_airflow.page.night import NightPage

    page = rendered(
        "night.html",
        loaded=config.load("daily", root=project),
        key="2013-04-01",
        whole=False,
        day="2013-04-01",
        night=NightPage(status(state), damaged=("run.json is damaged",)),
        metrics={},
        runs=[],
        waiting=[],
        behind=["2013-03-30"],
        paused=False,
        beside=("2013-03-31", None),
    )
    assert f"is-{state}" in page
    assert "run.json is damaged" in page
    assert "The run of 2013-03-30 waits for an answer" in page
    assert ("25% of 200 rows scored" in page) == (state == "running")


def test_a_calendar_shows_weeks_and_hours(project: Path) -> None:
    from nocturne_airflow.page.calendar import _moment, _weeks

    loaded = config.load("daily", root=project)
    month = _moment(loaded.pipeline.input.partition, "2013-04-01")
    assert month is not None
    for hourly, heading in ((False, "Mo"), (True, "23")):
        page = rendered(
            "calendar.html",
            loaded=loaded,
            paused=True,
            first="",
            last="",
            months=[_weeks(month, {"2013-04-01": status("held")}, hourly)],
            whole=[],
            later=[],
            counts={"held": 1},
            reigns=[],
            until=month.date(),
            before=None,
            after=None,
        )
        assert f'<th scope="col">{heading}</th>' in page
        assert "1 held" in page
