"""The DAG that judges nights by their labels, once these come or change.

What there is to do is found by looking, not handed over: an event only says that something is new.
So an event that is lost or repeated, and a run that a person starts, do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, AssetWatcher, BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)

from nocturne.config import Loaded
from nocturne.records.answers import TruthAnswer
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.channels import Message
from nocturne_airflow.command import Commanding
from nocturne_airflow.links import night_page, run_page
from nocturne_airflow.operators import check, typed_answer
from nocturne_airflow.polling import PollingTrigger
from nocturne_airflow.promotion import ByEvidence

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["LabelsTrigger", "ProposeOperator", "TruthOperator", "truth_dag"]

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_.~:+-]")
"""What Airflow does not take in the id of a run."""


class LabelsTrigger(PollingTrigger):
    """Polls the labels of published nights; sends an event if there are new or other ones.

    The triggerer reads them with the credentials of its own environment.
    """

    what = "labels"

    def look(self, loaded: Loaded) -> dict[str, str]:
        from nocturne.operate.truth.due import labels_seen

        return labels_seen(loaded)

    def news(self, last: Any, seen: Any) -> dict[str, Any] | None:
        known = last or {}
        nights = sorted(night for night, digest in seen.items() if known.get(night) != digest)
        return {"nights": nights} if nights else None


class TruthOperator(Commanding, BaseOperator):  # type: ignore[misc,unused-ignore]
    """Judges the nights whose labels came, and sends alerts for those beyond their bounds.

    Args:
        pipeline: the pipeline's name, which is the id of its scoring DAG.
        alerts: the alerts to send.
        home: the project's folder.
        connection: the Airflow connection with the object store's credentials, if any.
    """

    ui_color = "#e7f2ea"

    def __init__(
        self,
        *,
        pipeline: str,
        alerts: Alerts,
        home: str,
        connection: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline, self.alerts = pipeline, alerts
        self.home, self.connection = home, connection

    def execute(self, context: Context) -> list[str]:
        """Returns the partitions that were counted."""
        outcome = self.command("truth", self.pipeline, "--due", "--json")
        if not outcome.output:
            check("truth", outcome)
        found = typed_answer("truth", TruthAnswer, outcome.output)
        told = [name for name, beyond in found.alerts.items() if self._tell(context, name, beyond)]
        if told:
            names = [option for name in told for option in ("--told", name)]
            check("truth", self.command("truth", self.pipeline, *names))
        if found.problems:
            why = "\n".join(f"{key}: {why}" for key, why in found.problems.items())
            failure = AirflowException if outcome.code > 1 else AirflowFailException
            raise failure(
                f"truth: {len(found.problems)} nights can't be counted; the others are.\n{why}"
            )
        return found.counted

    def _tell(self, context: Context, name: str, beyond: Sequence[str]) -> bool:
        """Send the alert about a truth, ``PARTITION:NUMBER``; False if it could not be sent."""
        key = name.rpartition(":")[0]
        links = {
            "Scoring": night_page(self.pipeline, key),
            "DAG run": run_page(context["dag_run"]),
        }
        return self.alerts.send(Message("truth", self.pipeline, key, "\n".join(beyond), links))


class ProposeOperator(ByEvidence, TriggerDagRunOperator):  # type: ignore[misc,unused-ignore]
    """If labels speak for the challenger, asks a person, once for each pair of versions.

    The question is a run of the DAG ``<pipeline>_promote`` whose id names both versions, so it
    is not asked a second time. With ``auto`` the alias is moved at once, and the alert is sent.
    """

    template_fields = ()
    ui_color = "#f7f0e4"

    def __init__(
        self,
        *,
        pipeline: str,
        alerts: Alerts,
        home: str,
        auto: bool,
        connection: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            trigger_dag_id=f"{pipeline}_promote",
            logical_date=None,
            fail_when_dag_is_paused=True,
            skip_when_already_exists=True,
            **kwargs,
        )
        self.pipeline, self.alerts, self.auto = pipeline, alerts, auto
        self.home, self.connection = home, connection

    def execute(self, context: Context) -> None:
        found = self.evidence()
        if not found.proposed:
            raise AirflowSkipException(f"{found.name} is not proposed: {found.why}")
        if self.auto:
            options = ["--promote", "--version", str(found.challenger), "--by", "promote.auto"]
            page = {"DAG run": run_page(context["dag_run"])}
            self.alerts.promotion(found, "is being promoted", page)  # rather twice than never
            check("evidence", self.command("evidence", self.pipeline, *options, "--json"))
            return
        model = _NOT_IN_IDS.sub("_", found.model)
        self.trigger_run_id = f"{model}_{found.challenger}_over_{found.champion}"
        self.conf = {"version": found.challenger}
        super().execute(context)  # the task is skipped if there is such a run


def truth_dag(loaded: Loaded) -> DAG:
    """The DAG ``<pipeline>_truth``: count, and with ``promote`` also propose."""
    pipeline, home, labels = loaded.pipeline, str(loaded.home), loaded.pipeline.labels
    assert labels is not None, "dags/truth.py makes it for pipelines with labels"
    connection = pipeline.schedule.connection
    alerts = Alerts.of(loaded)
    came = Asset(
        name=f"labels/{pipeline.name}",
        watchers=[
            AssetWatcher(
                name=f"{pipeline.name}_labels",
                trigger=LabelsTrigger(pipeline.name, home, labels.poll_seconds),
            )
        ],
    )
    with DAG(
        dag_id=f"{pipeline.name}_truth",
        description=f"Judges the nights of {pipeline.name} by the labels that came for them.",
        schedule=[came],
        catchup=False,
        max_active_runs=1,
        tags=sorted({"nocturne", *pipeline.tags}),
        default_args={
            "retries": 2,
            "retry_delay": timedelta(seconds=30),
            "on_failure_callback": alerts.not_judged,
        },
    ) as dag:
        count = TruthOperator(
            task_id="count",
            pipeline=pipeline.name,
            alerts=alerts,
            home=home,
            connection=connection,
            doc_md="Joins labels and scores, and keeps the figures with each night.",
        )
        if pipeline.promote is not None:
            propose = ProposeOperator(
                task_id="propose",
                pipeline=pipeline.name,
                alerts=alerts,
                home=home,
                auto=pipeline.promote.auto,
                connection=connection,
                trigger_rule="all_done",
                doc_md="Asks whether the challenger is to be champion, if labels speak for it.",
            )
            count >> propose
    return dag
