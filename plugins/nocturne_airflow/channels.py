"""The channels of alerts, which send through Airflow's notifiers and connections."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nocturne.config.alerts import Email, Event, PagerDuty, Slack, Webhook

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier

__all__ = ["NOTIFIERS", "Message", "Notifier"]

_TIMEOUT_S = 30

_PREDICATES: dict[Event, str] = {
    "held": "is held and waits for a decision",
    "failed": "has failed",
    "late": "is not published in time",
    "drift": "has drifted",
    "canary": "takes out its canary",
    "truth": "is beyond its bounds, by its labels",
    "promotion": "has a challenger that labels speak for",
}

_WARNINGS: tuple[Event, ...] = ("held", "drift", "canary", "truth", "promotion")


@dataclass(frozen=True)
class Message:
    """The message of an alert about a night.

    ``links``: name -> URL. ``owner``: who answers for the pipeline; "" if nobody is named.
    """

    event: Event
    pipeline: str
    partition: str
    why: str
    links: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""

    @property
    def text(self) -> str:
        """The reason, and who answers for the pipeline."""
        return f"{self.why}\nOwner: {self.owner}" if self.owner else self.why

    @property
    def subject(self) -> str:
        return f"{self.pipeline} {self.partition} {_PREDICATES[self.event]}"


def _email(rule: Email, message: Message) -> BaseNotifier:
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
        html_content=f"<p>{html.escape(message.text).replace(chr(10), '<br>')}</p>{links}",
    )


def _slack(rule: Slack, message: Message) -> BaseNotifier:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    links = " · ".join(f"<{a}|{_slack_text(name)}>" for name, a in message.links.items())
    text = f"*{_slack_text(message.subject)}*\n{_slack_text(message.text)}\n{links}"
    return SlackWebhookNotifier(
        slack_webhook_conn_id=rule.connection, text=text, timeout=_TIMEOUT_S
    )


def _slack_text(text: str) -> str:
    """Escapes markup: https://docs.slack.dev/messaging/formatting-message-text"""
    return html.escape(text, quote=False)


def _pagerduty(rule: PagerDuty, message: Message) -> BaseNotifier:
    from airflow.providers.pagerduty.notifications.pagerduty import PagerdutyNotifier

    return PagerdutyNotifier(
        pagerduty_events_conn_id=rule.connection,
        summary=message.subject[:1024],  # the Events API's limit
        severity="warning" if message.event in _WARNINGS else "error",
        source="nocturne",
        component=message.pipeline,
        dedup_key=f"nocturne/{message.pipeline}/{message.partition}/{message.event}",
        custom_details={"why": message.why} | ({"owner": message.owner} if message.owner else {}),
        links=[{"href": address, "text": name} for name, address in message.links.items()],
    )


def _webhook(rule: Webhook, message: Message) -> BaseNotifier:
    from airflow.providers.http.notifications.http import HttpNotifier

    body = {"subject": message.subject} | asdict(message)
    return HttpNotifier(
        http_conn_id=rule.connection,
        endpoint=rule.endpoint,
        json=body,
        extra_options={"timeout": _TIMEOUT_S},
    )


@dataclass(frozen=True)
class Notifier:
    """The notifier of a channel.

    Args:
        provider: the Airflow provider that must be installed: apache-airflow-providers-<provider>.
        make: (alert of the pipeline's YAML, message) -> a notifier that sends the message once.
    """

    provider: str
    make: Callable[[Any, Message], BaseNotifier]


NOTIFIERS = {
    "email": Notifier("smtp", _email),
    "slack": Notifier("slack", _slack),
    "pagerduty": Notifier("pagerduty", _pagerduty),
    "webhook": Notifier("http", _webhook),
}
"""Value of ``to`` in an alert -> its notifier, for the channels of ``nocturne.config.alerts``."""
