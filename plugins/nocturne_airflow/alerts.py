"""Sends alerts through Airflow's notifiers and connections.

Nothing is sent in a backfill, since the person who started it is watching. If an alert can't be
sent, an error is logged, and the night is not affected.

``tell`` runs in the task. ``failed`` runs in the DAG processor after a run has failed, so also if
the task's process was killed. ``late`` runs in the triggerer. The last two read the reason from the
state beside the table; if they have no access to it, the alert has no reason. Credentials of an
Airflow connection are for ``failed`` only: the triggerer's environment is that of all its triggers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from nocturne.config import Loaded, load, partition
from nocturne.config.alerts import Alert, Channel, Event
from nocturne.errors import ConfigError
from nocturne.records.evidence import Evidence
from nocturne_airflow.channels import NOTIFIERS, Message
from nocturne_airflow.credentials import lent
from nocturne_airflow.links import key_of, night_page, run_page

if TYPE_CHECKING:
    from airflow.sdk import Context

    from nocturne.operate.status import PartitionStatus

__all__ = ["Alerts", "check_providers", "late"]

log = logging.getLogger(__name__)

_RULES: TypeAdapter[list[Alert]] = TypeAdapter(list[Alert])


class Alerts:
    """The alerts of one pipeline.

    Args:
        rules: ``alerts`` of the pipeline's YAML.
        connection: the Airflow connection with the object store's credentials, if any.
        owner: who answers for the pipeline.
        docs: the URL of what to do when it fails.
    """

    def __init__(
        self,
        pipeline: str,
        rules: Iterable[Channel] = (),
        connection: str | None = None,
        owner: str = "",
        docs: str = "",
    ) -> None:
        self.pipeline = pipeline
        self.rules = tuple(rules)
        self.connection = connection
        self.owner, self.docs = owner, docs

    @classmethod
    def of(cls, loaded: Loaded) -> Alerts:
        """Those of the pipeline's YAML."""
        pipeline = loaded.pipeline
        connection = pipeline.schedule.connection
        return cls(pipeline.name, pipeline.alerts, connection, pipeline.owner, pipeline.docs)

    def tell(
        self, event: Event, context: Context, why: str, links: Mapping[str, str] | None = None
    ) -> None:
        """Send an alert by every rule for this event, unless the run is a backfill."""
        run = context["dag_run"]
        if run.run_type == "backfill" or not (key := key_of(run)):
            return
        pages = {"Scoring": night_page(run.dag_id, key), "DAG run": run_page(run), **(links or {})}
        self.send(Message(event, self.pipeline, key, why, pages))

    def failed(self, home: str, context: Context) -> None:
        """The DAG's ``on_failure_callback``: a task has no retries left, and the run has failed.

        No alert is sent for a decision that failed (``action``): its author is watching.
        """
        run, task = context["dag_run"], context["task_instance"]
        if (run.conf or {}).get("action", "score") != "score":
            return
        reason = f"the task {task.task_id} failed"
        status = _status(self.pipeline, home, key_of(run), self.connection)
        if status is not None and status.remark:
            reason += f": {status.remark}"
        self.tell("failed", context, reason, {f"Log of {task.task_id}": task.log_url})

    def not_rescored(self, context: Context) -> None:
        """The same for the DAG that scores the last night again for a new model."""
        self._failed_beside("after a new model version", context)

    def not_judged(self, context: Context) -> None:
        """The same for the DAGs that judge nights by labels, and ask for a promotion."""
        self._failed_beside("by its labels", context)

    def promotion(self, found: Evidence, what: str, links: Mapping[str, str]) -> None:
        """Send the alert about a challenger that labels speak for."""
        why = f"{found.model} version {found.challenger} {what}: {found.why}"
        self.send(Message("promotion", self.pipeline, "", why, links))

    def _failed_beside(self, what: str, context: Context) -> None:
        why = str(context.get("exception") or "see its log")
        page = {"DAG run": run_page(context["dag_run"])}
        self.send(Message("failed", self.pipeline, what, why, page))

    def send(self, message: Message) -> bool:
        """Send a message now; if that fails, the error is logged, and the answer is False."""
        sent = True
        links = {**message.links, **({"What to do": self.docs} if self.docs else {})}
        message = replace(message, owner=self.owner, links=links)
        for rule in self.rules:
            if message.event not in rule.events:
                continue
            try:
                # Not called in Airflow's way, which would render the text as a Jinja template.
                NOTIFIERS[rule.to].make(rule, message).notify({})
            except Exception:
                sent = False
                log.exception(
                    "The alert %r by %s %r was not sent", message.subject, rule.to, rule.connection
                )
            else:
                log.info("Told %s %r: %s", rule.to, rule.connection, message.subject)
        return sent


async def late(
    pipeline: str,
    home: str,
    due: str,
    rules: list[dict[str, Any]],
    context: Mapping[str, Any],
    owner: str = "",
    docs: str = "",
) -> None:
    """Send an alert if a scheduled run is not published at its deadline.

    Args:
        due: the deadline as text.
        rules: the YAML's ``alerts`` when the run was created, since the file may be broken now.
        context: has ``dag_run`` in the form of the REST API.
        owner, docs: the pipeline's.
    """
    key = str(context["dag_run"]["partition_key"])
    alerts = Alerts(pipeline, _RULES.validate_python(rules), owner=owner, docs=docs)
    await asyncio.to_thread(_late, alerts, home, key, due)


def _late(alerts: Alerts, home: str, key: str, due: str) -> None:
    pipeline, reason = alerts.pipeline, f"It was due {due}"
    status = _status(pipeline, home, key)
    if status is not None:
        if status.state == "published":
            log.info("%s %s is published", pipeline, key)
            return
        reason += f"; it is {status.shown}" + (f": {status.remark}" if status.remark else "")
    pages = {"Scoring": night_page(pipeline, key)}
    alerts.send(Message("late", pipeline, key, reason, pages))


def _status(
    pipeline: str, home: str, key: str, connection: str | None = None
) -> PartitionStatus | None:
    """The status of the night from the state beside the table; None if that can't be read."""
    from nocturne.operate.status import statuses_of  # with Arrow: not for parsing DAGs
    from nocturne.pipeline.places import Places

    try:
        loaded = load(pipeline, root=Path(home))
        with lent(connection):
            if not Places.of(loaded).state.root.is_dir():
                return None
            return statuses_of(loaded, [partition(loaded.pipeline.input.partition, key)])[0]
    except Exception:
        log.warning("Can't read the status of %s %s here", pipeline, key, exc_info=True)
        return None


def check_providers(loaded: Loaded) -> None:
    """Check that every alert of the pipeline can be sent.

    Raises:
        ConfigError: a provider is not installed.
    """
    for place, rule in enumerate(loaded.pipeline.alerts):
        provider = NOTIFIERS[rule.to].provider
        if find_spec(f"airflow.providers.{provider}") is None:
            raise ConfigError(
                f"conf/pipelines/{loaded.pipeline.name}.yaml: alerts.{place}.to: got {rule.to!r}, "
                f"which needs the package apache-airflow-providers-{provider}: install "
                "nocturne[alerts], or choose another way"
            )
