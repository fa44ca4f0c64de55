"""The channels of alerts: what each takes in a pipeline YAML.

To add one, write its class and name it in ``Alert``; how it sends is an entry of
``nocturne_airflow.channels.NOTIFIERS``, since only Airflow's side knows Airflow.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, model_validator

from nocturne.config.section import Section

__all__ = ["CHANNELS", "Alert", "Channel", "Email", "Event", "PagerDuty", "Slack", "Webhook"]

Event = Literal["held", "failed", "late", "drift"]

_UNSET: dict[str, object] = {"recipients": [], "sender": None, "endpoint": ""}
"""Fields that every alert had, whatever its channel, in runs that are stored."""


class Channel(Section):
    """Whom Airflow tells what; none of it in a backfill, which somebody is watching."""

    to: str
    connection: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="Id of the Airflow connection; it holds the address and the secret."
    )
    events: Annotated[list[Event], Field(min_length=1)] = Field(
        list(get_args(Event)),
        description="held: a night waits for a person; failed: a task gave up, or nobody answered; "
        "late: not published in time (slo); drift: drift that pages, where drift.on_drift is warn.",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_unset(cls, given: Any) -> Any:
        """Reads an alert that has the fields of other channels too, unset."""
        if not isinstance(given, dict):
            return given
        unset = {k: v for k, v in _UNSET.items() if k not in cls.model_fields}
        return {k: v for k, v in given.items() if k not in unset or v != unset[k]}


class Email(Channel):
    """An e-mail, by SMTP."""

    to: Literal["email"]
    recipients: Annotated[list[str], Field(min_length=1)] = Field(description="Who gets it.")
    sender: str | None = Field(None, description="From whom; default: the connection's.")


class Slack(Channel):
    """A message in Slack, by an incoming webhook."""

    to: Literal["slack"]


class PagerDuty(Channel):
    """An event of PagerDuty's Events API."""

    to: Literal["pagerduty"]


class Webhook(Channel):
    """The alert as JSON, by POST."""

    to: Literal["webhook"]
    endpoint: str = Field("", description="Path after the connection's host.")


Alert = Annotated[Email | Slack | PagerDuty | Webhook, Field(discriminator="to")]

CHANNELS: dict[str, type[Channel]] = {
    get_args(channel.model_fields["to"].annotation)[0]: channel
    for channel in get_args(get_args(Alert)[0])
}
"""By the word that ``to`` says."""
