"""The nights that need a person: held, failed or late ones, the most urgent first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from nocturne.config import Loaded, from_path, key_format, parse, partition, period
from nocturne.errors import NocturneError
from nocturne.operate.judged import judged
from nocturne.operate.remedies import Remedy, deciding, remedies
from nocturne.operate.status import (
    PartitionStatus,
    Recent,
    ending_with,
    local_now,
    statuses_of,
)
from nocturne.pipeline.places import Places
from nocturne.records.texts import in_utc

__all__ = ["Need", "due", "needs", "next_due"]

_REASON = 300


@dataclass(frozen=True)
class Need:
    """A night that needs a person.

    Attributes:
        what: ``late``: its deadline (``slo``) is over, and it is not published; ``unanswered``: it
            was held, and rejected since nobody answered in time.
        since: when it was held, failed, or due; with the time zone.
        why: the reason that decided, in a line.
        remedies: what to do, the usual first.
    """

    pipeline: str
    what: Literal["failed", "late", "held", "unanswered"]
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
    """The partitions of a pipeline that need a person, the latest first.

    Those that are held, failed, or were rejected since nobody answered, however old; and those that
    are late.
    """
    names, shown = loaded.pipeline.input.partition, {status.key for status in near.statuses}
    paths = Places.of(loaded).state.unfinished([*names]) if names else []
    older = [p for path in paths if (p := from_path(names, path)) and p.key not in shown]
    statuses = [*near.statuses, *statuses_of(loaded, older)]
    undone = [need for status in statuses if (need := _unpublished(loaded, status)) is not None]
    found = {need.key: need for need in (*_late(loaded, near), *undone)}
    return sorted(found.values(), key=lambda need: need.key, reverse=True)


_WINDOW = 35
"""Of the last so many partitions; others were never scheduled here, such as those of old data."""


def _unpublished(loaded: Loaded, status: PartitionStatus) -> Need | None:
    """A held or a failed night, or one about which nobody answered, with the reason."""
    what: Literal["failed", "held", "unanswered"]
    if status.state in ("held", "failed"):
        what = "held" if status.state == "held" else "failed"
    elif status.state == "rejected" and _is_unanswered(status):
        what = "unanswered"
    else:
        return None
    judgement, unfinished = judged(status), status.unfinished
    decided = deciding(status, judgement)
    why = decided[0].reason if decided else status.message
    since = dt.datetime.fromisoformat(unfinished.at) if unfinished else None
    ways = remedies(loaded, status, judgement)
    return Need(loaded.pipeline.name, what, status, since, _line(why), ways)


def _is_unanswered(status: PartitionStatus) -> bool:
    """Whether nobody decided about it in time. Read only if it was rejected."""
    try:
        rejection = status.run.rejection() if status.run is not None else None
    except NocturneError:
        return False
    return rejection is not None and rejection.unanswered


def _late(loaded: Loaded, near: Recent) -> Iterator[Need]:
    """Nights that are due since the pipeline was first scored, also if their input has not come."""
    now, name = dt.datetime.now(dt.UTC), loaded.pipeline.name
    scored = [status.key for status in near.statuses if status.state != "missing"]
    overdue = [
        (key, deadline)
        for key in _keys_until_now(loaded, _WINDOW)
        if (deadline := due(loaded, key)) is not None and deadline < now
    ]
    # Of a pipeline that was never scored, only the last night counts.
    overdue = [(k, d) for k, d in overdue if k > scored[0]] if scored else overdue[-1:]
    names, places = loaded.pipeline.input.partition, Places.of(loaded)
    is_optional = loaded.pipeline.input.on_missing == "skip"
    shown = {status.key: status for status in near.statuses}
    others = [partition(names, key) for key, _ in overdue if key not in shown]
    shown |= {status.key: status for status in statuses_of(loaded, others)}
    for key, deadline in overdue:
        status = shown[key]
        if status.state not in ("missing", "running"):
            continue
        if is_optional and not places.inputs.has(partition(names, key)):
            continue
        why = f"it was due at {in_utc(deadline)}"
        running = status.unfinished
        if running is not None:
            why += f"; {running.rows_done:,} of {running.rows:,} rows are scored"
        yield Need(name, "late", status, deadline, why, remedies(loaded, status))


def _keys_until_now(loaded: Loaded, count: int, ahead: int = 0) -> list[str]:
    """The keys of the last partitions where the pipeline's days begin and end, the oldest first.

    Args:
        ahead: so many of them lie in the future.
    """
    names = loaded.pipeline.input.partition
    if not names:
        return []
    last = local_now(loaded) + ahead * period(names)
    return [p.key for p in ending_with(names, last.strftime(key_format(names)), count)]


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _REASON else f"{line[: _REASON - 1]}…"


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
    now = dt.datetime.now(dt.UTC)
    published = {status.key for status in near.statuses if status.state == "published"}
    for key in _keys_until_now(loaded, 4, ahead=1):
        deadline = due(loaded, key)
        if deadline is not None and deadline > now and key not in published:
            return key, deadline
    return None
