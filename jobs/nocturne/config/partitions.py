"""Converts dates, as people and Airflow write them, to partitions and back.

``key_formats`` is ``input.partition`` of a pipeline: partition key -> strftime format, or a fixed
value.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from zoneinfo import ZoneInfo

from nocturne.errors import ConfigError
from nocturne.records.partition import Partition

__all__ = [
    "end_of",
    "from_path",
    "is_reversible",
    "key_format",
    "later",
    "parse",
    "partition",
    "period",
    "span",
]

_HOURLY = "%Y-%m-%dT%H"
_DAILY = "%Y-%m-%d"
_MOST = 100_000
"""The most partitions in a range: 270 years of days, or 11 years of hours."""


def key_format(key_formats: Mapping[str, str]) -> str:
    """The strftime format of a partition's key, which is also Airflow's ``key_format``."""
    return _HOURLY if any("%H" in value for value in key_formats.values()) else _DAILY


def parse(key_formats: Mapping[str, str], key: str) -> dt.datetime:
    """The start of the partition ``key``.

    Raises:
        ConfigError: the key is not a date (with an hour, if partitions are hourly).
    """
    expected = key_format(key_formats)
    try:
        moment = dt.datetime.strptime(key, expected)
    except (ValueError, TypeError):
        moment = None
    if moment is None or moment.strftime(expected) != key:
        example = "2013-04-01T05" if expected == _HOURLY else "2013-04-01"
        raise ConfigError(f"date: got {key!r}, expected a partition key such as {example}", key=key)
    return moment


def partition(key_formats: Mapping[str, str], key: str) -> Partition:
    """The partition of ``key``: every format is filled in."""
    moment = parse(key_formats, key)
    return Partition(
        key, tuple((name, moment.strftime(text)) for name, text in key_formats.items())
    )


def is_reversible(key_formats: Mapping[str, str]) -> bool:
    """Whether each day (or hour) has a folder of its own, from which the day can be read."""
    step = period(key_formats)
    for start in (dt.datetime(2024, 2, 28), dt.datetime(2023, 12, 31, 22)):
        moments = [start + step * n for n in range(4)]
        for moment in moments:
            expected = partition(key_formats, moment.strftime(key_format(key_formats)))
            if from_path(key_formats, expected.path) != expected:
                return False
    return True


def period(key_formats: Mapping[str, str]) -> dt.timedelta:
    """The time from the start of a partition to the start of the next."""
    hourly = key_format(key_formats) == _HOURLY
    return dt.timedelta(hours=1) if hourly else dt.timedelta(days=1)


def end_of(key_formats: Mapping[str, str], key: str, timezone: str) -> dt.datetime:
    """When a partition is over, and its scheduled run starts.

    The last day that a date can be, as some say for "never", is over when it begins.

    Raises:
        ConfigError: the key is malformed.
    """
    start = parse(key_formats, key)
    return (later(key_formats, start, 1) or start).replace(tzinfo=ZoneInfo(timezone))


def span(key_formats: Mapping[str, str], first: str, last: str | None) -> Iterator[Partition]:
    """Every partition from ``first`` to ``last``, both included.

    Raises:
        ConfigError: a key is malformed, or ``last`` lies before ``first``.
    """
    moment: dt.datetime | None
    moment, end = parse(key_formats, first), parse(key_formats, last or first)
    if end < moment:
        raise ConfigError(f"the range ends ({last}) before it starts ({first}); swap them")
    if end > moment and not key_formats:
        raise ConfigError(
            "a range needs a partitioned table; this one is scored whole, so give one date"
        )
    if (end - moment) // period(key_formats) >= _MOST:
        raise ConfigError(
            f"the range from {first} to {last} has more than {_MOST:,} partitions; give it in parts"
        )
    while moment is not None and moment <= end:
        yield partition(key_formats, moment.strftime(key_format(key_formats)))
        moment = later(key_formats, moment, 1)


def later(key_formats: Mapping[str, str], moment: dt.datetime, count: int) -> dt.datetime | None:
    """The start of the partition that is ``count`` after (before, if negative) that of ``moment``.

    None if there is no such partition: partitions are of the years 1000 to 9999.
    """
    try:
        start = moment + count * period(key_formats)
    except OverflowError:
        return None
    return start if start.year >= 1000 else None


def from_path(key_formats: Mapping[str, str], path: str) -> Partition | None:
    """The partition of a folder ``ds=2013-04-01/hour=05``; None if the formats don't fit it."""
    parts = [tuple(piece.partition("=")[::2]) for piece in path.split("/")] if path else []
    if [name for name, _ in parts] != list(key_formats):
        return None
    formats = " ".join(key_formats.values())
    codes = set(re.findall("%(.)", formats))
    if "d" in codes and not codes & {"Y", "y", "G"}:
        return None  # a day without a year, for which Python 3.13 warns
    try:
        moment = dt.datetime.strptime(" ".join(value for _, value in parts), formats)
    except (ValueError, re.error):  # re.error if a code occurs twice
        return None
    expected = partition(key_formats, moment.strftime(key_format(key_formats)))
    return expected if expected.path == path else None
