"""The schedule of a pipeline's DAG: when it runs, and for which partitions.

The run of partition D starts when D is over, one cron tick later (``run_offset=-1``). A DAG's
start_date and end_date bound the *start* of scheduled runs, while ``schedule.start_date`` and
``end_date`` name partitions; so both move by one period, and the partition of the last day is
scheduled. Manual runs and backfills of partitioned DAGs are not bounded by them.

Runs start at midnight, and the wait for data belongs to the sensor: with another cron a manual
run's key would decode to another moment than a scheduled one's. In Airflow 3.3.2 a cron in an hour
that daylight saving skips (02:00 in New York) also leaves out one partition of that year and runs
the next one twice; midnight is safe where clocks do not change at midnight.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from airflow.sdk import CronPartitionTimetable

from nocturne.config import key_format, period
from nocturne.config.models import Schedule

__all__ = ["bounds", "cron", "timetable"]


def cron(key_formats: Mapping[str, str]) -> str:
    """The cron expression of a daily or an hourly table."""
    return "0 * * * *" if "%H" in key_format(key_formats) else "0 0 * * *"


def timetable(schedule: Schedule, key_formats: Mapping[str, str]) -> CronPartitionTimetable:
    """One run for each partition, with the partition's key in the table's format."""
    return CronPartitionTimetable(
        cron(key_formats),
        timezone=schedule.timezone,
        run_offset=-1,
        key_format=key_format(key_formats),
    )


def bounds(
    schedule: Schedule, key_formats: Mapping[str, str]
) -> tuple[dt.datetime, dt.datetime | None]:
    """(start_date, end_date) of the DAG: the first and the last moment a run may start."""
    zone = ZoneInfo(schedule.timezone)
    step = period(key_formats)
    first = dt.datetime.combine(schedule.start_date, dt.time(), zone) + step
    if schedule.end_date is None:
        return first, None
    after = dt.datetime.combine(schedule.end_date + dt.timedelta(days=1), dt.time(), zone)
    return first, after + step - dt.timedelta(seconds=1)
