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
    from nocturne_airflow.page.app import _templates

    return _templates().get_template(template).render(**ADDRESSES, **values)


@pytest.mark.parametrize("state", get_args(State))
def test_the_first_page_shows_the_state_of_the_newest_partition(state: State) -> None:
    later = ["2013-04-09", "2013-12-31"]
    pipeline = {"name": "daily", "recent": Recent([status(state)], later), "problem": ""}
    page = rendered("pipelines.html", pipelines=[pipeline], page=1, pages=1, count=1)
    assert f'<span class="badge is-{state}">{state}</span>' in page
    assert "2 later partitions of the input are not scored: 2013-04-09 to 2013-12-31." in page


def test_the_first_page_says_what_there_is_to_score() -> None:
    pipeline = {"name": "daily", "recent": Recent([], ["2013-04-09"]), "problem": ""}
    page = rendered("pipelines.html", pipelines=[pipeline], page=1, pages=1, count=1)
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
        waiting=None,
        paused=False,
    )
    assert f"is-{state}" in page
    assert "run.json is damaged" in page
    assert ("25% of 200 rows scored" in page) == (state == "running")


def test_a_calendar_shows_weeks_and_hours(project: Path) -> None:
    from nocturne_airflow.page.app import _moment, _weeks

    loaded = config.load("daily", root=project)
    month = _moment(loaded.pipeline.input.partition, "2013-04-01")
    assert month is not None
    for hourly, heading in ((False, "Mo"), (True, "23")):
        page = rendered(
            "calendar.html",
            loaded=loaded,
            paused=True,
            months=[_weeks(month, {"2013-04-01": status("held")}, hourly)],
            whole=[],
            later=[],
            counts={"held": 1},
            until=month.date(),
            before=None,
            after=None,
        )
        assert f'<th scope="col">{heading}</th>' in page
        assert "1 held" in page
