"""The rows of a night against those of earlier nights, calibrated as drift is.

A night is compared with the median of its weekday. It alarms if it is further from that than
earlier nights were from the others of their weekday, further than a floor, and further than the
noise of so many rows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from statistics import median

from nocturne.drift.history import Nights, is_approved, name_of
from nocturne.drift.threshold import SAME_WEEKDAY, calibrated, day_of
from nocturne.records.manifest import PublishedNight
from nocturne.records.volume import Volume

__all__ = ["compare_rows", "ordinary_rows"]

_ALL_WEEKDAYS = 14
"""Without enough nights of its weekday, a night is compared with so many of all weekdays. With two
weeks there are two Saturdays to calibrate with; with four nights, every first Saturday alarmed."""

_MARGIN = 1.25
"""The alarm level is this many times what earlier nights reach. A night that alarms is no history
for the next, so without a margin the ordinary range shrinks: of simulated nights that vary by 20%
to 50% at random, 4% to 5% alarmed, with the margin about 1%. On the demo's flights the Saturdays
of the first January alarm without it."""

_FLOOR = 0.25
"""No alarm below this distance: 22% fewer or 28% more rows. On a year of the demo's flights it left
5 alarms of 351 nights (4 July, 1 September, Thanksgiving, the day after, Christmas), .22 left 8,
.2 left 9 and .1 left 31; of nights with half of their rows all alarmed, with .7 of them 98%."""

_NOISE = 2.576
"""A count of n rows is within this many times sqrt(n) of its mean 99 times in 100. It matters below
about 100 rows: without it, 3.1% of the hours of those flights alarmed, and .8% with it."""


def ordinary_rows(
    nights: Nights, earlier: Iterable[PublishedNight]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The earlier nights whose rows count as ordinary, by name; and those that alarmed among them.

    They are those that did not alarm, or that a person approved.
    """
    history, accepted = dict[str, int](), list[str]()
    for night in earlier:
        volume = night.judgement.volume
        if volume is not None and volume.alarmed:
            if not is_approved(nights, night.manifest):
                continue
            accepted.append(name_of(night))
        history[name_of(night)] = night.manifest.rows_in
    return history, tuple(accepted)


def compare_rows(
    rows: int, key: str, history: Mapping[str, int], accepted: Collection[str] = ()
) -> Volume:
    """Compare the rows of the partition ``key`` with those of earlier nights.

    These are the nights of its weekday if there are four or more, else those of all weekdays if
    there are 14, one of its weekday among them.

    Args:
        history, accepted: of ``ordinary_rows``; for hourly partitions only nights of the same hour.
    """
    day = day_of(key)
    weekdays: dict[int, list[int]] = defaultdict(list)
    for name, count in history.items():
        if earlier := day_of(name):
            weekdays[earlier.weekday()].append(count)
    mine = weekdays[day.weekday()] if day else []
    agreed = [history[name] for name in accepted if (of := day_of(name)) and _same(of, day)]
    if len(mine) >= SAME_WEEKDAY:
        compared, title = mine, f"{day:%A}s"
        groups = [week for week in weekdays.values() if len(week) >= SAME_WEEKDAY]
    elif len(history) >= _ALL_WEEKDAYS and mine:
        compared, title = [*history.values()], "nights"
        groups = [compared]
    else:
        note = _too_few(day, len(mine), len(history))
        return Volume(rows, history=dict(history), accepted=tuple(accepted), note=note)
    middle = median(compared)
    apart = [distance for group in groups for distance in _leave_one_out(group)]
    level = max(_MARGIN * calibrated(_trimmed(apart)), _FLOOR, _NOISE / math.sqrt(middle + 1))
    hour = f" at {key[11:]}:00" if key[11:] else ""
    return Volume(
        rows,
        median=float(middle),
        low=max(0, min([math.ceil((middle + 1) * math.exp(-level) - 1), *agreed])),
        high=max([math.floor((middle + 1) * math.exp(level) - 1), *agreed]),
        reference=f"the last {len(compared)} {title}{hour}",
        history=dict(history),
        accepted=tuple(accepted),
    )


def _same(one: date, other: date | None) -> bool:
    return other is not None and one.weekday() == other.weekday()


def _trimmed(distances: Sequence[float]) -> list[float]:
    """Without the farthest in twenty, at least one if there are eight.

    One odd night, from before there was anything to compare it with, must not make all ordinary.
    """
    count = len(distances)
    return sorted(distances)[: count - max(count // 20, int(count >= 8))]


def _leave_one_out(counts: Sequence[int]) -> list[float]:
    """The distance of each count from the median of the others."""
    return [
        _distance(count, median([*counts[:n], *counts[n + 1 :]])) for n, count in enumerate(counts)
    ]


def _distance(rows: float, middle: float) -> float:
    """The absolute logarithm of the ratio: half and twice as many are equally far.

    One is added to both, so that a night without rows has a distance too.
    """
    return abs(math.log((rows + 1) / (middle + 1)))


def _too_few(day: date | None, same: int, total: int) -> str:
    if day is None:
        return "not compared: a table without partitions has no earlier nights"
    return (
        f"not compared: {total} ordinary nights before it, {same} of them {day:%A}s. It takes "
        f"{SAME_WEEKDAY} {day:%A}s, or {_ALL_WEEKDAYS} nights with a {day:%A} among them"
    )
