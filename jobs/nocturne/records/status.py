"""The status of the last run of a partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from nocturne.codec import Stored
from nocturne.records.plan import RunPlan
from nocturne.records.texts import Time

__all__ = ["Confirmed", "RunState", "RunStatus"]

RunState = Literal["running", "held", "failed", "rejected"]


def _status_1(fields: dict[str, Any]) -> dict[str, Any]:
    """The run directory follows from the run key."""
    del fields["run_dir"]
    return fields


@dataclass(frozen=True)
class RunStatus(Stored):
    """The status of the last run of a partition if it is not published: ``current.json``.

    ``run_key`` is empty if planning failed. ``rows_done``: the rows scored so far, of ``rows``.
    """

    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar = {1: _status_1}
    mend: ClassVar[str] = (
        "Move it away, and look into the partition's runs/: a night that was held there is not "
        "known as held without it; run the partition again"
    )

    state: RunState
    step: str
    run_key: str
    model_version: int | None
    rows: int
    rows_done: int
    message: str
    at: Time

    @classmethod
    def of(
        cls, plan: RunPlan, state: RunState, step: str, message: str, at: str, rows_done: int = 0
    ) -> RunStatus:
        """The status of a planned run."""
        version, rows = plan.model.version, plan.rows
        return cls(state, step, plan.run_key, version, rows, rows_done, message, at)


@dataclass(frozen=True)
class Confirmed(Stored):
    """When a run last found that the scores in force need not be made again: ``confirmed.json``."""

    at: Time
