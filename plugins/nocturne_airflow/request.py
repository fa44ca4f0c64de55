"""The request of a DAG run: the fields of the trigger form, and their checks.

The schedule, a backfill and a manual run name a day by its partition key. The form also has a field
for the day, since a person need not know what a partition key is; if both are given, they must
agree. Airflow checks the types and formats of known parameters but accepts unknown ones. With a
misspelt ``dryrun`` the run would publish, so the first task refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from airflow.sdk import Param

from nocturne.config import Which, key_format, parse
from nocturne.errors import ConfigError, choices, did_you_mean

__all__ = ["ACTIONS", "ALL_TASKS", "FIELDS", "WHY", "Request", "params", "read"]

ACTIONS = {
    "score": "Score it",
    "approve": "Publish its held scores",
    "reject": "Reject its held scores",
    "judge": "Judge it again, with the suites and thresholds of now",
    "requeue": "Score its quarantined rows again",
    "accept": "Count its drift, and its number of rows, as ordinary",
    "rollback": "Roll back to the scores before",
    "adopt": "Adopt the rows that other programs wrote",
}
"""The actions of a run on its partition; all but ``score`` are commands of that name."""

WHICH = {
    "current": "The one that is selected now",
    "as_of": "The one that was behind the alias at the night's scheduled time",
    "pinned": "The one that scored the published night",
}
"""The values of ``model``."""

ALL_TASKS = ("score", "requeue")
"""The actions that go through all tasks; the others end in the first."""

FIELDS = (
    *("day", "action", "run", "manifest", "why", "model_version", "model"),
    *("dry_run", "force", "hold"),
)
"""The run parameters, in the order of the form."""

_LINEAGE = "openlineage"
"""A parameter that Airflow's TriggerDagRunOperator adds if OpenLineage is enabled."""
_LONGEST = 2000
_LARGEST = 2**31 - 1
"""The largest version that an MLflow server's database takes."""
_HOUR = r"^\d{4}-\d{2}-\d{2}T\d{2}$"


@dataclass(frozen=True)
class Request:
    """A checked request: the partition, the action, and the options of the run."""

    key: str
    model_version: int | None = None
    model: str | None = None
    dry_run: bool = False
    force: bool = False
    hold: str = ""
    action: str = "score"
    run: str | None = None
    manifest: str | None = None
    why: str = ""

    def decision(self, pipeline: str, by: str) -> list[str]:
        """The arguments of the command for an ``action`` that is not one of ``ALL_TASKS``."""
        run = ["--run", self.run] if self.run else []
        to = ["--to", self.manifest] if self.action == "rollback" and self.manifest else []
        why = ["--why", self.why] if self.why else []
        publish = ["--publish"] if self.action == "judge" else []
        options = [*run, *to, *why, *publish, "--json"]
        return [self.action, pipeline, "--date", self.key, "--by", by, *options]

    def arguments(self) -> list[str]:
        """The options of ``nocturne prepare``."""
        options = ["--date", self.key]
        if self.model_version is not None:
            options += ["--model-version", str(self.model_version)]
        options += ["--model", self.model] if self.model else []
        options += ["--hold", self.hold] if self.hold else []
        options += ["--requeue"] * (self.action == "requeue")
        return options + ["--force"] * self.force + ["--dry-run"] * self.dry_run


WHY = Param(
    None,
    type=["null", "string"],
    title="Why",
    description="Why held scores are rejected; kept with the decision.",
)


def params(key_formats: Mapping[str, str]) -> dict[str, Param]:
    """The trigger form's fields for a table whose partitions have these key formats.

    They name no ``section``: Airflow shows such fields at once, named sections folded.
    """
    hourly = "%H" in key_format(key_formats)
    day: dict[str, Any] = {
        "title": "Hour" if hourly else "Day",
        "description": "The partition to score"
        + (", such as 2013-04-01T05" if hourly else "")
        + ". Leave it empty only if you give a partition key under Advanced Options.",
        **({"pattern": _HOUR} if hourly else {"format": "date"}),
    }
    return {
        "day": Param(None, type=["null", "string"], **day),
        "action": Param(
            "score",
            enum=list(ACTIONS),
            values_display=ACTIONS,
            title="Action",
            description="What to do with the partition. Use the decisions for nights for which "
            "no run waits; they are recorded with your name.",
        ),
        "run": Param(
            None,
            type=["null", "string"],
            title="Run",
            description="The run whose held scores are approved or rejected, as the page Scoring "
            "shows it; others are then refused. Empty: whichever are held.",
        ),
        "manifest": Param(
            None,
            type=["null", "string"],
            title="Manifest",
            description="Which one to roll back to, by its id or number. Empty: the one before.",
        ),
        "why": WHY,
        "model_version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Model version",
            description="A registered version, such as 7. Empty: the one that the pipeline's "
            "YAML selects.",
        ),
        "model": Param(
            None,
            enum=[None, *get_args(Which)],
            values_display={"null": "As the pipeline says", **WHICH},
            title="Model",
            description="Which version scores it, instead of a number. As the pipeline says: in a "
            "backfill by model.backfill, else the one that is selected now.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Resolve the model, check the input and plan; score and publish "
            "nothing. The plan is in the log of the task prepare.",
        ),
        "force": Param(
            False,
            type="boolean",
            title="Force",
            description="Score again even if exactly these scores are published already.",
        ),
        "hold": Param(
            None,
            type=["null", "string"],
            title="Hold",
            description="Why a person must look at the scores before they are published, whatever "
            "the checks say. Empty: the checks decide.",
        ),
    }


