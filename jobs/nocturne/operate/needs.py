"""The nights that need a person: failed, held and late ones, the most urgent first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from nocturne.config import Loaded, end_of, from_path, key_format, parse, partition, period
from nocturne.errors import NocturneError
from nocturne.operate.judged import judged
from nocturne.operate.remedies import Remedy, deciding, remedies, scoring
from nocturne.operate.status import (
    PartitionStatus,
    Recent,
    ending_with,
    local_now,
    statuses_of,
)
from nocturne.pipeline.places import Places
from nocturne.records.partition import Partition
from nocturne.records.status import Confirmed
from nocturne.records.texts import in_utc
from nocturne.store.record_files import find

__all__ = ["Need", "by_urgency", "due", "needs", "next_due"]

What = Literal["failed", "held", "unanswered", "late"]
_BY_URGENCY: tuple[What, ...] = ("failed", "held", "unanswered", "late")
_LONG_AGO = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_REASON = 600


@dataclass(frozen=True)
class Need:
    """A night that needs a person, or nights that need the same.

    Attributes:
        what: ``late``: its deadline (``slo``) is over, and it is not published; ``unanswered``: it
            was held, and rejected since nobody answered in time.
        status: of the night; of several, of the last.
        since: when it was held, failed, or due; with the time zone. Of several, the first.
        why: the reason that decided, in a line.
        remedies: what to do, the usual first.
        keys: those of all the nights, oldest first.
    """

    pipeline: str
    what: What
    status: PartitionStatus
    since: dt.datetime | None
    why: str
    remedies: list[Remedy]
    keys: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.status.key

    @property
    def nights(self) -> str:
        """Which nights they are, in words."""
        if len(self.keys) == 1:
            return self.key
        return f"{len(self.keys)} nights, from {self.keys[0]} to {self.keys[-1]}"

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
    """The partitions of a pipeline that need a person, as ``by_urgency``.

    Those that are held, failed, or were rejected since nobody answered, however old; and those that
    are late. Late nights are one need, and so are those that can't be read for one and the same
    reason, as of a damaged table.
    """
    names, shown = loaded.pipeline.input.partition, {status.key for status in near.statuses}
    paths = Places.of(loaded).state.unfinished([*names]) if names else []
    older = [p for path in paths if (p := from_path(names, path)) and p.key not in shown]
    statuses = [*near.statuses, *statuses_of(loaded, older)]
    undone = [need for status in statuses if (need := _unpublished(loaded, status)) is not None]
    found = {need.key: need for need in (*_late(loaded, near), *undone)}
    return by_urgency(_together(loaded, found.values()))


def by_urgency(found: Iterable[Need]) -> list[Need]:
    """Failed nights, then held, unanswered and late ones; of each kind the newest first."""
    newest_first = sorted(found, key=lambda need: need.since or _LONG_AGO, reverse=True)
    return sorted(newest_first, key=lambda need: _BY_URGENCY.index(need.what))


def _together(loaded: Loaded, found: Iterable[Need]) -> Iterator[Need]:
    """The needs, with one for all nights that need the same."""
    same: dict[tuple[str, str], list[Need]] = {}
    for need in sorted(found, key=lambda need: need.key):
        same.setdefault((need.what, _shared(need)), []).append(need)
    for nights in same.values():
        first, last = nights[0], nights[-1]
        keys = tuple(need.key for need in nights)
        if len(nights) == 1:
            yield last
        elif last.what == "late":
            dues = [in_utc(need.since) for need in nights if need.since is not None]
            why = f"they were due from {dues[0]} to {dues[-1]}"
            ways = scoring(loaded, keys)
            yield replace(last, since=first.since, why=why, remedies=ways, keys=keys)
        else:
            yield replace(last, keys=keys)


def _shared(need: Need) -> str:
    """What nights with the same need have in common; the key of a night that has its own need."""
    if need.what == "late" and need.status.state == "missing":
        return ""
    return need.status.problem or need.key


_WINDOW = 35
"""Of the last so many partitions; others were never scheduled here, such as those of old data."""


def _unpublished(loaded: Loaded, status: PartitionStatus) -> Need | None:
    """A held or a failed night, or one about which nobody answered, with the reason."""
    what: What
    if status.state in ("held", "failed"):
        what = "held" if status.state == "held" else "failed"
    elif status.state == "rejected" and _is_unanswered(status):
        what = "unanswered"
    else:
        return None
    judgement, unfinished = judged(status), status.unfinished
    decided, error = deciding(status, judgement), None
    if status.state == "held":
        error = status.unpublishable
    why = str(error) if error else decided[0].reason if decided else status.message
    since = dt.datetime.fromisoformat(unfinished.at) if unfinished else None
    ways = remedies(loaded, status, judgement)
    return Need(loaded.pipeline.name, what, status, since, _line(why), ways, (status.key,))


def _is_unanswered(status: PartitionStatus) -> bool:
    """Whether nobody decided about it in time. Read only if it was rejected."""
    try:
        rejection = status.run.rejection() if status.run is not None else None
    except NocturneError:
        return False
    return rejection is not None and rejection.unanswered


def _late(loaded: Loaded, near: Recent) -> Iterator[Need]:
    """Nights that are due since the pipeline was first scored, also if their input has not come."""
    if not loaded.pipeline.input.partition:
        yield from _late_whole(loaded, near)
        return
    now = dt.datetime.now(dt.UTC)
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
        yield _late_need(loaded, status, deadline)


def _late_whole(loaded: Loaded, near: Recent) -> Iterator[Need]:
    """A table without partitions, of which each day has a scheduled run, which starts when it ends.

    It is late if the last of the runs that are due has not come: nothing was published since it
    should have started, and nobody has looked at the input, as a run does that finds nothing new.
    """
    now, status = dt.datetime.now(dt.UTC), near.last
    days = [(day, at) for day in _keys_until_now(loaded, _WINDOW) if (at := due(loaded, day))]
    overdue = [(day, deadline) for day, deadline in days if deadline < now]
    if not overdue or status is None or status.state not in ("missing", "published", "running"):
        return
    day, deadline = overdue[-1]
    if _last_run(loaded, status) < _over(loaded, day):
        yield _late_need(loaded, status, deadline)


def _last_run(loaded: Loaded, status: PartitionStatus) -> dt.datetime:
    """When the table was published, or, if that was later, a run found nothing new to score."""
    runs = [_LONG_AGO]
    if status.manifest is not None:
        runs.append(dt.datetime.fromisoformat(status.manifest.published))
    if status.state == "published":
        state = Places.of(loaded).state.partition(Partition("all"))
        with suppress(NocturneError, OSError):  # then it counts as late: a person looks
            if (confirmed := find(Confirmed, state.confirmed_file)) is not None:
                runs.append(dt.datetime.fromisoformat(confirmed.at))
    return max(runs)


def _late_need(loaded: Loaded, status: PartitionStatus, deadline: dt.datetime) -> Need:
    why, running = f"it was due at {in_utc(deadline)}", status.unfinished
    if running is not None:
        why += f"; {running.rows_done:,} of {running.rows:,} rows are scored"
    ways = remedies(loaded, status)
    return Need(loaded.pipeline.name, "late", status, deadline, why, ways, (status.key,))


def _keys_until_now(loaded: Loaded, count: int, ahead: int = 0) -> list[str]:
    """The keys of the last partitions where the pipeline's days begin and end, the oldest first.

    Args:
        ahead: so many of them lie in the future.
    """
    names = loaded.pipeline.input.partition
    last = local_now(loaded) + ahead * period(names)
    return [p.key for p in ending_with(names, last.strftime(key_format(names)), count)]


def _line(text: str) -> str:
    """In one line; of a long text the begin, and the end, which says what to do."""
    line = " ".join(text.split())
    if len(line) <= _REASON:
        return line
    half = _REASON // 2 - 2
    return f"{line[:half]} … {line[-half:]}"


def due(loaded: Loaded, key: str) -> dt.datetime | None:
    """The deadline of a scheduled partition; None if it has none.

    Args:
        key: of a table without partitions, the day of a scheduled run.
    """
    schedule = loaded.pipeline.schedule
    day = parse(loaded.pipeline.input.partition, key).date()
    if not schedule.start_date <= day <= (schedule.end_date or day):
        return None
    return loaded.pipeline.slo.after(_over(loaded, key), schedule.timezone)


def _over(loaded: Loaded, key: str) -> dt.datetime:
    pipeline = loaded.pipeline
    return end_of(pipeline.input.partition, key, pipeline.schedule.timezone)


def next_due(loaded: Loaded, near: Recent) -> tuple[str, dt.datetime] | None:
    """The next partition that will be due, and when; None if nothing is scheduled or no slo."""
    if not loaded.pipeline.input.partition:  # which day it was published for is not known
        return None
    now = dt.datetime.now(dt.UTC)
    published = {status.key for status in near.statuses if status.state == "published"}
    for key in _keys_until_now(loaded, 4, ahead=1):
        deadline = due(loaded, key)
        if deadline is not None and deadline > now and key not in published:
            return key, deadline
    return None
