"""The nights that need a person: held, failed or late ones, the most urgent first."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from nocturne.config import Loaded, key_format, later, parse, partition, period
from nocturne.operate.judged import judged
from nocturne.operate.remedies import Remedy, deciding, remedies
from nocturne.operate.status import PartitionStatus, Recent
from nocturne.pipeline.places import Places
from nocturne.records.partition import Partition

__all__ = ["Need", "due", "needs", "next_due"]

_REASON = 300


@dataclass(frozen=True)
class Need:
    """A night that needs a person.

    Attributes:
        what: ``late``: its deadline (``slo``) is over, and it is not published.
        since: when it was held, failed, or due; with the time zone.
        why: the reason that decided, in a line.
        remedies: what to do, the usual first.
    """

    pipeline: str
    what: Literal["failed", "late", "held"]
    status: PartitionStatus
    since: dt.datetime | None
    why: str
    remedies: list[Remedy]

    @property
    def key(self) -> str:
        return self.status.key

    @property
    def age(self) -> str:
        """How long it has needed somebody: ``3 h``; "" if that is not known."""
        if self.since is None:
            return ""
        minutes = max(0, int((dt.datetime.now(dt.UTC) - self.since).total_seconds() // 60))
        for unit, size in (("d", 24 * 60), ("h", 60)):
            if minutes >= 2 * size or (unit == "h" and minutes >= size):
                return f"{minutes // size} {unit}"
        return f"{minutes} min"


def needs(loaded: Loaded, near: Recent) -> list[Need]:
    """Those among the last partitions of a pipeline that need a person, failed ones first."""
    found = [need for status in near.statuses if (need := _need(loaded, status)) is not None]
    return sorted(found, key=lambda need: (_ORDER.index(need.what), need.key))


_ORDER = ("failed", "late", "held")


def _need(loaded: Loaded, status: PartitionStatus) -> Need | None:
    name, unfinished = loaded.pipeline.name, status.unfinished
    if status.state in ("held", "failed"):
        what: Literal["failed", "held"] = "held" if status.state == "held" else "failed"
        names = loaded.pipeline.input.partition
        of = partition(names, status.key) if names else Partition(status.key)
        state = Places.of(loaded).state.partition(of)
        judgement = judged(state, status)
        decided = deciding(judgement)
        why = decided[0].reason if decided else status.message
        since = dt.datetime.fromisoformat(unfinished.at) if unfinished else None
        ways = remedies(name, status, judgement)
        return Need(name, what, status, since, _line(why), ways)
    deadline = due(loaded, status.key)
    if status.state not in ("missing", "running") or deadline is None:
        return None
    if not dt.timedelta() < dt.datetime.now(dt.UTC) - deadline < _window(loaded):
        return None
    why = f"it was due at {deadline.isoformat(sep=' ', timespec='minutes')}"
    running = status.unfinished
    if running is not None:
        why += f"; it is running ({running.step}, {running.rows_done:,} of {running.rows:,} rows)"
    return Need(name, "late", status, deadline, why, remedies(name, status))


def _window(loaded: Loaded) -> dt.timedelta:
    """A night that was due longer ago was never scheduled here, such as those of old data."""
    return 35 * period(loaded.pipeline.input.partition)


def _line(text: str) -> str:
    first = text.strip().partition("\n")[0]
    return first if len(first) <= _REASON else f"{first[: _REASON - 1]}…"


def due(loaded: Loaded, key: str) -> dt.datetime | None:
    """The deadline of a scheduled partition; None if it has none."""
    pipeline, names = loaded.pipeline, loaded.pipeline.input.partition
    if not names:
        return None
    moment, schedule = parse(names, key), pipeline.schedule
    day = moment.date()
    if not schedule.start_date <= day <= (schedule.end_date or day):
        return None
    end = (moment + period(names)).replace(tzinfo=ZoneInfo(schedule.timezone))
    return pipeline.slo.after(end, schedule.timezone)


def next_due(loaded: Loaded, near: Recent) -> tuple[str, dt.datetime] | None:
    """The next partition that will be due, and when; None if nothing is scheduled or no slo."""
    names = loaded.pipeline.input.partition
    if not names:
        return None
    zone = ZoneInfo(loaded.pipeline.schedule.timezone)
    now = dt.datetime.now(dt.UTC)
    published = {s.key for s in near.statuses if s.state == "published"}
    here = now.astimezone(zone).replace(tzinfo=None)
    for n in (-2, -1, 0, 1):
        moment = later(names, here, n)
        key = "" if moment is None else moment.strftime(key_format(names))
        if not key or key in published:
            continue
        deadline = due(loaded, key)
        if deadline is not None and deadline > now:
            return key, deadline
    return None
