"""Which days the charts show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nocturne.records.manifest import PublishedNight
from nocturne.records.partition import Partition
from nocturne.report.days import axis_keys, charted_days


def published(night: PublishedNight, **changes: Any) -> PublishedNight:
    return replace(night, manifest=replace(night.manifest, **changes))


def test_this_night_stands_for_its_partition_and_is_emphasised(night: Any) -> None:
    again = published(night.history[0], partition=night.plan.partition, rows_in=1)
    shown = charted_days(night.plan, night.judgement, night.profile, [again, *night.history])
    assert len(shown) == 30
    assert [d.key for d in shown if d.is_current] == [night.plan.partition.key]
    assert shown[-1].rows_in == 900


def test_the_newest_manifest_of_a_partition_counts(night: Any) -> None:
    newer = published(night.history[3], number=2, rows_in=7)
    shown = charted_days(night.plan, night.judgement, night.profile, [newer, *night.history])
    assert [d.rows_in for d in shown if d.key == newer.key] == [7]


def test_ninety_days_are_shown_and_this_night_is_one_of_them(
    nights: Callable[..., Any],
) -> None:
    night = nights(days=3)
    many = [
        published(night.history[0], partition=Partition(f"2014-{m:02}-{d:02}"))
        for m in range(1, 13)
        for d in range(1, 29)
    ]
    shown = charted_days(night.plan, night.judgement, night.profile, [*night.history, *many])
    assert len(shown) == 90
    assert shown[3].is_current


def test_missing_days_keep_their_place_on_the_axis(night: Any) -> None:
    shown = charted_days(
        night.plan, night.judgement, night.profile, [night.history[0], night.history[-1]]
    )
    assert len(shown) == 3
    assert len(axis_keys(shown)) == 30


def test_hours_are_shown_as_they_are(night: Any) -> None:
    hourly = replace(night.plan, partition=Partition("2013-03-31T05"))
    shown = charted_days(hourly, night.judgement, night.profile, [])
    assert axis_keys(shown) == ["2013-03-31T05"]
