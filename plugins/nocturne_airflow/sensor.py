"""Waits until the partition is complete; the first task, so it also checks the request.

Only scheduled runs wait: they start at midnight, and the data may come hours later. A person who
starts a manual run or a backfill expects the data to exist. If it does not, that is nearly always a
typing error, and waiting would occupy one of the DAG's ``max_active_runs`` for half a day. So these
runs check once and report what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from nocturne_airflow.command import Commanding
from nocturne_airflow.operators import check, request

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ReadySensor"]

NOT_READY = 75


class ReadySensor(Commanding, BaseSensorOperator):  # type: ignore[misc,unused-ignore]
    """Runs ``nocturne ready`` until the partition is complete.

    Airflow's ``soft_fail`` would also skip a run with wrong parameters, so that a typing error
    would look like a missing partition. Here only a missing partition is skipped.
    """

    ui_color = "#eceff1"

    def __init__(
        self,
        *,
        pipeline: str,
        key_formats: Mapping[str, str],
        home: str,
        skip_missing: bool,
        timeout: timedelta,
        connection: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode="reschedule", timeout=timeout, poke_interval=60, **kwargs)
        self.pipeline = pipeline
        self.key_formats = dict(key_formats)
        self.home = home
        self.connection = connection
        self.skip_missing = skip_missing

    def execute(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except AirflowSensorTimeout as timeout:
            if self.skip_missing:
                raise AirflowSkipException(f"input.on_missing is skip: {timeout}") from None
            raise

    def poke(self, context: Context) -> bool:
        requested = request(context, self.key_formats)
        if requested.action != "score":
            return True  # a decision needs no data
        outcome = self.command("ready", self.pipeline, "--date", requested.key)
        if outcome.code != NOT_READY:
            check("ready", outcome)
            return True
        if context["dag_run"].run_type == "scheduled":
            return False
        if self.skip_missing:
            raise AirflowSkipException(f"input.on_missing is skip: {outcome.message}")
        raise AirflowFailException(
            f"{outcome.message}\nOnly scheduled runs wait for a partition; this run was started "
            "for it by hand or by a backfill. Run it again when the partition is complete."
        )
