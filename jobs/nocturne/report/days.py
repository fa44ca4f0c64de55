"""The days that the report's charts show: published nights from manifests, and this night."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from nocturne.records.drift import FeatureDrift
from nocturne.records.manifest import Judgement, PublishedNight
from nocturne.records.plan import RunPlan
from nocturne.records.profile import Profile
from nocturne.report.summary import score_summary

__all__ = ["Day", "JudgedDay", "axis_keys", "charted_days", "output_names", "published_day"]

_SHOWN = 90


@dataclass(frozen=True)
class Day:
    """One partition in the charts.

    ``model``: the versions that scored it. ``ordinary``: the fewest and the most rows that are
    ordinary.
    """

    key: str
    model: str
    verdict: str
    rows_in: int
    quarantined: int
    drift: tuple[FeatureDrift, ...]
    scores: dict[str, dict[str, float]]
    is_current: bool = False
    ordinary: tuple[int, int] | None = None


@dataclass(frozen=True)
class JudgedDay:
    """A figure of one partition by its labels, and what was expected before; None if unknown."""

    key: str
    model: str
    value: float | None
    low: float | None
    high: float | None
    expected: float | None


def output_names(plan: RunPlan) -> list[str]:
    """The prediction columns, in the model's order."""
    return [output.name for output in plan.encoding.outputs]


def charted_days(
    plan: RunPlan, judgement: Judgement, profile: Profile, history: Sequence[PublishedNight]
) -> list[Day]:
    """Up to 90 partitions by key: this night, those before it, and later ones if there is room.

    If a partition was published more than once, its newest manifest counts. This night replaces
    the published one of its own partition.
    """
    newest: dict[str, PublishedNight] = {}
    for published in sorted(history, key=lambda published: published.manifest.number):
        newest[published.key] = published
    current = plan.partition.key
    newest.pop(current, None)
    earlier = sorted(key for key in newest if key < current)[-(_SHOWN - 1) :]
    later = sorted(key for key in newest if key > current)[: _SHOWN - 1 - len(earlier)]
    volume = judgement.volume
    current_day = Day(
        key=current,
        model=plan.versions,
        verdict=judgement.verdict,
        rows_in=judgement.rows_in,
        quarantined=judgement.quarantined,
        drift=judgement.drift.columns,
        scores=score_summary(profile, output_names(plan)),
        is_current=True,
        ordinary=(volume.low, volume.high) if volume and volume.reference else None,
    )
    return [
        *(published_day(newest[k]) for k in earlier),
        current_day,
        *(published_day(newest[k]) for k in later),
    ]


def published_day(night: PublishedNight) -> Day:
    """A published partition in the charts."""
    manifest = night.manifest
    return Day(
        key=manifest.partition.key,
        model=manifest.versions,
        verdict=manifest.verdict,
        rows_in=manifest.rows_in,
        quarantined=manifest.rows_quarantined,
        drift=night.judgement.drift.columns,
        scores=manifest.score_summary,
    )


def axis_keys(charted_days: Sequence[Day]) -> list[str]:
    """The keys along a chart's axis; if they are calendar days, missing days are included."""
    keys = [day.key for day in charted_days]
    try:
        dates = [dt.date.fromisoformat(key) for key in keys]
    except ValueError:
        return keys
    length = (dates[-1] - dates[0]).days + 1
    if length > 2 * _SHOWN or keys != [date.isoformat() for date in dates]:
        return keys
    return [(dates[0] + dt.timedelta(days=i)).isoformat() for i in range(length)]
