"""The volume of a night: its rows against earlier nights, and when its input arrived."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from zoneinfo import ZoneInfo

from nocturne import config, drift
from nocturne.config import Loaded
from nocturne.pipeline.nights import PublishedNights
from nocturne.records.manifest import PublishedNight
from nocturne.records.plan import TABLE_MARK, RunPlan
from nocturne.records.volume import Volume

__all__ = ["HISTORY", "volume_of"]

HISTORY = 60
"""The most published partitions before a night that it is compared and shown with: eight weeks."""


def volume_of(
    plan: RunPlan,
    loaded: Loaded,
    rows: int,
    earlier: list[PublishedNight],
    in_force: PublishedNight | None,
) -> Volume:
    """The volume of a night with so many rows.

    A night that was compared before is compared with the nights that its judgement names, so that
    scoring days again, in any order, gives the same verdicts.

    Args:
        earlier: the last ``HISTORY`` published nights before it.
        in_force: the published night of the partition.
    """
    history, accepted = _history(plan, loaded, earlier, in_force)
    volume = drift.compare_rows(rows, plan.partition.key, history, accepted)
    arrived, after = _arrival(plan, loaded)
    return replace(volume, arrived=arrived, seconds_after=after)


def _history(
    plan: RunPlan,
    loaded: Loaded,
    earlier: list[PublishedNight],
    in_force: PublishedNight | None,
) -> tuple[Mapping[str, int], tuple[str, ...]]:
    before = in_force.judgement.volume if in_force is not None else None
    if before is not None and before.reference:
        return before.history, before.accepted
    nights, key = PublishedNights(loaded, as_signed=True), plan.partition.key
    if hour := key[10:]:  # of its own hour there are only two or three among the last 60
        earlier = nights.all(before=key, last=HISTORY, hour=hour)
    return drift.ordinary_rows(nights, earlier)


def _arrival(plan: RunPlan, loaded: Loaded) -> tuple[str | None, int | None]:
    """When the newest file was written, and how many seconds after the partition was over.

    The files were listed for the plan, with their times.
    """
    own = (file.mtime_ns for file in plan.files if TABLE_MARK not in file.path)
    newest = max(own, default=0)
    if newest <= 0:
        return None, None
    zone = ZoneInfo(loaded.pipeline.schedule.timezone)
    arrived = dt.datetime.fromtimestamp(newest // 10**9, dt.UTC)
    shown = arrived.astimezone(zone).isoformat()
    names = loaded.pipeline.input.partition
    if not names:
        return shown, None
    over = config.end_of(names, plan.partition.key, loaded.pipeline.schedule.timezone)
    return shown, round((arrived - over).total_seconds())
