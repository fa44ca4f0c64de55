"""When a scheduled night is due: a deadline reference of our own for Airflow's deadline alerts.

Airflow's own references count from when a run was queued, or from a logical date, which a
partitioned run has not.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from nocturne.config.models import Slo

__all__ = ["Due", "in_words"]


@dataclass(eq=False)
class Due(BaseDeadlineReference):  # type: ignore[misc,unused-ignore]
    """Of a scheduled run; others are never late.

    Args:
        by: "06:30", the first one at or after the run's start in ``timezone``.
        within_minutes: after the run's start, which is when its partition is over.
    """

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    by: str | None = None
    within_minutes: float | None = None
    timezone: str = "UTC"

    def serialize_reference(self) -> dict[str, Any]:
        return {**super().serialize_reference(), **asdict(self)}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> Due:
        return cls(**{f.name: reference_data[f.name] for f in fields(cls)})

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> dt.datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        found = session.execute(
            select(DagRun.run_type, DagRun.run_after).filter_by(dag_id=dag_id, run_id=run_id)
        ).one_or_none()
        if found is None or found.run_type != "scheduled":
            return None
        return self.after(found.run_after)

    def after(self, over: dt.datetime) -> dt.datetime | None:
        """Until when a partition that ended at ``over`` must be published; None: no promise."""
        if self.within_minutes is not None:
            return over + dt.timedelta(minutes=self.within_minutes)
        if self.by is None:
            return None
        zone = ZoneInfo(self.timezone)
        start, time = over.astimezone(zone), dt.time.fromisoformat(self.by)
        day = start.date() if time >= start.time() else start.date() + dt.timedelta(days=1)
        return dt.datetime.combine(day, time, zone).astimezone(dt.UTC)


def in_words(slo: Slo, timezone: str) -> str:
    """The promise, for an alert."""
    if slo.by is not None:
        return f"by {slo.by} ({timezone})"
    return f"within {slo.within_minutes:g} minutes after its end"
