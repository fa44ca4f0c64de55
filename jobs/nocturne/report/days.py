"""The days that the report's charts show: what manifests recorded, and this night."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from nocturne.records import FeatureDrift, Judgement, Profile, PublishedNight, RunPlan
from nocturne.report.summary import score_summary

__all__ = ["Day", "axis", "days", "output_names", "past"]

_SHOWN = 90


@dataclass(frozen=True)
class Day:
    """One partition in the charts."""

    key: str
    model: int
    verdict: str
    rows_in: int
    quarantined: int
    drift: tuple[FeatureDrift, ...]
    scores: dict[str, dict[str, float]]
    is_current: bool = False


def output_names(plan: RunPlan) -> list[str]:
    """The prediction columns, in the model's order."""
    return [str(output["name"]) for output in plan.encoding.get("outputs", [])]


def days(
    plan: RunPlan, judgement: Judgement, profile: Profile, history: Sequence[PublishedNight]
) -> list[Day]:
    """Up to 90 partitions by key: this night, the ones before it, and later ones if few.

    Of a partition that was published more than once the newest manifest counts; this
    night stands for its own partition.
    """
    newest: dict[str, PublishedNight] = {}
    for night in sorted(history, key=lambda night: night.manifest.number):
        newest[night.key] = night
    current = plan.partition.key
    newest.pop(current, None)
    earlier = sorted(key for key in newest if key < current)[-(_SHOWN - 1) :]
    later = sorted(key for key in newest if key > current)[: _SHOWN - 1 - len(earlier)]
    now = Day(
        key=current,
        model=plan.model.version,
        verdict=judgement.verdict,
        rows_in=judgement.rows_in,
        quarantined=judgement.quarantined,
        drift=judgement.drift.columns,
        scores=score_summary(profile, output_names(plan)),
        is_current=True,
    )
    return [*(past(newest[k]) for k in earlier), now, *(past(newest[k]) for k in later)]


def past(night: PublishedNight) -> Day:
    """A published partition in the charts."""
    manifest = night.manifest
    return Day(
        key=manifest.partition.key,
        model=manifest.model.version,
        verdict=manifest.verdict,
        rows_in=manifest.rows_in,
        quarantined=manifest.rows_quarantined,
        drift=night.judgement.drift.columns,
        scores=manifest.score_summary,
    )


def axis(shown: Sequence[Day]) -> list[str]:
    """The keys along a chart's axis; for days of a calendar also those that are missing."""
    keys = [day.key for day in shown]
    try:
        dates = [dt.date.fromisoformat(key) for key in keys]
    except ValueError:
        return keys
    length = (dates[-1] - dates[0]).days + 1
    if length > 2 * _SHOWN or keys != [date.isoformat() for date in dates]:
        return keys
    return [(dates[0] + dt.timedelta(days=i)).isoformat() for i in range(length)]
