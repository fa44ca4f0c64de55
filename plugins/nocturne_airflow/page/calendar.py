"""The calendar of a pipeline: a year of a daily pipeline, a month of an hourly one."""

from __future__ import annotations

import calendar as months_of
import datetime as dt
from collections.abc import Mapping
from typing import Any

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse

from nocturne import config
from nocturne.config import key_format
from nocturne.errors import ConfigError
from nocturne.operate.reigns import reigns
from nocturne.operate.status import PartitionStatus, Recent, recent, statuses_of
from nocturne_airflow.page.site import html, is_paused, pipeline

__all__ = ["calendar"]


def calendar(
    request: Request,
    dag_id: str,
    session: SessionDep,
    until: str | None = None,
    first: str = "",
    last: str = "",
) -> HTMLResponse:
    """The calendar of a pipeline: a year of a daily pipeline, a month of an hourly one.

    Args:
        first, last: what is filled in as the range to score.
    """
    loaded, until = pipeline(dag_id), until or None
    key_formats = loaded.pipeline.input.partition
    if not key_formats:
        return html(
            request,
            "calendar.html",
            first=first,
            last=last,
            loaded=loaded,
            months=[],
            whole=recent(loaded, 1).statuses,
            later=[],
            paused=is_paused(dag_id, session),
        )
    hourly = config.period(key_formats) < dt.timedelta(days=1)
    near = recent(loaded, 1) if until is None else Recent([], [])
    known = [*(status.key for status in near.statuses), *near.later]
    shown = _moment(key_formats, until or next(iter(known), None)) or dt.datetime.now()
    months = [m for n in range(0 if hourly else -11, 1) if (m := _month(shown, n)) is not None]
    start, end = months[0], _end(months[-1])
    form = key_format(key_formats)
    span = config.span(key_formats, start.strftime(form), end.strftime(form))
    statuses = {status.key: status for status in statuses_of(loaded, span)}
    before, after = _month(start, -1), _month(end, len(months))
    now = dt.datetime.now() + dt.timedelta(days=1)
    if (_month(end, 1) or dt.datetime.max) > now:
        after = None
    return html(
        request,
        "calendar.html",
        first=first,
        last=last,
        loaded=loaded,
        paused=is_paused(dag_id, session),
        months=[_weeks(month, statuses, hourly) for month in months],
        whole=[],
        later=near.later,
        counts=_counts(statuses.values()),
        reigns=reigns(statuses[key] for key in sorted(statuses)),
        until=end.date(),
        before=before.strftime(form) if before else None,
        after=after.strftime(form) if after else None,
    )


def _moment(key_formats: Mapping[str, str], key: str | None) -> dt.datetime | None:
    try:
        return config.parse(key_formats, key) if key else None
    except ConfigError as error:
        raise HTTPException(400, str(error)) from None


def _month(day: dt.datetime, months_later: int) -> dt.datetime | None:
    """The first moment of the month that is ``months_later`` months after that of ``day``.

    None if there are no partitions: before the year 1000 and after 9999.
    """
    months = day.year * 12 + day.month - 1 + months_later
    year = months // 12
    return dt.datetime(year, months % 12 + 1, 1) if 1000 <= year <= 9999 else None


def _end(month: dt.datetime) -> dt.datetime:
    """The last hour of a month."""
    return month.replace(day=months_of.monthrange(month.year, month.month)[1], hour=23)


def _weeks(
    month: dt.datetime, by_day: Mapping[str, PartitionStatus], hourly: bool
) -> dict[str, Any]:
    """A month as rows: weeks of days, or days of hours; None if there is no partition."""
    rows: list[list[PartitionStatus | None]]
    if hourly:
        days = months_of.monthrange(month.year, month.month)[1]
        rows = [
            [by_day.get(f"{month:%Y-%m}-{day:02d}T{hour:02d}") for hour in range(24)]
            for day in range(1, days + 1)
        ]
        headings = [f"{hour:02d}" for hour in range(24)]
    else:
        weeks = months_of.Calendar().monthdayscalendar(month.year, month.month)
        rows = [[by_day.get(f"{month:%Y-%m}-{day:02d}") for day in week] for week in weeks]
        headings = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
    return {"title": f"{month:%B %Y}", "headings": headings, "rows": rows}


def _counts(statuses: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for status in statuses:
        counts[status.shown] = counts.get(status.shown, 0) + 1
    return counts
