"""The task that asks a person about a held night; while it waits, it needs no worker."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk.exceptions import AirflowFailException

from nocturne.records.answers import GateAnswer
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.command import Commanding, Outcome
from nocturne_airflow.links import DATA_DOCS, REPORT, SCORING, Linked
from nocturne_airflow.operators import HELD, RUN_DIR, check, need_run_dir, typed_answer
from nocturne_airflow.request import WHY

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["GateOperator"]

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~-])")
NOBODY = "nobody answered before the deadline"


class GateOperator(Linked, Commanding, ApprovalOperator):  # type: ignore[misc,unused-ignore]
    """Lets a night pass, stops a failed one, and asks about a held one.

    A held night of a scheduled or a manual run waits in state ``awaiting_input`` until somebody
    answers or ``deadline`` is over. If it is approved, exactly the staged files are published. If
    it is rejected, the tasks after it are skipped, and the published scores stay. Without an answer
    it is rejected too, and the task fails, so that somebody notices. In a backfill the task fails
    at once, and somebody decides on the night later.

    Args:
        pipeline: the pipeline's name, for the question.
        alerts: the alerts to send if a night is held.
        home: the project's folder.
        deadline: how long a held night waits.
        connection: the Airflow connection with the object store's credentials, if any.
    """

    template_fields: Sequence[str] = ("run_dir",)
    operator_extra_links = (REPORT, DATA_DOCS, SCORING)
    ui_color = "#f7f0e4"

    def __init__(
        self,
        *,
        pipeline: str,
        alerts: Alerts,
        home: str,
        deadline: timedelta,
        connection: str | None = None,
        run_dir: str = RUN_DIR,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject=f"Publish the held scores of {pipeline}?",
            defaults=ApprovalOperator.REJECT,
            response_timeout=deadline,
            **kwargs | {"params": {"why": WHY}},  # Airflow gives those of the DAG
        )
        self.pipeline = pipeline
        self.alerts = alerts
        self.home = home
        self.connection = connection
        self.run_dir = run_dir

    def execute(self, context: Context) -> Any:
        self.link(context, self.run_dir)
        outcome = self._gate("--json")
        if outcome.code != HELD:
            check("gate", outcome)
            return None
        if context["dag_run"].run_type == "backfill":
            raise AirflowFailException(
                f"gate: {outcome.message}\nA backfill does not wait for a person: decide on it "
                f"with `nocturne approve` or `nocturne reject`, or from the page Scoring."
            )
        held = typed_answer("gate", GateAnswer, outcome.output)
        self.link(context, str(PurePosixPath(held.report).parent))
        self.subject = f"Publish {self.pipeline} {held.partition}?"
        links = {**self.links, **plot_links(held, self.links[REPORT.name])}
        self.body = question(held, links)
        self.alerts.tell("held", context, "\n".join(held.reasons), links)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        self.link(context, self.run_dir)
        outcome = self._gate("--json")
        if outcome.code != HELD:
            check("gate", outcome)  # fails if something newer was published
            self.log.info("It was approved meanwhile, from the command line.")
            return None
        response = HITLOperator.execute_complete(self, context, event)
        user = response["responded_by_user"]
        if user is None:
            check(
                "gate", self._gate("--reject", "--by", "airflow", "--why", NOBODY, "--unanswered")
            )
            raise AirflowFailException(
                f"gate: rejected, {NOBODY} ({self.response_timeout}). What was published before "
                "stays; its scores are kept until `nocturne gc`."
            )
        name = str(user["name"] or user["id"])
        if response["chosen_options"] == [self.APPROVE]:
            options = ["--approve"]
        else:
            why = (response.get("params_input") or {}).get("why")
            options = ["--reject", *(["--why", str(why)] if why else [])]
        check("gate", self._gate(*options, "--by", name))
        return super().execute_complete(context, event)  # skips what follows a rejection

    def _gate(self, *options: str) -> Outcome:
        return self.command("gate", need_run_dir(self.run_dir), *options)


def plot_links(held: GateAnswer, report: str) -> dict[str, str]:
    """Links to the plots of the columns furthest from training, in the report at ``report``."""
    return {f"Plot of {c}": f"{report}#column-{quote(c)}" for c in held.worst}


def question(held: GateAnswer, links: Mapping[str, str]) -> str:
    """The question for the person who decides, in Markdown.

    Args:
        held: the answer of ``nocturne gate --json``.
        links: name -> URL.
    """
    shown = " · ".join(f"[{escaped(name)}]({address})" for name, address in links.items())
    reasons = "\n".join(f"- {escaped(reason)}" for reason in held.reasons)
    return (
        f"{held.rows_in:,} rows, scored by model version {held.model_version}. The verdict is "
        f"**{held.verdict}**:\n\n"
        f"{reasons}\n\n"
        f"{shown}\n\n"
        "*Approve* publishes exactly these scores. *Reject* leaves what is published now."
    )


def escaped(text: object) -> str:
    """The text escaped for Markdown, since it may contain values from the data."""
    return _MARKDOWN.sub(r"\\\1", str(text).replace("\n", " "))
