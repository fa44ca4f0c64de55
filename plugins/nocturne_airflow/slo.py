"""The time at which a scheduled night is due: a deadline reference for Airflow's deadline alerts.

Airflow's own references count from the time at which a run was queued, or from its logical date,
which a partitioned run does not have.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from nocturne.config.models import Slo

__all__ = ["Due", "in_words"]


@dataclass(eq=False)
class Due(BaseDeadlineReference):  # type: ignore[misc,unused-ignore]
    """The deadline of a scheduled run; other runs have none.

    Args:
        by: a time such as "06:30": the first one at or after the run's start, in ``timezone``.
        within_minutes: minutes after the run's start, which is the end of its partition.
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

        run = session.execute(
            select(DagRun.run_type, DagRun.run_after).filter_by(dag_id=dag_id, run_id=run_id)
        ).one_or_none()
        if run is None or run.run_type != "scheduled":
            return None
        return self.after(run.run_after)

    def after(self, end: dt.datetime) -> dt.datetime | None:
        """The deadline of a partition that ended at ``end``; None if there is none."""
        from nocturne.config.models import Slo

        return Slo(by=self.by, within_minutes=self.within_minutes).after(end, self.timezone)


def in_words(slo: Slo, timezone: str) -> str:
    """The deadline as text, for an alert."""
    if slo.by is not None:
        return f"by {slo.by} ({timezone})"
    return f"within {slo.within_minutes:g} minutes after its end"
