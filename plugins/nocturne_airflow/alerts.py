"""Tells people what needs them, through Airflow's notifiers and connections.

Nothing is sent in a backfill: somebody started it and is watching. An alert that can't be sent
is an error in the log, and changes nothing about the night.

Where it runs: ``tell`` in the task; ``failed`` in the DAG processor, once a run has failed, so that
it comes too when the task's process was killed; ``late`` in the triggerer. These two read the state
beside the table for the reason, and do without where they don't see it.
"""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nocturne.config import Loaded, load, partition
from nocturne.config.models import Alert, Event
from nocturne.errors import ConfigError
from nocturne_airflow.links import key_of, night_page, run_page

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier, Context

    from nocturne.operate.status import PartitionStatus

__all__ = ["Alerts", "Message", "check_providers", "late"]

log = logging.getLogger(__name__)

_TIMEOUT_S = 30

_STANDS: dict[Event, str] = {
    "held": "is held and waits for a decision",
    "failed": "has failed",
    "late": "is not published in time",
    "drift": "has drifted",
}


@dataclass(frozen=True)
class Message:
    """What is told about one night. ``links``: name -> address."""

    event: Event
    pipeline: str
    partition: str
    why: str
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return f"{self.pipeline} {self.partition} {_STANDS[self.event]}"


class Alerts:
    """Those of one pipeline.

    Args:
        rules: its YAML's ``alerts``.
    """

    def __init__(self, pipeline: str, rules: Iterable[Alert] = ()) -> None:
        self.pipeline = pipeline
        self.rules = tuple(rules)

    def tell(
        self, event: Event, context: Context, why: str, links: Mapping[str, str] | None = None
    ) -> None:
        """Send it to everybody who wants to know of such an event, unless in a backfill."""
        run = context["dag_run"]
        if run.run_type == "backfill" or not (key := key_of(run)):
            return
        pages = {"Scoring": night_page(run.dag_id, key), "DAG run": run_page(run), **(links or {})}
        self.send(Message(event, self.pipeline, key, why, pages))

    def failed(self, home: str, context: Context) -> None:
        """The DAG's ``on_failure_callback``: a task has no try left, and the run has failed.

        A decision that failed (``action``) is not told: who asked for it is looking.
        """
        run, task = context["dag_run"], context["task_instance"]
        if (run.conf or {}).get("action", "score") != "score":
            return
        why = f"the task {task.task_id} failed"
        stands = _stands(self.pipeline, home, key_of(run))
        if stands is not None and stands.remark:
            why += f": {stands.remark}"
        self.tell("failed", context, why, {f"Log of {task.task_id}": task.log_url})

    def not_rescored(self, context: Context) -> None:
        """The same of the DAG that scores the last night again for a new model."""
        why = str(context.get("exception") or "see its log")
        page = {"DAG run": run_page(context["dag_run"])}
        self.send(Message("failed", self.pipeline, "after a new model version", why, page))

    def send(self, message: Message) -> None:
        """Send it now; what can't be sent is logged."""
        for rule in self.rules:
            if message.event not in rule.events:
                continue
            try:
                # Not called as Airflow calls it, which would take the text for a Jinja template.
                _NOTIFIERS[rule.to].make(rule, message).notify({})
            except Exception:
                log.exception(
                    "The alert %r by %s %r was not sent", message.subject, rule.to, rule.connection
                )
            else:
                log.info("Told %s %r: %s", rule.to, rule.connection, message.subject)


async def late(
    pipeline: str, home: str, due: str, rules: list[dict[str, Any]], context: Mapping[str, Any]
) -> None:
    """Airflow's deadline of a scheduled run is over: an alert, unless it is published after all.

    Args:
        due: until when, in words.
        rules: the YAML's ``alerts``, when the run was made: the file may be broken by now.
        context: ``dag_run`` as REST shows it.
    """
    key = str(context["dag_run"]["partition_key"])
    alerts = Alerts(pipeline, map(Alert.model_validate, rules))
    await asyncio.to_thread(_late, alerts, home, key, due)


