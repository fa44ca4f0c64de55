"""The channels of alerts: the fields of each in a pipeline YAML.

To add a channel, write its class and name it in ``Alert``. The code that sends its alerts is an
entry of ``nocturne_airflow.channels.NOTIFIERS``, since only Airflow's side imports Airflow.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, model_validator

from nocturne.config.section import Section

__all__ = ["CHANNELS", "Alert", "Channel", "Email", "Event", "PagerDuty", "Slack", "Webhook"]

Event = Literal["held", "failed", "late", "drift", "canary", "truth", "promotion"]

_UNSET: dict[str, object] = {"recipients": [], "sender": None, "endpoint": ""}
"""Fields that every alert has in the stored runs of earlier versions, for all channels."""


class Channel(Section):
    """Which alerts Airflow sends, and where. A backfill sends none, since a person watches it."""

    to: str
    connection: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="Id of the Airflow connection; it holds the address and the secret."
    )
    events: Annotated[list[Event], Field(min_length=1)] = Field(
        list(get_args(Event)),
        description="held: a night waits for a person; failed: a task gave up, or nobody answered; "
        "late: not published in time (slo); drift: drift that pages, where drift.on_drift is warn; "
        "canary: a canary, or a split, is out of the night, or of the nights after it; truth: by "
        "its labels a night is beyond labels.bounds; promotion: labels speak for a challenger.",
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_unset_fields(cls, fields: Any) -> Any:
        """Accept the fields of other channels if they are unset."""
        if not isinstance(fields, dict):
            return fields
        unset = {k: v for k, v in _UNSET.items() if k not in cls.model_fields}
        return {k: v for k, v in fields.items() if k not in unset or v != unset[k]}


class Email(Channel):
    """An e-mail, by SMTP."""

    to: Literal["email"]
    recipients: Annotated[list[str], Field(min_length=1)] = Field(description="Who receives it.")
    sender: str | None = Field(None, description="The sender; default: that of the connection.")


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
"""Value of ``to`` -> its class."""
