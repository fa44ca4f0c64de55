"""The runs that wait at their gates for a person to decide."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select
from sqlalchemy.orm import Session

from nocturne_airflow.page.site import load

__all__ = ["asking"]


def asking(names: Collection[str], session: Session) -> dict[tuple[str, str], str]:
    """(pipeline, partition as its status names it) -> the run that waits for a person."""
    asked = session.execute(
        select(DagRun.dag_id, DagRun.run_id, DagRun.partition_key, DagRun.conf)
        .join(
            TaskInstance,
            (TaskInstance.dag_id == DagRun.dag_id) & (TaskInstance.run_id == DagRun.run_id),
        )
        .where(
            TaskInstance.dag_id.in_(names),
            TaskInstance.task_id == "gate",
            TaskInstance.state == "awaiting_input",
        )
    )
    return {(dag_id, _key(dag_id, key, conf)): run_id for dag_id, run_id, key, conf in asked}


def _key(name: str, key: str | None, conf: Any) -> str:
    whole = not load(name).pipeline.input.partition
    return "all" if whole else str(key or dict(conf or {}).get("day") or "")
