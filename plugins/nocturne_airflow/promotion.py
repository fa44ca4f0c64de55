"""The DAG that asks a person whether a challenger is to be champion, with the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nocturne.config import Loaded
from nocturne.records.evidence import Evidence
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.command import Commanding
from nocturne_airflow.gate import NOBODY, escaped
from nocturne_airflow.links import run_page, truth_page
from nocturne_airflow.operators import check, typed_answer

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ByEvidence", "PromotionOperator", "promotion_dag"]

_ASKED = "version"
"""The key of the version that the question is about."""


class ByEvidence(Commanding):
    """An operator that looks at what labels say of a pipeline's challenger."""

    pipeline: str

    def evidence(self) -> Evidence:
        """The evidence as it is now."""
        answer = check("evidence", self.command("evidence", self.pipeline, "--json"))
        return typed_answer("evidence", Evidence, answer)


class PromotionOperator(ByEvidence, ApprovalOperator):  # type: ignore[misc,unused-ignore]
    """Shows the evidence and waits for an answer; if it is *Approve*, the alias is moved.

    The evidence is looked at again after the answer: if it no longer holds, or another version is
    the challenger or the champion by then, nothing is moved and the task fails.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#f7f0e4"

    def __init__(
        self,
        *,
        pipeline: str,
        alerts: Alerts,
        home: str,
        deadline: timedelta,
        connection: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject=f"Promote the challenger of {pipeline}?",
            defaults=ApprovalOperator.REJECT,
            response_timeout=deadline,
            **kwargs | {"params": {}},  # Airflow gives those of the DAG
        )
        self.pipeline, self.alerts = pipeline, alerts
        self.home, self.connection = home, connection

    def execute(self, context: Context) -> Any:
        found, version = self.evidence(), context["params"].get("version")
        if version not in (None, found.challenger):
            raise AirflowSkipException(
                f"it asks about version {version}, and the evidence is of {found.challenger} by now"
            )
        if not found.proposed:
            raise AirflowFailException(f"promote: {found.name} is not proposed: {found.why}")
        self.subject = f"Promote {found.model} version {found.challenger} to {found.alias}?"
        page = truth_page(self.pipeline)
        self.body = question(found, page)
        links = {"Truth": page, "DAG run": run_page(context["dag_run"])}
        self.alerts.promotion(found, "is proposed", links)
        context["ti"].xcom_push(key=_ASKED, value=found.challenger)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        response = HITLOperator.execute_complete(self, context, event)
        user = response["responded_by_user"]
        if user is None:
            raise AirflowFailException(f"promote: not promoted, {NOBODY} ({self.response_timeout})")
        if response["chosen_options"] == [self.APPROVE]:
            name = str(user["name"] or user["id"])
            version = str(context["ti"].xcom_pull(task_ids=self.task_id, key=_ASKED))
            options = ["--promote", "--version", version, "--by", name]
            check("promote", self.command("evidence", self.pipeline, *options, "--json"))
        return super().execute_complete(context, event)


def question(found: Evidence, page: str) -> str:
    """The question in Markdown, with the figures of each night."""
    nights = "\n".join(f"| {escaped(key)} | {value:+.4g} |" for key, value in found.nights.items())
    segments = "\n".join(
        f"| {escaped(part)} | {value:+.4g} |" for part, value in found.segments.items()
    )
    of_segments = (
        f"\n\n| Segment, mean over the nights |  |\n|--|--|\n{segments}" if segments else ""
    )
    return (
        f"**{escaped(found.why)}**\n\n"
        f"| Night | {escaped(found.metric)}, version {found.challenger} less version "
        f"{found.champion} |\n|--|--|\n{nights}{of_segments}\n\n"
        f"[Truth, night by night]({page})\n\n"
        f"*Approve* moves the alias {escaped(found.alias)} of {escaped(found.model)} to version "
        f"{found.challenger}; the nights that are planned from then on are scored by it. *Reject* "
        "leaves it, and this pair of versions is not proposed again."
    )


def promotion_dag(loaded: Loaded) -> DAG:
    """The DAG ``<pipeline>_promote``, which ``<pipeline>_truth`` triggers."""
    pipeline, home, promote = loaded.pipeline, str(loaded.home), loaded.pipeline.promote
    assert promote is not None, "dags/truth.py makes it for pipelines with promote"
    connection = pipeline.schedule.connection
    alerts = Alerts.of(loaded)
    with DAG(
        dag_id=f"{pipeline.name}_promote",
        description=f"Asks whether the challenger of {pipeline.name} is to be its champion.",
        schedule=None,
        catchup=False,
        tags=sorted({"nocturne", *pipeline.tags}),
        params={
            "version": Param(
                None, type=["null", "integer"], description="The challenger's version."
            )
        },
        default_args={
            "retries": 2,
            "retry_delay": timedelta(seconds=30),
            "on_failure_callback": alerts.not_judged,
        },
    ) as dag:
        PromotionOperator(
            task_id="approve",
            pipeline=pipeline.name,
            alerts=alerts,
            home=home,
            deadline=timedelta(hours=promote.deadline_hours),
            connection=connection,
            doc_md="Shows the evidence, waits for an answer, and moves the alias.",
        )
    return dag
