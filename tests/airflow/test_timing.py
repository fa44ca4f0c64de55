"""Which partitions the schedule covers."""

from __future__ import annotations

import datetime as dt

import pendulum
import pytest
from airflow.timetables.base import TimeRestriction
from airflow.timetables.trigger import CronPartitionTimetable

from nocturne.config.models import Schedule
from nocturne_airflow.timing import bounds, cron, timetable

DAILY = {"ds": "%Y-%m-%d"}
HOURLY = {"ds": "%Y-%m-%d", "hour": "%H"}


def scheduled(schedule: Schedule, layout: dict[str, str]) -> list[str]:
    """The partition keys that Airflow's scheduler would run, were catchup on."""
    spec = timetable(schedule, layout)
    table = CronPartitionTimetable(
        spec.expression, timezone=schedule.timezone, run_offset=spec.run_offset,
        key_format=spec.key_format,
    )  # fmt: skip
    start, end = bounds(schedule, layout)
    assert end is not None
    span = TimeRestriction(pendulum.instance(start), pendulum.instance(end), catchup=True)
    keys, info = [], table.next_dagrun_info_v2(last_dagrun_info=None, restriction=span)
    while info is not None:
        assert info.partition_key is not None
        keys.append(info.partition_key)
        info = table.next_dagrun_info_v2(last_dagrun_info=info, restriction=span)
    return keys


YEAR = {"start_date": dt.date(2013, 1, 1), "end_date": dt.date(2013, 12, 31)}


@pytest.mark.parametrize(
    ("zone", "expression"),
    [("UTC", "0 0 * * *"), ("UTC", "0 2 * * *"), ("America/New_York", "0 0 * * *"),
     ("America/New_York", "30 5 * * *"), ("Asia/Tokyo", "0 0 * * *")],
)  # fmt: skip
def test_first_and_last_day_are_both_scheduled(zone: str, expression: str) -> None:
    keys = scheduled(Schedule(**YEAR, timezone=zone, cron=expression), DAILY)
    assert (keys[0], keys[-1], len(keys)) == ("2013-01-01", "2013-12-31", 365)
    assert len(set(keys)) == 365


@pytest.mark.xfail(reason="Airflow 3.3.2: 02:00 does not exist on 10 March 2013 in New York")
def test_a_run_in_the_hour_that_daylight_saving_skips() -> None:
    keys = scheduled(Schedule(**YEAR, timezone="America/New_York", cron="0 2 * * *"), DAILY)
    assert "2013-03-09" in keys, "and 2013-03-10 comes twice"


def test_an_hourly_table_runs_hourly_through_its_last_hour() -> None:
    day = {"start_date": dt.date(2013, 1, 1), "end_date": dt.date(2013, 1, 2)}
    keys = scheduled(Schedule(**day), HOURLY)
    assert (keys[0], keys[-1], len(keys)) == ("2013-01-01T00", "2013-01-02T23", 48)


def test_an_hourly_table_may_say_at_which_minute() -> None:
    assert cron(Schedule(cron="20 * * * *"), HOURLY) == "20 * * * *"


def test_without_an_end_date_the_schedule_goes_on() -> None:
    assert bounds(Schedule(start_date=dt.date(2024, 2, 29)), DAILY)[1] is None
