"""The nights that need a person: held, failed or late ones, the most urgent first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from nocturne.config import Loaded, key_format, later, parse, partition, period
from nocturne.operate.judged import judged
from nocturne.operate.remedies import Remedy, deciding, remedies
from nocturne.operate.status import PartitionStatus, Recent, statuses_of
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
    """Those of a pipeline's recent partitions that need a person: failed ones, late ones, held."""
    undone = [status for status in near.statuses if status.state in ("held", "failed")]
    late = [*_late(loaded, near)]
    found = [*(_unpublished(loaded, status) for status in undone), *late]
    return sorted(found, key=lambda need: (_ORDER.index(need.what), need.key))


_ORDER = ("failed", "late", "held")
_WINDOW = 35
"""Of the last so many partitions; others were never scheduled here, such as those of old data."""


def _unpublished(loaded: Loaded, status: PartitionStatus) -> Need:
    """A held or a failed night, with the reason that decided."""
    state = Places.of(loaded).state.partition(_partition(loaded, status.key))
    judgement, unfinished = judged(state, status), status.unfinished
    decided = deciding(judgement)
    why = decided[0].reason if decided else status.message
    since = dt.datetime.fromisoformat(unfinished.at) if unfinished else None
    ways = remedies(loaded, status, judgement)
    what: Literal["failed", "held"] = "held" if status.state == "held" else "failed"
    return Need(loaded.pipeline.name, what, status, since, _line(why), ways)


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
    shown = {status.key: status for status in near.statuses}
    for key, deadline in overdue:
        status = shown.get(key) or statuses_of(loaded, [_partition(loaded, key)])[0]
        if status.state not in ("missing", "running"):
            continue
        why = f"it was due at {deadline.isoformat(sep=' ', timespec='minutes')}"
        running = status.unfinished
        if running is not None:
            why += f"; {running.rows_done:,} of {running.rows:,} rows are scored"
        yield Need(name, "late", status, deadline, why, remedies(loaded, status))


def _partition(loaded: Loaded, key: str) -> Partition:
    names = loaded.pipeline.input.partition
    return partition(names, key) if names else Partition(key)


def _keys_until_now(loaded: Loaded, count: int, ahead: int = 0) -> list[str]:
    """The keys of the last partitions where the pipeline's days begin and end, the oldest first.

    Args:
        ahead: so many of them lie in the future.
    """
    names = loaded.pipeline.input.partition
    if not names:
        return []
    here = dt.datetime.now(ZoneInfo(loaded.pipeline.schedule.timezone)).replace(tzinfo=None)
    moments = (later(names, here, n) for n in range(ahead - count + 1, ahead + 1))
    return [moment.strftime(key_format(names)) for moment in moments if moment is not None]


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
