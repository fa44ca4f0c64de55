"""The runs that wait at their gates for a person to decide."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from nocturne_airflow.page.site import load

__all__ = ["Asking", "asking"]


@dataclass(frozen=True)
class Asking:
    """A DAG run that waits for an answer.

    ``scores``: the name of the run directory that it asks about; "" if it is not known.
    """

    run_id: str
    scores: str


def asking(names: Collection[str], session: Session) -> dict[tuple[str, str], list[Asking]]:
    """(pipeline, partition as its status names it) -> the runs that wait, the newest first."""
    asked = session.execute(
        select(DagRun.dag_id, DagRun.run_id, DagRun.partition_key, DagRun.conf, XComModel.value)
        .join(
            TaskInstance,
            (TaskInstance.dag_id == DagRun.dag_id) & (TaskInstance.run_id == DagRun.run_id),
        )
        .outerjoin(
            XComModel,
            (XComModel.dag_id == DagRun.dag_id)
            & (XComModel.run_id == DagRun.run_id)
            & (XComModel.task_id == "prepare")
            & (XComModel.key == "return_value"),
        )
        .where(
            TaskInstance.dag_id.in_(names),
            TaskInstance.task_id == "gate",
            TaskInstance.state == "awaiting_input",
        )
        .order_by(DagRun.id.desc())
    )
    found: dict[tuple[str, str], list[Asking]] = {}
    for dag_id, run_id, key, conf, prepared in asked:
        waits = Asking(run_id, PurePosixPath(str(prepared or "").strip('"')).name)
        found.setdefault((dag_id, _key(dag_id, key, conf)), []).append(waits)
    return found


def _key(name: str, key: str | None, conf: Any) -> str:
    whole = not load(name).pipeline.input.partition
    return "all" if whole else str(key or dict(conf or {}).get("day") or "")
