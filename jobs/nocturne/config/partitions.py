"""From a date, as people and Airflow write it, to a partition, and back."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping

from nocturne.errors import ConfigError
from nocturne.records.partition import Partition

__all__ = ["determines", "from_path", "key_format", "later", "parse", "partition", "period", "span"]

_HOURLY = "%Y-%m-%dT%H"
_DAILY = "%Y-%m-%d"
_MOST = 100_000
"""Partitions in a range: 270 years of days, 11 of hours."""


def key_format(layout: Mapping[str, str]) -> str:
    """The strftime format of the layout's partition key, also Airflow's ``key_format``."""
    return _HOURLY if any("%H" in value for value in layout.values()) else _DAILY


def parse(layout: Mapping[str, str], key: str) -> dt.datetime:
    """The start of the partition ``key``.

    Raises:
        ConfigError: the key is not a date (and hour, for hourly layouts).
    """
    expected = key_format(layout)
    try:
        moment = dt.datetime.strptime(key, expected)
    except (ValueError, TypeError):
        moment = None
    if moment is None or moment.strftime(expected) != key:
        example = "2013-04-01T05" if expected == _HOURLY else "2013-04-01"
        raise ConfigError(f"date: got {key!r}, expected a partition key such as {example}", key=key)
    return moment


def partition(layout: Mapping[str, str], key: str) -> Partition:
    """The partition of ``key``: every format of the layout filled in."""
    moment = parse(layout, key)
    return Partition(key, tuple((name, moment.strftime(text)) for name, text in layout.items()))


def determines(layout: Mapping[str, str]) -> bool:
    """Whether neighbouring days (hours) have folders of their own that lead back to them."""
    step = period(layout)
    for start in (dt.datetime(2024, 2, 28), dt.datetime(2023, 12, 31, 22)):
        moments = [start + step * n for n in range(4)]
        for moment in moments:
            found = partition(layout, moment.strftime(key_format(layout)))
            if from_path(layout, found.path) != found:
                return False
    return True


def period(layout: Mapping[str, str]) -> dt.timedelta:
    """From the start of a partition to that of the next."""
    hourly = key_format(layout) == _HOURLY
    return dt.timedelta(hours=1) if hourly else dt.timedelta(days=1)


def span(layout: Mapping[str, str], first: str, last: str | None) -> Iterator[Partition]:
    """Every partition from ``first`` to ``last``, both included.

    Raises:
        ConfigError: a key is malformed, or ``last`` lies before ``first``.
    """
    moment: dt.datetime | None
    moment, end = parse(layout, first), parse(layout, last or first)
    if end < moment:
        raise ConfigError(f"the range ends ({last}) before it starts ({first}); swap them")
    if end > moment and not layout:
        raise ConfigError(
            "a range needs a partitioned table; this one is scored whole, so give one date"
        )
    if (end - moment) // period(layout) >= _MOST:
        raise ConfigError(
            f"the range from {first} to {last} has more than {_MOST:,} partitions; give it in parts"
        )
    while moment is not None and moment <= end:
        yield partition(layout, moment.strftime(key_format(layout)))
        moment = later(layout, moment, 1)


def later(layout: Mapping[str, str], moment: dt.datetime, count: int) -> dt.datetime | None:
    """The start of the partition ``count`` after (before, if negative) that of ``moment``.

    None where there is no such: partitions are of the years 1000 to 9999.
    """
    try:
        found = moment + count * period(layout)
    except OverflowError:
        return None
    return found if found.year >= 1000 else None


def from_path(layout: Mapping[str, str], path: str) -> Partition | None:
    """The partition of a folder ``ds=2013-04-01/hour=05``; None if it is none of the layout."""
    parts = [tuple(piece.partition("=")[::2]) for piece in path.split("/")] if path else []
    if [name for name, _ in parts] != list(layout):
        return None
    formats = " ".join(layout.values())
    codes = set(re.findall("%(.)", formats))
    if "d" in codes and not codes & {"Y", "y", "G"}:
        return None  # a day of no year, of which Python 3.13 warns
    try:
        moment = dt.datetime.strptime(" ".join(value for _, value in parts), formats)
    except (ValueError, re.error):  # the latter where a code is there twice
        return None
    found = partition(layout, moment.strftime(key_format(layout)))
    return found if found.path == path else None
