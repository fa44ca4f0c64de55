"""What every channel of alerts keeps: the same YAML, the same words, and runs of before open."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import BaseNotifier
from pydantic import TypeAdapter, ValidationError

from nocturne.config import load
from nocturne.config.alerts import CHANNELS, Alert
from nocturne.errors import ConfigError, choices
from nocturne_airflow.channels import NOTIFIERS, Message

ROOT = Path(__file__).parents[2]
ALERTS: TypeAdapter[Any] = TypeAdapter(list[Alert])
EXAMPLES: dict[str, dict[str, Any]] = {
    "email": {"recipients": ["ada@example.com"], "sender": "night@example.com"},
    "slack": {},
    "pagerduty": {},
    "webhook": {"endpoint": "alerts/nocturne"},
}
"""The fields of its own that a channel has."""

OF_BEFORE = {"recipients": [], "sender": None, "endpoint": ""}
"""What a stored run says of every alert, beside what was set."""


def said(name: str) -> dict[str, Any]:
    return {"to": name, "connection": "c", "events": ["held"], **EXAMPLES[name]}


@pytest.mark.parametrize("name", CHANNELS)
class TestEveryChannel:
    def test_yaml_makes_it(self, name: str) -> None:
        assert name in EXAMPLES, f"add an example of the channel {name} to this file"
        [alert] = ALERTS.validate_python([said(name)])
        assert type(alert) is CHANNELS[name]
        assert alert.model_dump(mode="json") == said(name)

    def test_it_tells_all_events_unless_some_are_named(self, name: str) -> None:
        fields = {k: v for k, v in said(name).items() if k != "events"}
        [alert] = ALERTS.validate_python([fields])
        assert alert.events == ["held", "failed", "late", "drift", "canary", "truth", "promotion"]

    def test_a_stored_run_of_before_opens(self, name: str) -> None:
        [alert] = ALERTS.validate_python([OF_BEFORE | said(name)])
        assert alert == CHANNELS[name].model_validate(said(name))

    def test_a_field_that_is_not_its_own_is_refused_with_those_that_are(
        self, name: str, tmp_path: Path
    ) -> None:
        alert = said(name) | {"colour": "red"}
        for file in ("base", "env/local", "pipelines/p"):
            path = tmp_path / "conf" / f"{file}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump({"alerts": [alert]}))
        with pytest.raises(ConfigError) as raised:
            load("p", root=tmp_path)
        expected = choices(CHANNELS[name].model_fields)
        line = f"conf/pipelines/p.yaml: alerts.0.colour: unknown key; expected one of {expected}"
        assert line in str(raised.value).splitlines()

    def test_airflows_side_knows_how_it_sends(self, name: str) -> None:
        assert find_spec(f"airflow.providers.{NOTIFIERS[name].provider}") is not None
        [alert] = ALERTS.validate_python([said(name)])
        message = Message("held", "p", "2013-04-01", "3 drifted", {"Report": "http://r"})
        assert isinstance(NOTIFIERS[name].make(alert, message), BaseNotifier)

    def test_the_documentation_has_it(self, name: str) -> None:
        assert f"{{to: {name}, " in (ROOT / "docs" / "airflow.md").read_text(encoding="utf-8")


def test_a_channel_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValidationError) as raised:
        ALERTS.validate_python([{"to": "pigeon", "connection": "c"}])
    assert ", ".join(f"'{name}'" for name in CHANNELS) in str(raised.value)


def test_the_channels_here_and_those_that_send_are_the_same() -> None:
    assert NOTIFIERS.keys() == CHANNELS.keys()
