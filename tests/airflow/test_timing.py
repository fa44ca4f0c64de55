"""Which partitions the schedule covers."""

from __future__ import annotations

import datetime as dt

import pendulum
import pytest
from airflow.timetables.base import TimeRestriction
from airflow.timetables.trigger import CronPartitionTimetable

from nocturne.config.models import Schedule
from nocturne_airflow.timing import bounds, timetable

DAILY = {"ds": "%Y-%m-%d"}
HOURLY = {"ds": "%Y-%m-%d", "hour": "%H"}


def of_scheduler(schedule: Schedule, layout: dict[str, str]) -> CronPartitionTimetable:
    """The pipeline's timetable as the scheduler has it."""
    spec = timetable(schedule, layout)
    return CronPartitionTimetable(
        spec.expression,
        timezone=schedule.timezone,
        run_offset=spec.run_offset,
        key_format=spec.key_format,
    )


def scheduled(schedule: Schedule, layout: dict[str, str]) -> list[str]:
    """The partition keys that Airflow's scheduler would run, were catchup on."""
    table = of_scheduler(schedule, layout)
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


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Vienna", "Asia/Tokyo"])
def test_each_day_of_a_year_is_scheduled_once_from_the_first_to_the_last(zone: str) -> None:
    keys = scheduled(Schedule(**YEAR, timezone=zone), DAILY)
    assert (keys[0], keys[-1], len(keys)) == ("2013-01-01", "2013-12-31", 365)
    assert len(set(keys)) == 365


def test_an_hourly_table_runs_hourly_through_its_last_hour() -> None:
    day = {"start_date": dt.date(2013, 1, 1), "end_date": dt.date(2013, 1, 2)}
    keys = scheduled(Schedule(**day), HOURLY)
    assert (keys[0], keys[-1], len(keys)) == ("2013-01-01T00", "2013-01-02T23", 48)


def test_without_an_end_date_the_schedule_goes_on() -> None:
    assert bounds(Schedule(start_date=dt.date(2024, 2, 29)), DAILY)[1] is None


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Vienna", "Asia/Tokyo"])
def test_a_backfill_from_midnight_utc_means_the_days_of_the_zone(zone: str) -> None:
    """The page Scoring asks Airflow for a range by midnights of UTC, over a change of clocks."""
    table = of_scheduler(Schedule(**YEAR, timezone=zone), DAILY)
    first, last = (pendulum.datetime(2013, 3, day) for day in (9, 11))
    infos = table.iter_partition_dagrun_infos(earliest=first, latest=last)
    assert [info.partition_key for info in infos] == ["2013-03-09", "2013-03-10", "2013-03-11"]
