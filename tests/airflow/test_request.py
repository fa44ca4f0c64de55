"""What a DAG run may ask for."""

from __future__ import annotations

import pytest

from nocturne.errors import ConfigError
from nocturne_airflow.request import FIELDS, Request, params, read

DAILY = {"ds": "%Y-%m-%d"}
HOURLY = {"ds": "%Y-%m-%d", "hour": "%H"}


def test_a_scheduled_run_is_its_partition_key() -> None:
    assert read(DAILY, "2013-04-01", {"day": None, "dry_run": False}) == Request("2013-04-01")


def test_a_manual_run_may_name_the_day_instead() -> None:
    asked = read(DAILY, None, {"day": "2013-04-01", "model_version": 3, "force": True})
    assert asked.arguments() == ["--date", "2013-04-01", "--model-version", "3", "--force"]


def test_a_rejection_has_a_reason() -> None:
    asked = read(DAILY, "2013-04-01", {"action": "reject", "why": "keys are missing"})
    words = ["reject", "p", "--date", "2013-04-01", "--by", "ada", "--why", "keys are missing"]
    assert asked.decision("p", "ada") == [*words, "--json"]


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_a_decision_may_name_the_run_that_it_is_about(action: str) -> None:
    asked = read(DAILY, "2013-04-01", {"action": action, "run": "8b9514b0c1a2e3f4"})
    words = [action, "p", "--date", "2013-04-01", "--by", "ada", "--run", "8b9514b0c1a2e3f4"]
    assert asked.decision("p", "ada") == [*words, "--json"]


def test_a_run_may_be_held_for_a_reason() -> None:
    asked = read(DAILY, "2013-04-01", {"hold": "a new model"}, {"openlineage": {"parentRunId": 1}})
    assert asked.arguments() == ["--date", "2013-04-01", "--hold", "a new model"]


def test_day_and_partition_key_may_both_be_given_if_they_agree() -> None:
    assert read(DAILY, "2013-04-01", {"day": "2013-04-01"}).key == "2013-04-01"


def test_a_day_that_disagrees_with_the_partition_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="'2013-04-01' but the day is '2013-04-02'"):
        read(DAILY, "2013-04-01", {"day": "2013-04-02"})


def test_without_a_day_the_advice_says_how_to_give_one() -> None:
    with pytest.raises(ConfigError, match=r"names no partition.*airflow dags trigger DAG --conf"):
        read(DAILY, None, {"day": None})


def test_unknown_parameters_are_refused_with_the_nearest_known_one() -> None:
    known = "action, day, dry_run, force, hold, manifest, model, model_version, run, why"
    message = rf"'dryrun' \(did you mean 'dry_run'\?\): expected {known}"
    with pytest.raises(ConfigError, match=message):
        read(DAILY, "2013-04-01", {}, {"dryrun": True})


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ("approve", {"dry_run": True}),
        ("reject", {"manifest": "3"}),
        ("rollback", {"force": True}),
        ("score", {"manifest": "3"}),
        ("score", {"run": "8b9514b0c1a2e3f4"}),
        ("judge", {"run": "8b9514b0c1a2e3f4"}),
        ("approve", {"model_version": 2}),
        ("approve", {"why": "it is late"}),
        ("score", {"why": "it is late"}),
    ],
)
def test_what_an_action_does_not_take_is_refused(action: str, given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"is given, which the action '{action}' does not take"):
        read(DAILY, "2013-04-01", {"action": action, **given})


@pytest.mark.parametrize(
    ("layout", "key"),
    [
        (DAILY, "2013-4-01"),
        (DAILY, "../2013-04-01"),
        (DAILY, "2013-04-01T05"),
        (HOURLY, "2013-04-01"),
        (DAILY, "2013-02-30"),
    ],
)
def test_what_is_no_partition_of_this_layout_is_refused(layout: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError, match="expected a partition key such as"):
        read(layout, key, {})


def test_the_form_shows_every_field_with_title_and_help() -> None:
    fields = params(DAILY)
    assert tuple(fields) == FIELDS
    for field in fields.values():
        assert field.schema["title"]
        assert field.description
        assert "section" not in field.schema, "Airflow folds named sections away"


@pytest.mark.parametrize(
    ("field", "value", "valid"),
    [
        ("day", "2013-04-01", True),
        ("day", None, True),
        ("day", "April 1st", False),
        ("model_version", 7, True),
        ("model_version", None, True),
        ("model_version", 0, False),
        ("model_version", "7", False),
        ("model", "as_of", True),
        ("model", None, True),
        ("model", "newest", False),
        ("dry_run", "yes", False),
        ("force", True, True),
    ],
)
def test_the_form_checks_values(field: str, value: object, valid: bool) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    if valid:
        assert params(DAILY)[field].resolve(value=value) == value
    else:
        with pytest.raises(ParamValidationError, match="Failed validating"):
            params(DAILY)[field].resolve(value=value)


def test_each_choice_of_the_form_has_words() -> None:
    """Airflow shows None as "null" where it has none."""
    chosen = {name: field.schema for name, field in params(DAILY).items() if "enum" in field.schema}
    assert set(chosen) == {"action", "model"}
    for schema in chosen.values():
        said = {"null" if value is None else value for value in schema["enum"]}
        assert said == set(schema["values_display"])


def test_the_hour_of_an_hourly_table_has_a_pattern() -> None:
    from airflow.sdk.exceptions import ParamValidationError

    field = params(HOURLY)["day"]
    assert field.resolve(value="2013-04-01T05") == "2013-04-01T05"
    with pytest.raises(ParamValidationError):
        field.resolve(value="2013-04-01")
