"""Watches the registry: if alias or tags point to a new version, the last night is scored again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow.sdk.exceptions import AirflowSkipException

from nocturne.config import Loaded, load, partition
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.credentials import lent
from nocturne_airflow.polling import PollingTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["RegistryTrigger", "RescoreOperator", "last_night", "watching_dag"]


class RegistryTrigger(PollingTrigger):
    """Polls the version that the pipeline's selector points to. The first version sends no event.

    A repeated event scores nothing.
    """

    what = "version"

    def look(self, loaded: Loaded) -> int:
        from nocturne.pipeline.model import version_now

        return version_now(loaded)

    def news(self, last: Any, seen: Any) -> dict[str, Any] | None:
        return {"version": seen, "before": last} if last is not None and last != seen else None


class RescoreOperator(TriggerDagRunOperator):  # type: ignore[misc,unused-ignore]
    """Starts the pipeline's DAG for the last partition that is published.

    Args:
        pipeline: the pipeline's name, which is the id of its DAG.
        home: the project's folder.
        hold: whether a person must look before the new scores are published.
    """

    template_fields = ()

    def __init__(self, *, pipeline: str, home: str, hold: bool, **kwargs: Any) -> None:
        super().__init__(
            trigger_dag_id=pipeline, logical_date=None, fail_when_dag_is_paused=True, **kwargs
        )
        self.pipeline, self.home, self.hold = pipeline, home, hold

    def execute(self, context: Context) -> None:
        loaded = load(self.pipeline, root=Path(self.home))
        with lent(loaded.pipeline.schedule.connection):
            key = last_night(loaded)
        if key is None:
            raise AirflowSkipException(f"nothing of {self.pipeline} is published yet")
        payload = _last_payload(context["triggering_asset_events"])
        reason = f"model version {payload.get('version', 'unknown')} is new" if self.hold else None
        self.conf = {"day": key, **({"hold": reason} if reason else {})}
        super().execute(context)


def last_night(loaded: Loaded) -> str | None:
    """The newest partition that is published or being scored, since it may have the old model."""
    from nocturne.operate.status import newest, statuses_of

    last = newest(loaded, "scored")
    if last is None:
        return None
    latest = partition(loaded.pipeline.input.partition, last)
    running = statuses_of(loaded, [latest])[0].state == "running"
    return last if running else newest(loaded, "published")


def _last_payload(events: Mapping[Any, Any]) -> Mapping[str, Any]:
    """The payload of the trigger's last event; empty in a manual run."""
    payloads = [
        event.extra.get("payload", event.extra) for group in events.values() for event in group
    ]
    return payloads[-1] if payloads else {}


def watching_dag(loaded: Loaded) -> DAG:
    """The DAG ``<pipeline>_on_new_model``."""
    pipeline, home = loaded.pipeline, str(loaded.home)
    selected = Asset(
        name=f"models/{pipeline.name}",
        watchers=[
            AssetWatcher(
                name=f"{pipeline.name}_registry",
                trigger=RegistryTrigger(pipeline.name, home, pipeline.model.poll_seconds),
            )
        ],
    )
    with DAG(
        dag_id=f"{pipeline.name}_on_new_model",
        description=f"Scores the last night of {pipeline.name} again when its model changes.",
        schedule=[selected],
        catchup=False,
        max_active_runs=1,
        tags=sorted({"nocturne", *pipeline.tags}),
        default_args={
            "retries": 2,
            "retry_delay": timedelta(seconds=30),
            "on_failure_callback": Alerts.of(loaded).not_rescored,
        },
    ) as dag:
        RescoreOperator(
            task_id="rescore",
            pipeline=pipeline.name,
            home=home,
            hold=pipeline.model.on_new_model == "hold",
            doc_md="Triggers the pipeline's DAG for the last published partition.",
        )
    return dag