def _late(alerts: Alerts, home: str, key: str, due: str) -> None:
    pipeline, why = alerts.pipeline, f"It was due {due}"
    stands = _stands(pipeline, home, key)
    if stands is not None:
        if stands.state == "published":
            log.info("%s %s is published", pipeline, key)
            return
        why += f"; it is {stands.shown}" + (f": {stands.remark}" if stands.remark else "")
    pages = {"Scoring": night_page(pipeline, key)}
    alerts.send(Message("late", pipeline, key, why, pages))


def _stands(pipeline: str, home: str, key: str) -> PartitionStatus | None:
    """How the night stands, by the state beside the table; None where that can't be read."""
    from nocturne.operate.status import statuses_of  # with Arrow: not for parsing DAGs
    from nocturne.pipeline.places import Places

    try:
        loaded = load(pipeline, root=Path(home))
        if not Places.of(loaded).state.root.is_dir():
            return None
        return next(statuses_of(loaded, [partition(loaded.pipeline.input.partition, key)]))
    except Exception:
        log.warning("How %s %s stands is not known here", pipeline, key, exc_info=True)
        return None


def check_providers(loaded: Loaded) -> None:
    """Make sure that every kind of alert of the pipeline can be sent.

    Raises:
        ConfigError: a provider is not installed.
    """
    for place, rule in enumerate(loaded.pipeline.alerts):
        provider = _NOTIFIERS[rule.to].provider
        if find_spec(f"airflow.providers.{provider}") is None:
            raise ConfigError(
                f"conf/pipelines/{loaded.pipeline.name}.yaml: alerts.{place}.to: got {rule.to!r}, "
                f"which needs the package apache-airflow-providers-{provider}: install "
                "nocturne[alerts], or choose another way"
            )


def _email(rule: Alert, message: Message) -> BaseNotifier:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    links = "".join(
        f'<p><a href="{html.escape(address)}">{html.escape(name)}</a></p>'
        for name, address in message.links.items()
    )
    return SmtpNotifier(
        smtp_conn_id=rule.connection,
        to=rule.recipients,
        from_email=rule.sender,
        subject=f"[nocturne] {message.subject}",
        html_content=f"<p>{html.escape(message.why).replace(chr(10), '<br>')}</p>{links}",
    )


def _slack(rule: Alert, message: Message) -> BaseNotifier:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    links = " · ".join(f"<{a}|{_slack_text(name)}>" for name, a in message.links.items())
    text = f"*{_slack_text(message.subject)}*\n{_slack_text(message.why)}\n{links}"
    return SlackWebhookNotifier(
        slack_webhook_conn_id=rule.connection, text=text, timeout=_TIMEOUT_S
    )


def _slack_text(text: str) -> str:
    """https://docs.slack.dev/messaging/formatting-message-text: the three that are markup."""
    return html.escape(text, quote=False)


def _pagerduty(rule: Alert, message: Message) -> BaseNotifier:
    from airflow.providers.pagerduty.notifications.pagerduty import PagerdutyNotifier

    return PagerdutyNotifier(
        pagerduty_events_conn_id=rule.connection,
        summary=message.subject[:1024],  # the Events API's limit
        severity="warning" if message.event in ("held", "drift") else "error",
        source="nocturne",
        component=message.pipeline,
        dedup_key=f"nocturne/{message.pipeline}/{message.partition}/{message.event}",
        custom_details={"why": message.why},
        links=[{"href": address, "text": name} for name, address in message.links.items()],
    )


def _webhook(rule: Alert, message: Message) -> BaseNotifier:
    from airflow.providers.http.notifications.http import HttpNotifier

    said = {"subject": message.subject} | asdict(message)
    return HttpNotifier(
        http_conn_id=rule.connection,
        endpoint=rule.endpoint,
        json=said,
        extra_options={"timeout": _TIMEOUT_S},
    )


@dataclass(frozen=True)
class _Way:
    """How a kind of alert is sent."""

    provider: str
    make: Callable[[Alert, Message], BaseNotifier]


_NOTIFIERS = {
    "email": _Way("smtp", _email),
    "slack": _Way("slack", _slack),
    "pagerduty": _Way("pagerduty", _pagerduty),
    "webhook": _Way("http", _webhook),
}