def read(
    key_formats: Mapping[str, str],
    partition_key: str | None,
    values: Mapping[str, Any],
    conf: Mapping[str, Any] | None = None,
) -> Request:
    """The request of a DAG run.

    Args:
        key_formats: the pipeline's ``input.partition``.
        partition_key: the DAG run's; None for a manual run without one.
        values: the run's parameters, with defaults.
        conf: the parameters that the run was triggered with, to find unknown keys.

    Raises:
        ConfigError: a parameter is unknown, not taken by the action, or of another type; there is
            neither a partition key nor a day, they differ, or one of them is not valid.
    """
    unknown = sorted(set(conf or {}) - {*FIELDS, _LINEAGE})
    if unknown:
        listed = ", ".join(f"{name!r}{did_you_mean(name, FIELDS)}" for name in unknown)
        raise ConfigError(
            f"unknown run parameter {listed}: expected {choices(FIELDS)}. Nothing was done.",
            unknown=unknown,
        )
    _check_types(values)
    day = values.get("day")
    if not partition_key and not day:
        raise ConfigError(
            "this run names no partition. In the trigger form fill in the day; with the REST "
            'API send "partition_key": "2013-04-01"; with the command line use '
            """`airflow dags trigger DAG --conf '{"day": "2013-04-01"}'`, since it has no """
            "option for the partition key."
        )
    if partition_key and day and day != partition_key:
        raise ConfigError(
            f"the partition key is {partition_key!r} but the day is {day!r}: they must be the "
            "same, or leave one of them empty. Nothing was done.",
            partition_key=partition_key,
            day=day,
        )
    key = str(partition_key or day)
    parse(key_formats, key)
    version = values.get("model_version")
    action = values.get("action") or "score"
    taken = {
        "score": ("model_version", "model", "dry_run", "force", "hold"),
        "requeue": ("dry_run", "hold"),
        "approve": ("run",),
        "reject": ("run", "why"),
        "rollback": ("manifest",),
    }
    unused = [n for n in FIELDS[2:] if values.get(n) and n not in taken.get(action, ())]
    if unused:
        raise ConfigError(
            f"{choices(unused)} is given, which the action {action!r} does not take: leave it "
            "empty. Nothing was done."
        )
    return Request(
        key=key,
        model_version=version,
        model=values.get("model") or None,
        dry_run=bool(values.get("dry_run", False)),
        force=bool(values.get("force", False)),
        hold=values.get("hold") or "",
        action=action,
        run=values.get("run") or None,
        manifest=values.get("manifest") or None,
        why=values.get("why") or "",
    )


def _check_types(values: Mapping[str, Any]) -> None:
    """Raises: ConfigError if a value is not valid for its field, or can't be an argument."""
    for name in FIELDS:
        value = values.get(name)
        if value is None:
            continue
        if name in ("dry_run", "force"):
            fits, expected = isinstance(value, bool), "true or false"
        elif name == "model_version":
            fits = type(value) is int and 0 < value <= _LARGEST
            expected = f"a whole number from 1 to {_LARGEST}"
        elif name in ("action", "model"):
            known = ACTIONS if name == "action" else WHICH
            fits, expected = value in list(known), f"one of {choices(known)}"
        else:
            fits = isinstance(value, str) and _may_be_passed(value)
            expected = f"text of at most {_LONGEST} characters"
        if not fits:
            raise ConfigError(
                f"{name} is {str(value)[:60]!r}, expected {expected}. Nothing was done.", name=name
            )


def _may_be_passed(text: str) -> bool:
    """Whether the text can be an argument of a command."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return len(text) <= _LONGEST and "\0" not in text
